"""``icat_stream journal``: what became of each message."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command_line import CommandLine
from .search_options import coordinates, searching
from .terminal import Output, console, is_text

if TYPE_CHECKING:
    from icat_stream.config import Settings
    from icat_stream.journal import Entry, Journal, Search
    from icat_stream.stream import Consumer

app = CommandLine(no_args_is_help=True)

# Of what is about to be done.
_SHOWN = 10


class Common(StrEnum):
    """What rows can be counted by."""

    GROUP = "group"
    TOPIC = "topic"
    OUTCOME = "outcome"
    ERROR_CLASS = "error_class"
    MESSAGE_TYPE = "message_type"
    VERSION = "version"
    DAY = "day"
    REASON = "reason"


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
        int, typer.Option("--limit", metavar="N", min=1, help="The newest so many.")
    ] = 50,
    output: OutputOption = None,
) -> None:
    """List rows: what became of which message, the newest first."""
    with _journal(config) as (_, journal):
        from icat_stream.journal import entry_values

        from .journal_output import print_entries, print_lines

        found = journal.entries.find(search, limit=limit + 1, newest_first=True)
        entries = list(found)
        if is_text(output):
            if entries:
                print_entries(console(), entries[:limit])
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
        str | None,
        typer.Option(
            "--group", metavar="NAME", help="Only what this group did with it."
        ),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Show the whole way of one message.

    That is each time it was handled, and what came of it.

    Exit codes: 0 it is there; 2 it is not.
    """
    from icat_stream.cli.exits import leave
    from icat_stream.records import ExitCode

    with _journal(config) as (_, journal):
        from icat_stream.journal import entry_values

        from .journal_output import print_lines, print_way

        entries = journal.entries.way(coordinates(message), group)
        if not entries:
            leave(ExitCode.USAGE, f"the journal has no {message}")
        if is_text(output):
            print_way(console(), entries)
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
        typer.Option(
            "--by",
            metavar="WHAT",
            help=f"{', '.join(Common)}; repeatable. [default: group, outcome]",
        ),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Count rows by what they have in common."""
    with _journal(config) as (_, journal):
        from icat_stream.journal import By

        from .journal_output import count_values, print_counts, print_lines

        chosen = [By(each.value) for each in by or (Common.GROUP, Common.OUTCOME)]
        chosen = list(dict.fromkeys(chosen))
        counts = journal.entries.count(search, chosen)
        if is_text(output):
            print_counts(console(), chosen, counts)
        else:
            print_lines(count_values(chosen, count) for count in counts)


@app.command()
@searching
def export(config: ConfigOption, *, search: "Search") -> None:
    """Write all rows that match as lines of JSON, the oldest first."""
    with _journal(config) as (_, journal):
        from icat_stream.journal import entry_values

        from .journal_output import print_lines

        print_lines(entry_values(entry) for entry in journal.entries.find(search))


@app.command()
@searching
def reingest(
    config: ConfigOption,
    *,
    search: "Search",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    output: OutputOption = None,
) -> None:
    """Have messages handled again.

    It is done by the consumers that handled them before.  Of each message what became
    of it in the end must match; those that still wait are left alone unless --outcome
    deferred is given.

    Exit codes: 0 done; 2 bad usage or configuration; 3 some cannot be sent; 5 a system
    is unavailable, or somebody else began to do the same.
    """
    from icat_stream.cli.exits import leave
    from icat_stream.records import ExitCode

    with _journal(config) as (settings, journal):
        from icat_stream.app import Pipeline
        from icat_stream.journal import Search
        from icat_stream.repair import Reingest, again
        from icat_stream.stream import Halt

        if search in (Search(), Search(last=True)):
            leave(ExitCode.USAGE, "say which messages; all of them: --since 1970-01-01")
        wanted = again(journal, search)
        count = sum(each.rows for each in journal.entries.count(wanted))
        _preview(journal, wanted, count)
        if not count:
            return
        if not yes:
            if not sys.stdin.isatty():
                leave(
                    ExitCode.USAGE,
                    f"{count} messages would be handled again: nobody is there to ask,"
                    " so say --yes",
                )
            typer.confirm(f"Handle {count} messages again?", abort=True, err=True)
        told = _Told(count, as_json=not is_text(output))
        # Nothing is opened for it: keys and secrets are told from the record alone.
        with Pipeline(settings, dry_run=True) as pipeline:
            made: dict[str, Consumer] = {}

            def consumer_of(name: str) -> "Consumer":
                if name not in made:
                    made[name] = pipeline.consumers([name])[0].consumer
                return made[name]

            try:
                with closing(
                    Reingest(
                        settings,
                        journal,
                        consumer_of=consumer_of,
                        on_done=told.done,
                        on_problem=told.problem,
                    )
                ) as tool:
                    tool.run(wanted)
            except Halt as halt:
                leave(ExitCode(halt.code), halt.reason)
        told.sum_up()
        if told.problems:
            raise SystemExit(int(ExitCode.REJECTED))


class _Told:
    """Tells how far a re-ingestion is."""

    def __init__(self, count: int, *, as_json: bool) -> None:
        self._count = count
        self._as_json = as_json
        self.sent = 0
        self.problems = 0

    def done(self, number: int) -> None:
        self.sent += number
        sys.stderr.write(f"sent {self.sent} of {self._count}\n")

    def problem(self, entry: "Entry", problem: str) -> None:
        from icat_stream.records import printable

        from .journal_output import print_lines

        self.problems += 1
        if self._as_json:
            print_lines([{"message": str(entry.origin), "problem": problem}])
        else:
            sys.stderr.write(printable(f"{entry.origin}: not sent: {problem}") + "\n")

    def sum_up(self) -> None:
        from .journal_output import print_lines

        if self._as_json:
            print_lines([{"sent": self.sent, "problems": self.problems}])
        else:
            sys.stdout.write(f"{self.sent} messages sent to be handled again\n")


def _preview(journal: "Journal", search: "Search", count: int) -> None:
    from .journal_output import print_entries

    if not count:
        sys.stderr.write("nothing is found\n")
        return
    print_entries(
        console(stderr=True), list(journal.entries.find(search, limit=_SHOWN))
    )
    if count > _SHOWN:
        sys.stderr.write(f"… and {count - _SHOWN} more\n")


@contextmanager
def _journal(config: Path) -> Iterator[tuple["Settings", "Journal"]]:
    """Open the journal as it is: these commands make none."""
    from icat_stream.cli.exits import exit_codes

    with exit_codes():
        from icat_stream.config import load
        from icat_stream.journal import reading

        settings = load(config)
        with reading(settings.journal) as journal:
            yield settings, journal
