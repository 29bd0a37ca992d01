"""``icat_stream dead-letters``: what was rejected, and what to do about it."""

import json
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .command_line import CommandLine, configured
from .search_options import coordinates, moment
from .terminal import Output, is_text

if TYPE_CHECKING:
    from icat_stream.app import Pipeline
    from icat_stream.config import Settings
    from icat_stream.records import Coordinates
    from icat_stream.stream import Action, Consumer, DeadLetter, Selection

app = CommandLine(no_args_is_help=True)

# Of what is about to be done, and of a list for people.
_SHOWN = 10
_LISTED = 50
_SHORT = re.compile(r"(\d{1,9})@(\d{1,18})", re.ASCII)


ConfigOption = Annotated[
    Path, typer.Option("-c", "--config", metavar="FILE", help="The daemon's.")
]
OutputOption = Annotated[
    Output | None,
    typer.Option("--output", help="By default text on a terminal, else JSON lines."),
]
PlacesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PARTITION@OFFSET",
        help="Of dead letters; or TOPIC[PARTITION]@OFFSET of rejected records.",
        show_default=False,
    ),
]
ClassOption = Annotated[
    str | None,
    typer.Option(
        "--error-class",
        "--class",
        metavar="CLASS",
        help="permanent, transient, dependency, bug, …",
    ),
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Found in the reason.")
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Rejected at that time (ISO, UTC if it has no zone), or 2h.",
    ),
]
UntilOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Rejected before that time.")
]
InvestigationOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="NAME or NAME/VISIT.")
]
ConsumerOption = Annotated[
    str | None, typer.Option("--consumer", metavar="NAME", help="Rejected by it.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
def list_(
    config: ConfigOption,
    places: PlacesArgument = None,
    error_class: ClassOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    investigation: InvestigationOption = None,
    consumer: ConsumerOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that are done.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, help="The newest so many. [text: 50]"
        ),
    ] = None,
    output: OutputOption = None,
) -> None:
    """List the dead letters that wait, the newest first.

    Exit codes: 0 done; 2 bad usage or configuration; 5 Kafka is unavailable.
    """
    with configured(config) as settings:
        from icat_stream.cli.dead_letters_output import (
            letter_values,
            newest_first,
            print_letters,
        )
        from icat_stream.stream import DeadLetters

        selection = _selection(
            settings, places, error_class, reason, since, until, investigation, consumer
        )
        if everything:
            from dataclasses import replace

            selection = replace(selection, done=True)
        with DeadLetters(settings) as letters:
            for_people = is_text(output)
            if limit is None and for_people:
                limit = _LISTED
            shown, count = newest_first(letters.read(selection), limit)
            if not for_people:
                for letter in shown:
                    sys.stdout.write(json.dumps(letter_values(letter)) + "\n")
            else:
                print_letters(shown)
                sys.stdout.write(f"dead letters: {count}\n")
            if count > len(shown):
                sys.stderr.write(f"only the newest {len(shown)} of {count} (--limit)\n")
            _tell_foreign(letters.foreign)


