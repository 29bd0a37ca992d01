"""``icat_stream integrations``: what follows a dataset, and asking for it."""

from typing import TYPE_CHECKING, Annotated

import typer

from .command_line import CommandLine, configured
from .dead_letters import ConfigOption, OutputOption
from .terminal import is_text

if TYPE_CHECKING:
    from icat_stream.config import Settings

app = CommandLine(no_args_is_help=True)
# Of what waits; the journal has all of it.
_SHOWN = 10


@app.command("list")
def list_(config: ConfigOption, output: OutputOption = None) -> None:
    """List the consumers of the events topic.

    With what they follow, what they can be asked to do, and how many events wait.

    Exit codes: 0; 2 bad usage or configuration; 5 Kafka is unavailable.
    """
    with configured(config) as settings:
        from dataclasses import asdict

        from icat_stream.app import followers_of
        from icat_stream.records import json_line

        found = followers_of(settings)
        lag = _lag(settings, [each.name for each in found if each.enabled])
        if not is_text(output):
            for each in found:
                typer.echo(json_line(asdict(each) | {"lag": lag.get(each.name)}))
            return
        for each in found:
            state = f"{lag[each.name]} wait" if each.enabled else "disabled"
            can = f"; can {', '.join(each.operations)}" if each.operations else ""
            typer.echo(
                f"{each.name:16} {state:12} {each.made_of} follows"
                f" {', '.join(each.follows)}{can}"
            )


@app.command()
def show(
    config: ConfigOption,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the consumer.")],
) -> None:
    """Show one of them: what became of its events, and what they wait for.

    What a running daemon says of it, pauses above all, is in `icat_stream health`.

    Exit codes: 0; 2 bad usage or configuration; 5 Kafka or the journal is unavailable.
    """
    with configured(config) as settings:
        from datetime import UTC, datetime

        from icat_stream.app import followers_of
        from icat_stream.cli.exits import leave
        from icat_stream.journal import By, Search, reading
        from icat_stream.records import ExitCode, printable
        from icat_stream.stream import group_of

        found = {each.name: each for each in followers_of(settings)}
        if name not in found:
            leave(
                ExitCode.USAGE,
                f"{name} is none of the consumers of events: {', '.join(found)}",
            )
        each = found[name]
        typer.echo(f"{name}: {each.made_of}, {'' if each.enabled else 'not '}enabled")
        typer.echo(f"  follows: {', '.join(each.follows)}")
        typer.echo(f"  operations: {', '.join(each.operations) or 'none'}")
        if each.enabled:
            typer.echo(f"  events that wait: {_lag(settings, [name])[name]}")
        group = group_of(settings, name)
        with reading(settings.journal) as journal:
            mine = Search(groups=[group], last=True)
            for one in journal.entries.count(mine, by=[By.OUTCOME]):
                last = (
                    f"{datetime.fromtimestamp(one.last / 1000, UTC):%Y-%m-%d %H:%M:%S}"
                )
                typer.echo(f"  {one.common[0]}: {one.rows}, the last of {last} UTC")
            waiting = Search(groups=[group], last=True, outcomes=["deferred"])
            for entry in journal.entries.find(waiting, limit=_SHOWN):
                typer.echo(printable(f"  waits: {entry.origin}: {entry.row.text}"))


@app.command()
def ask(
    config: ConfigOption,
    operation: Annotated[
        str, typer.Argument(metavar="OPERATION", help="Such as recount.")
    ],
    investigation: Annotated[
        str,
        typer.Option("--investigation", metavar="NAME[/VISIT]", help="Of which."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the event; send nothing.")
    ] = False,
) -> None:
    """Ask for an operation on an investigation, by an event.

    Exit codes: 0; 2 bad usage or configuration; 3 there is no such investigation, or
    several visits of it; 5 ICAT or Kafka is unavailable.
    """
    with configured(config) as settings:
        from icat_stream.app import requested
        from icat_stream.stream import send_events

        event = requested(settings, operation, investigation)
        if dry_run:
            typer.echo(event.value.decode())
            return
        send_events(settings, [event])
        typer.echo(f"asked for {operation} of {event.key}")


def _lag(settings: "Settings", names: list[str]) -> dict[str, int]:
    from contextlib import closing

    from icat_stream.stream import ConsumerLag

    with closing(ConsumerLag(settings, names)) as kafka:
        depths = kafka.measure()
    return {
        name: sum(lag for (each, _), lag in depths.lag.items() if each == name)
        for name in names
    }
