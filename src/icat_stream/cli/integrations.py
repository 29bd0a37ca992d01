"""``icat_stream integrations``: what follows a dataset, and asking for it."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from .command_line import CommandLine, configured
from .dead_letters import ConfigOption, OutputOption
from .search_options import utc_moment
from .terminal import is_text

if TYPE_CHECKING:
    from icat_stream.catalogue import HeldObject
    from icat_stream.config import Settings

app = CommandLine(no_args_is_help=True)
# Of what waits; the journal has all of it.
_SHOWN = 10
_SAY_EVERY_S = 10.0


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
    """Show one of them: what became of its events, what they wait for.

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


@app.command()
def backfill(
    config: ConfigOption,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the consumer.")],
    investigation: Annotated[
        str | None,
        typer.Option("--investigation", metavar="NAME[/VISIT]", help="Only this one."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only what changed in ICAT from then on: 2026-11-21, or 12h.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that ICAT holds.")
    ] = False,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", metavar="KIND:ID", help="Go on where an earlier run ended."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count; send nothing.")
    ] = False,
) -> None:
    """Give one consumer what is in ICAT already.

    It is handled by the running daemon, which this waits for: not more is under way
    than it keeps up with.

    Exit codes: 0; 2 bad usage or configuration; 5 ICAT or Kafka is unavailable.
    """
    if sum(each is not None for each in (investigation, since)) + everything != 1:
        raise typer.BadParameter("say one of --investigation, --since, --all")
    with configured(config) as settings:
        from icat_stream.app import Pipeline, followers_of
        from icat_stream.cli.exits import leave
        from icat_stream.records import ExitCode, printable
        from icat_stream.repair import KINDS, Backfill, Extent

        found = {each.name: each for each in followers_of(settings) if each.enabled}
        if name not in found:
            leave(
                ExitCode.USAGE,
                f"{name} is none of the enabled consumers of events:"
                f" {', '.join(found)}",
            )
        follower = found[name]
        kinds = [kind for kind in KINDS if kind in follower.follows]
        if not kinds:
            leave(
                ExitCode.USAGE,
                f"{name} follows {', '.join(follower.follows)}: ICAT holds none",
            )
        first, _, visit = (investigation or "").rpartition("/")
        extent = Extent(
            kinds=kinds,
            investigation=first or visit or None,
            visit=visit if first else None,
            since=None if since is None else utc_moment(since),
            after=_place(after, kinds),
        )
        said = time.monotonic()
        place = after

        def progress(last: "HeldObject", count: int, waiting: int) -> None:
            nonlocal said, place
            place = f"{last.kind}:{last.id}"
            if time.monotonic() - said > _SAY_EVERY_S:
                said = time.monotonic()
                typer.echo(
                    f"{count} until {place}, {waiting} of them wait for {name}",
                    err=True,
                )

        def unstated(one: "HeldObject") -> None:
            typer.echo(printable(f"not stated: {one}"))

        with Pipeline(settings, dry_run=True) as pipeline:
            pipeline.open()
            stated = None
            if follower.needs_stated:
                stated = pipeline.stated()
            session = pipeline.catalogue.session()
            filling = Backfill(
                settings,
                name,
                session.inventory(),
                stated=stated,
                progress=progress,
                unstated=unstated,
            )
            try:
                count = filling.run(extent, dry_run=dry_run)
            except BaseException:
                if place is not None:
                    typer.echo(f"to go on: the same with --after {place}", err=True)
                raise
            finally:
                pipeline.catalogue.leave()
        done = "would be given" if dry_run else "were given"
        typer.echo(f"{count} objects {done} to {name}")


@app.command()
def reindex(
    config: ConfigOption,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the consumer.")],
) -> None:
    """Make a search index anew, while it is in use.

    From the catalogue; the first time, too, for what was in it before. Searches see
    the old index until the new one is whole.

    Exit codes: 0; 2 bad usage or configuration; 3 some documents are refused; 4, 5 a
    system does not answer.
    """
    from icat_stream.cli.extras import require_extra

    require_extra("search", "icat_stream integrations reindex")
    with configured(config) as settings:
        from icat_stream.app import reindex as make_anew
        from icat_stream.records import ExitCode, printable

        def say(what: str, count: int) -> None:
            if time.monotonic() - said[0] > _SAY_EVERY_S:
                said[0] = time.monotonic()
                typer.echo(f"{what}: {count}", err=True)

        said = [time.monotonic()]
        index, refused = make_anew(settings, name, say)
        for reason in refused:
            typer.echo(printable(f"refused: {reason}"), err=True)
        typer.echo(f"{name}: the index in use is {index}")
    if refused:
        raise typer.Exit(ExitCode.REJECTED)


def _place(after: str | None, kinds: list[str]) -> tuple[str, int] | None:
    if after is None:
        return None
    kind, _, number = after.partition(":")
    if kind not in kinds or not number.isdecimal():
        raise typer.BadParameter(
            f"--after {after}: expected KIND:ID, of {', '.join(kinds)}"
        )
    return kind, int(number)


def _lag(settings: "Settings", names: list[str]) -> dict[str, int]:
    from contextlib import closing

    from icat_stream.stream import ConsumerLag

    with closing(ConsumerLag(settings, names)) as kafka:
        depths = kafka.measure()
    return {
        name: sum(lag for (each, _), lag in depths.lag.items() if each == name)
        for name in names
    }