@app.command()
def show(
    config: ConfigOption,
    place: Annotated[
        str,
        typer.Argument(
            metavar="PARTITION@OFFSET",
            help="Of a dead letter; or TOPIC[PARTITION]@OFFSET of a rejected record.",
        ),
    ],
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the payload there, as it is."),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Show one dead letter with its headers and payload.

    Exit codes: 0 done; 2 bad usage or configuration; 5 Kafka is unavailable.
    """
    with configured(config) as settings:
        from icat_stream.cli.dead_letters_output import all_values, text_lines
        from icat_stream.stream import DeadLetters

        at = _place(settings, place)
        with DeadLetters(settings) as letters:
            letter = letters.find(at)
        if letter is None:
            _leave_usage(
                f"{at}: no dead letter of this configuration's consumers is there, and"
                " none comes from there; `icat_stream dead-letters list --all` says"
                " which there are"
            )
        if save is not None:
            if letter.omitted:
                _leave_usage(f"{letter.at}: its payload was not kept")
            save.write_bytes(letter.record.value or b"")
        if not is_text(output):
            sys.stdout.write(json.dumps(all_values(letter)) + "\n")
        else:
            sys.stdout.write("\n".join(text_lines(letter)) + "\n")


@app.command(
    "replay",
    help="""Have dead letters handled again.

    It is done by the consumers that rejected them.

    Exit codes: 0 done; 2 bad usage or configuration; 3 some cannot be replayed; 5
    Kafka is unavailable, or somebody else began to do the same.
    """,
)
@app.command(
    "discard",
    help="""Mark dead letters as done; do nothing about them.

    Exit codes: 0 done; 2 bad usage or configuration; 5 Kafka is unavailable, or
    somebody else began to do the same.
    """,
)
def deal(
    context: typer.Context,
    config: ConfigOption,
    places: PlacesArgument = None,
    error_class: ClassOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    investigation: InvestigationOption = None,
    consumer: ConsumerOption = None,
    yes: YesOption = False,
    output: OutputOption = None,
) -> None:
    """Replay or discard, as the command is called."""
    with configured(config) as settings:
        from icat_stream.stream import Action

        selection = _selection(
            settings, places, error_class, reason, since, until, investigation, consumer
        )
        action = {"replay": Action.REPLAYED, "discard": Action.DISCARDED}[
            str(context.info_name)
        ]
        with ExitStack() as opened:

            @cache
            def pipeline() -> "Pipeline":
                from icat_stream.app import Pipeline

                # Nothing is opened: keys and secrets are told from the record alone.
                return opened.enter_context(Pipeline(settings, dry_run=True))

            @cache
            def consumer_of(name: str) -> "Consumer":
                return pipeline().consumers([name])[0].consumer

            _deal(action, settings, selection, consumer_of, yes, output)


def _deal(
    action: "Action",
    settings: "Settings",
    selection: "Selection",
    consumer_of: "Callable[[str], Consumer]",
    yes: bool,
    output: Output | None,
) -> None:
    from icat_stream.cli.dead_letters_output import place_values
    from icat_stream.records import ExitCode, printable
    from icat_stream.stream import Replay

    verb = {"replayed": "replay", "discarded": "discard"}[action.value]
    as_json = not is_text(output)
    ends, count = _preview(settings, selection, as_json)
    if count and not yes:
        if not sys.stdin.isatty():
            _leave_usage(
                f"{count} dead letters would be {action.value}: nobody is there to ask,"
                " so say --yes"
            )
        typer.confirm(
            f"{verb.capitalize()} {count} dead letters?", abort=True, err=True
        )
    done = problems = 0

    def tell_done(number: int) -> None:
        nonlocal done
        done += number
        sys.stderr.write(f"{action.value} {done} of {count}\n")

    def tell_problem(letter: "DeadLetter", problem: str) -> None:
        nonlocal problems
        problems += 1
        if as_json:
            line = json.dumps({"at": place_values(letter.at), "problem": problem})
            sys.stdout.write(line + "\n")
        else:
            sys.stderr.write(printable(f"{letter.at}: not {action.value}: {problem}"))
            sys.stderr.write("\n")

    if count:
        with closing(
            Replay(
                settings,
                consumer_of=consumer_of,
                on_done=tell_done,
                on_problem=tell_problem,
            )
        ) as tool:
            tool.run(action, selection, ends)
    if as_json:
        summary = {action.value: done, "problems": problems}
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        sys.stdout.write(f"{action.value}: {done}\n")
    if problems:
        raise SystemExit(int(ExitCode.REJECTED))


def _preview(
    settings: "Settings", selection: "Selection", as_json: bool
) -> tuple[dict[int, int], int]:
    """Show what is meant; return the ends it was read to, and how much it is."""
    from icat_stream.cli.dead_letters_output import print_letters
    from icat_stream.stream import DeadLetters

    with DeadLetters(settings) as letters:
        ends = letters.ends()
        found = letters.read(selection, ends)
        shown = []
        for letter in found:
            shown.append(letter)
            if len(shown) == _SHOWN:
                break
        count = len(shown) + sum(1 for _ in found)
        foreign = letters.foreign
    if not as_json:
        print_letters(iter(shown))
        if count > len(shown):
            sys.stdout.write(f"… and {count - len(shown)} more\n")
    _tell_foreign(foreign)
    return ends, count


def _selection(
    settings: "Settings",
    places: list[str] | None,
    error_class: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    investigation: str | None,
    consumer: str | None,
) -> "Selection":
    from icat_stream.stream import Selection

    if consumer is not None and consumer not in settings.consumers:
        _leave_usage(
            f"--consumer {consumer} is none of the consumers in the configuration:"
            f" {', '.join(settings.consumers)}"
        )
    return Selection(
        error_class=error_class,
        text=reason,
        since=None if since is None else moment(since),
        until=None if until is None else moment(until),
        investigation=investigation,
        consumer=consumer,
        places=frozenset(_place(settings, text) for text in places or ()),
    )


def _place(settings: "Settings", text: str) -> "Coordinates":
    from icat_stream.records import Coordinates

    if short := _SHORT.fullmatch(text):
        return Coordinates(settings.dead_letters.topic, int(short[1]), int(short[2]))
    return coordinates(text)


def _leave_usage(message: str) -> NoReturn:
    from icat_stream.cli.exits import leave
    from icat_stream.records import ExitCode, printable

    leave(ExitCode.USAGE, printable(message))


def _tell_foreign(number: int) -> None:
    if number:
        sys.stderr.write(f"{number} dead letters of other groups are not shown\n")
