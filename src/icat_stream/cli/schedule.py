"""``icat_stream schedule``: what is asked for by time, and when."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .command_line import CommandLine, configured
from .dead_letters import ConfigOption, OutputOption
from .terminal import is_text

if TYPE_CHECKING:
    from datetime import datetime

    from icat_stream.app import Schedule
    from icat_stream.config import Settings

app = CommandLine(no_args_is_help=True)


@app.command("list")
def list_(config: ConfigOption, output: OutputOption = None) -> None:
    """List the checks: what each asks for, when it ran, and when it is due.

    Exit codes: 0; 2 bad usage or configuration; 5 the journal is unavailable.
    """
    with configured(config) as settings, _schedule(settings, dry_run=True) as schedule:
        from icat_stream.records import json_line

        for each in schedule.checks():
            values = {
                "name": each.name,
                "operations": each.settings.operations,
                "every": each.settings.model_dump(mode="json")["every"],
                "enabled": each.settings.enabled,
                "last": _shown(each.last),
                "next": _shown(each.next),
                "undone": list(each.undone),
            }
            if not is_text(output):
                typer.echo(json_line(values))
                continue
            state = f"next {values['next']}" if each.next else "disabled"
            asked = ", ".join(each.settings.operations)
            typer.echo(
                f"{each.name:16} every {values['every']:5} {asked};"
                f" last {values['last']}; {state}"
            )
            if each.undone:
                typer.echo(f"  no enabled consumer does {', '.join(each.undone)}")


@app.command()
def run(
    config: ConfigOption,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the check.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the investigations; ask nothing.")
    ] = False,
) -> None:
    """Run a check now, whether or not it is due.

    Exit codes: 0; 2 bad usage or configuration; 5 ICAT, Kafka or the journal is
    unavailable.
    """
    with (
        configured(config) as settings,
        _schedule(settings, dry_run=dry_run) as schedule,
    ):
        from icat_stream.cli.exits import leave
        from icat_stream.records import ExitCode, printable

        if name not in settings.schedule:
            known = ", ".join(settings.schedule) or "none"
            leave(ExitCode.USAGE, f"{name} is none of the checks of schedule: {known}")
        if dry_run:
            count = 0
            for key in schedule.preview(name):
                typer.echo(printable(str(key)))
                count += 1
            asked = ", ".join(settings.schedule[name].operations)
            typer.echo(f"{asked} would be asked of {count} investigations", err=True)
            return
        count = schedule.run(name)
        typer.echo(f"{name}: {count} investigations")


@contextmanager
def _schedule(settings: "Settings", *, dry_run: bool) -> "Iterator[Schedule]":
    from icat_stream.app import Pipeline, Schedule

    with Pipeline(settings, dry_run=dry_run) as pipeline:
        if not dry_run:
            pipeline.open()
        yield Schedule(settings, pipeline)


def _shown(when: "datetime | None") -> str:
    return "never" if when is None else f"{when:%Y-%m-%dT%H:%M:%SZ}"
