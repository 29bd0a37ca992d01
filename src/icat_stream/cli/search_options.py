"""The options by which rows of the journal are searched, the same for all commands."""

import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from icat_stream.journal import Search
    from icat_stream.records import Coordinates

_COORDINATES = re.compile(r"(.+?)(?:\[(\d+)\]@|:(\d+):)(\d+)")
_AGO = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Outcome(StrEnum):
    """What may have become of a record."""

    INGESTED = "ingested"
    UNCHANGED = "unchanged"
    IGNORED = "ignored"
    DEFERRED = "deferred"
    REJECTED = "rejected"


def coordinates(text: str) -> "Coordinates":
    """Return where a record stands, from ``topic[partition]@offset``.

    Raises
    ------
    BadParameter
        It is something else.
    """
    from icat_stream.records import Coordinates

    match = _COORDINATES.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(
            f"expected topic[partition]@offset or topic:partition:offset, not {text!r}"
        )
    topic, bracketed, plain, offset = match.groups()
    return Coordinates(topic, int(bracketed or plain), int(offset))


def moment(text: str) -> int:
    """Return milliseconds since the epoch, from a date, a time, or a time ago.

    Raises
    ------
    BadParameter
        It is none of them.
    """
    ago = re.fullmatch(r"(\d{1,9})\s*([smhd])", text.strip())
    try:
        if ago is not None:
            seconds = int(ago[1]) * _AGO[ago[2]]
            found = datetime.now(UTC) - timedelta(seconds=seconds)
        else:
            found = datetime.fromisoformat(text.strip())
            if found.tzinfo is None:
                found = found.replace(tzinfo=UTC)
        return int(found.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            "expected a date, an ISO time (UTC if it has no zone), or a time ago such"
            f" as 90m, 12h or 7d, not {text!r}"
        ) from None


def utc_moment(text: str) -> datetime:
    """Return the same as a time."""
    return datetime.fromtimestamp(moment(text) / 1000, UTC)


def _search(
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Published then or later: 2026-11-21, 2026-11-21T08:30 (UTC), or 12h"
            " for so long ago.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Published before.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="NAME",
            help="Consumer group, or one-shot; repeatable.",
        ),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            metavar="NAME",
            help="Where it was first published; repeatable.",
        ),
    ] = None,
    outcome: Annotated[
        list[Outcome] | None,
        typer.Option(
            "--outcome",
            metavar="OUTCOME",
            help=f"{', '.join(Outcome)}; repeatable.",
        ),
    ] = None,
    message: Annotated[
        str | None,
        typer.Option(
            "--message",
            metavar="TOPIC[PARTITION]@OFFSET",
            help="One message, with its retries.",
        ),
    ] = None,
    investigation: Annotated[
        str | None,
        typer.Option(
            "--investigation",
            metavar="NAME[/VISIT]",
            help="All names here may have * for anything.",
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME")] = None,
    file: Annotated[str | None, typer.Option("--file", metavar="NAME")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="What keeps the order.")
    ] = None,
    error_class: Annotated[
        str | None, typer.Option("--error-class", metavar="CLASS")
    ] = None,
    message_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Such as wrdn.")
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(
            "--sha256", metavar="HEX", help="Of the message; or how it begins."
        ),
    ] = None,
    trace_id: Annotated[
        str | None, typer.Option("--trace-id", metavar="HEX", help="Or how it begins.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="TEXT", help="Stands somewhere in the reason."),
    ] = None,
    last: Annotated[
        bool,
        typer.Option("--last", help="Only what became of each message in the end."),
    ] = False,
) -> "Search":
    from icat_stream.journal import Search

    for name, hexadecimal in (("--sha256", sha256), ("--trace-id", trace_id)):
        if hexadecimal is not None and not re.fullmatch("[0-9a-fA-F]+", hexadecimal):
            raise typer.BadParameter(f"{name}: expected hexadecimal digits")
    return Search(
        since=None if since is None else moment(since),
        until=None if until is None else moment(until),
        groups=tuple(group or ()),
        topics=tuple(topic or ()),
        outcomes=tuple(each.value for each in outcome or ()),
        message=None if message is None else coordinates(message),
        investigation=investigation,
        dataset=dataset,
        file=file,
        key=key,
        error_class=error_class,
        message_type=message_type,
        sha256=None if sha256 is None else sha256.lower(),
        trace_id=None if trace_id is None else trace_id.lower(),
        text=text,
        last=last,
    )


def searching(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a search; it gets that as ``search``."""
    theirs = inspect.signature(_search).parameters
    own = inspect.signature(command).parameters
    taken = [p for name, p in own.items() if name != "search"]

    def run(**given: Any) -> None:
        search = _search(**{name: given.pop(name) for name in theirs})
        command(search=search, **given)

    parameters = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for p in (*taken, *theirs.values())
    ]
    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
