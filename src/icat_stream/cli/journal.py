"""``icat_stream journal``: what became of each message."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .searching import coordinates, searching

if TYPE_CHECKING:
    from icat_stream.config import Settings
    from icat_stream.journal import Journal, Search

app = typer.Typer(no_args_is_help=True)


class Output(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"


class Common(StrEnum):
    """What rows can be counted by."""

    GROUP = "group"
    TOPIC = "topic"
    OUTCOME = "outcome"
    ERROR_CLASS = "error_class"
    MESSAGE_TYPE = "message_type"
    VERSION = "version"
    DAY = "day"


ConfigOption = Annotated[
    Path,
    typer.Option("-c", "--config", metavar="FILE", help="The daemon's."),
]
OutputOption = Annotated[
    Output | None,
    typer.Option(
        "--output", help="A table on a terminal, else a line of JSON for each."
    ),
]


@app.command("list")
@searching
def list_(
    config: ConfigOption,
    *,
    search: "Search",
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="The newest so many.")
    ] = 50,
    output: OutputOption = None,
) -> None:
    """List rows: what became of which message, the newest first."""
    with _journal(config) as (_, journal):
        from rich.console import Console

        from .journal_output import entry_values, print_entries, print_lines

        found = journal.entries.find(search, limit=limit + 1, newest_first=True)
        entries = list(found)
        if _is_table(output):
            console = Console()
            if entries:
                print_entries(console, entries[:limit])
        else:
            print_lines(entry_values(entry) for entry in entries[:limit])
        if len(entries) > limit:
            sys.stderr.write(f"only the newest {limit}; there are more (--limit)\n")
        elif not entries:
            sys.stderr.write("nothing is found\n")


@app.command()
def show(
    config: ConfigOption,
    message: Annotated[
        str,
        typer.Argument(
            metavar="TOPIC[PARTITION]@OFFSET",
            help="Where it was published, or one of its retries; or"
            " TOPIC:PARTITION:OFFSET.",
        ),
    ],
    group: Annotated[
        str | None, typer.Option("--group", help="Only what this group did with it.")
    ] = None,
    output: OutputOption = None,
) -> None:
    """Show the whole way of one message: each time it was handled, and what came of it.

    Exit codes: 0 it is there; 2 it is not.
    """
    from icat_stream.cli.exits import Exit, leave

    with _journal(config) as (_, journal):
        from rich.console import Console

        from .journal_output import entry_values, print_lines, print_way

        entries = journal.entries.way(coordinates(message), group)
        if not entries:
            leave(Exit.USAGE, f"the journal has no {message}")
        if _is_table(output):
            print_way(Console(), entries)
        else:
            print_lines(entry_values(entry) for entry in entries)


@app.command()
@searching
def stats(
    config: ConfigOption,
    *,
    search: "Search",
    by: Annotated[
        list[Common] | None,
        typer.Option("--by", help="May be repeated. [default: group, outcome]"),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Count rows by what they have in common."""
    with _journal(config) as (_, journal):
        from rich.console import Console

        from icat_stream.journal import By

        from .journal_output import count_values, print_counts, print_lines

        chosen = [By(each.value) for each in by or (Common.GROUP, Common.OUTCOME)]
        chosen = list(dict.fromkeys(chosen))
        counts = journal.entries.count(search, chosen)
        if _is_table(output):
            print_counts(Console(), chosen, counts)
        else:
            print_lines(count_values(chosen, count) for count in counts)


@app.command()
@searching
def export(config: ConfigOption, *, search: "Search") -> None:
    """Write all rows that match as lines of JSON, the oldest first."""
    with _journal(config) as (_, journal):
        from .journal_output import entry_values, print_lines

        with closing(journal.entries.find(search)) as found:
            print_lines(entry_values(entry) for entry in found)


def _is_table(output: Output | None) -> bool:
    return sys.stdout.isatty() if output is None else output is Output.TABLE


@contextmanager
def _journal(config: Path) -> Iterator[tuple["Settings", "Journal"]]:
    """Open the journal as it is: these commands make none."""
    from icat_stream.cli.exits import exit_codes

    with exit_codes():
        from icat_stream.config import load
        from icat_stream.journal import reading

        settings = load(config)
        with reading(settings.journal) as journal:
            try:
                yield settings, journal
                sys.stdout.flush()
            except BrokenPipeError:
                # Whoever reads has seen enough; what is left need not be flushed.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
