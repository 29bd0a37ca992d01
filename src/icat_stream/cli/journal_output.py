"""Rows of the journal as tables for people and as JSON for programs."""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from icat_stream.journal import By, Count, Entry
from icat_stream.records import iso, json_line, printable, shortened

_STYLES = {
    "ingested": "green",
    "unchanged": "green",
    "deferred": "yellow",
    "rejected": "red",
}
# What a list has room for.
_SEARCHED = ("investigation", "dataset", "file", "user")
# On a terminal that is narrower, a table of all columns is a column of letters.
WIDE = 110
_MESSAGE_WIDTH = 26


def print_lines(values: Iterable[dict[str, Any]]) -> None:
    """Print a line of JSON for each."""
    for each in values:
        sys.stdout.write(json_line(each) + "\n")


def print_entries(console: Console, entries: Sequence[Entry]) -> None:
    """Print rows as a table; on a narrow terminal a line each, and one for a reason."""
    if console.width < WIDE:
        _print_narrow(console, entries)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("published", "message", "outcome", "about", "reason"):
        table.add_column(
            name, overflow="fold", no_wrap=name in ("published", "outcome")
        )
    # In a pipe a row is a line, and nothing is left out.
    for_people = console.is_terminal
    for entry in entries:
        reason = _reason(entry)
        table.add_row(
            iso(entry.row.origin_time, seconds=True),
            plain(str(entry.origin)),
            Text(entry.row.outcome, style=_STYLES.get(entry.row.outcome, "")),
            Text(("\n" if for_people else ", ").join(_about(entry, _SEARCHED))),
            plain(shortened(reason, 200) if for_people else reason),
        )
    console.print(table)


def _print_narrow(console: Console, entries: Sequence[Entry]) -> None:
    places = [cut(printable(str(entry.origin)), _MESSAGE_WIDTH) for entry in entries]
    width = max(len("message"), *map(len, places))
    console.print(Text(f"{'published':20} {'message':{width}} outcome   about"))
    for entry, place in zip(entries, places, strict=True):
        row = entry.row
        line = Text(f"{iso(row.origin_time, seconds=True):20} {place:{width}} ")
        line.append(f"{row.outcome:9} ", style=_STYLES.get(row.outcome, ""))
        names = (row.objects.get(name) for name in _SEARCHED)
        about = " ".join(printable(str(each)) for each in names if each is not None)
        line.append(cut(about, max(1, console.width - line.cell_len)))
        console.print(line, no_wrap=True, overflow="crop")
        if reason := _reason(entry):
            text = f"  {cut(printable(reason), console.width - 2)}"
            console.print(Text(text), no_wrap=True, overflow="crop")


def print_way(console: Console, entries: Sequence[Entry]) -> None:
    """Print all that is known of a message."""
    for number, entry in enumerate(entries):
        row = entry.row
        if not number or row.at.group != entries[number - 1].row.at.group:
            origin = f"{entry.origin}, published {iso(row.origin_time)}"
            console.print(
                Text(f"{origin}, for {printable(row.at.group)}", style="bold")
            )
        facts = {
            "outcome": Text(row.outcome, style=_STYLES.get(row.outcome, "")),
            "state": plain("" if entry.state == "committed" else entry.state),
            "reason": plain(_reason(entry)),
            "read at": plain(f"{entry.at}, {iso(row.at.time)}"),
            "written": plain(iso(entry.written_at)),
            "about": Text("\n".join(_about(entry))),
            "type": plain(f"{row.message_type or '?'} ({row.message_format or '?'})"),
            "key": plain(row.key or ""),
            "size": plain(f"{row.size} bytes, sha256 {row.sha256}"),
            "attempts": plain(str(row.attempts)),
            "steps": plain(", ".join(f"{n} {s:.3f} s" for n, s in row.steps.items())),
            "trace": plain(row.trace_id or ""),
            "version": plain(row.version),
        }
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in facts.items():
            if value:
                table.add_row(name, value)
        console.print(table)


def print_counts(console: Console, by: Sequence[By], counts: Sequence[Count]) -> None:
    """Print how many rows have what in common."""
    table = Table(box=None, pad_edge=False)
    for each in by:
        table.add_column(each.value.replace("_", " "), overflow="fold")
    for name in ("rows", "bytes", "first", "last"):
        table.add_column(name, justify="right", no_wrap=True)
    for count in counts:
        table.add_row(
            *(plain(str(each)) for each in common(by, count).values()),
            f"{count.rows:,}",
            f"{count.size:,}",
            iso(count.first, seconds=True),
            iso(count.last, seconds=True),
        )
    console.print(table)


def count_values(by: Sequence[By], count: Count) -> dict[str, Any]:
    """Return a count as JSON has it."""
    return {
        **common(by, count),
        "rows": count.rows,
        "bytes": count.size,
        "first": iso(count.first),
        "last": iso(count.last),
    }


def common(by: Sequence[By], count: Count) -> dict[str, Any]:
    """Return what counted rows have in common, by its name."""
    return {
        each.value: iso(int(value) * 86_400_000)[:10]
        if each is By.DAY and value is not None
        else value
        for each, value in zip(by, count.common, strict=True)
    }


def cut(text: str, width: int) -> str:
    """Return a text that is too wide without its middle: both ends tell more."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def plain(text: str) -> Text:
    """Return text for a table, without what a terminal or its markup would obey."""
    return Text(printable(text))


def _about(entry: Entry, names: Collection[str] = ()) -> list[str]:
    # Identifiers that programs use are left to JSON.
    named = {
        name: value
        for name, value in entry.row.objects.items()
        if not name.endswith("_id") and value is not None
    }
    return [
        f"{name} {printable(str(value))}"
        for name, value in named.items()
        if not names or name in names
    ]


def _reason(entry: Entry) -> str:
    row = entry.row
    if row.error_class and row.text:
        return f"{row.error_class}: {row.text}"
    return row.error_class or row.text
