"""Dead letters as tables for people and as JSON for programs."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from icat_stream.records import Coordinates, iso, printable
from icat_stream.stream import DeadLetter

from .journal_output import WIDE, cut
from .terminal import console, print_table, printable_bytes

_LONGEST = 10_000


def newest_first(
    letters: Iterable[DeadLetter], limit: int | None
) -> tuple[list[DeadLetter], int]:
    """Return the newest dead letters, without their payloads, and how many there are.

    Parameters
    ----------
    letters
        In any order.
    limit
        Return so many; ``None``: all.
    """
    newest: list[DeadLetter] = []
    count = 0
    for letter in letters:
        count += 1
        newest.append(replace(letter, record=letter.record._replace(value=None)))
        # Sorted once in a while, the list never grows beyond twice its size.
        if limit is not None and len(newest) >= 2 * limit:
            newest = sorted(newest, key=_age)[:limit]
    return sorted(newest, key=_age)[:limit], count


def _age(letter: DeadLetter) -> tuple[int, int, int]:
    return -letter.record.timestamp, letter.at.partition, -letter.at.offset


def print_letters(letters: Iterable[DeadLetter]) -> int:
    """Print dead letters as a table; return how many they were.

    On a narrow terminal each has a line, and one for its reason.
    """
    width = console().width
    if width < WIDE:
        return _print_narrow(letters, width)
    columns = ("rejected", "letter", "consumer", "error class", "reason", "")
    return print_table(
        columns,
        (
            (
                iso(letter.record.timestamp, seconds=True),
                f"{letter.at.partition}@{letter.at.offset}",
                letter.consumer or "",
                letter.error_class,
                letter.message,
                _note(letter),
            )
            for letter in letters
        ),
        wide="reason",
    )


def _print_narrow(letters: Iterable[DeadLetter], width: int) -> int:
    shape = "{:20} {:9} {:16} {:11} {}".format
    count = 0
    for letter in letters:
        lines = [
            shape(
                iso(letter.record.timestamp, seconds=True),
                f"{letter.at.partition}@{letter.at.offset}",
                cut(letter.consumer or "", 16),
                cut(letter.error_class, 11),
                _note(letter),
            ),
            f"  {cut(letter.message, width - 2)}",
        ]
        if not count:
            lines.insert(0, shape("rejected", "letter", "consumer", "error class", ""))
        for line in lines:
            sys.stdout.write(f"{cut(printable(line).rstrip(), width)}\n")
        count += 1
    return count


def _note(letter: DeadLetter) -> str:
    return letter.done or ("no payload" if letter.omitted else "")


def place_values(at: Coordinates) -> dict[str, Any]:
    """Return coordinates as JSON has them."""
    return {"topic": at.topic, "partition": at.partition, "offset": at.offset}


def letter_values(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as JSON has it, in a list."""
    record = letter.record
    return {
        "at": place_values(letter.at) | {"time": iso(record.timestamp)},
        "origin": place_values(record.origin) | {"time": iso(record.origin_timestamp)},
        "consumer": letter.consumer,
        "error_class": letter.error_class,
        "reason": letter.message,
        "attempts": record.attempts,
        "objects": dict(letter.objects),
        "key": None if record.key is None else printable_bytes(record.key),
        "size": letter.size,
        "payload": "omitted" if letter.omitted else "kept",
        "state": letter.done or "waiting",
    }


def all_values(letter: DeadLetter) -> dict[str, Any]:
    """Return all of a dead letter as JSON has it."""
    value = letter.record.value
    return letter_values(letter) | {
        "version": letter.version,
        "headers": [
            [name, None if content is None else printable_bytes(content)]
            for name, content in letter.record.headers
        ],
        "value": None if value is None else value.decode(errors="backslashreplace"),
    }


def text_lines(letter: DeadLetter) -> list[str]:
    """Return all of a dead letter for people."""
    record = letter.record
    lines = [
        f"dead letter  {letter.at}, {letter.done or 'waiting'}",
        f"rejected     {iso(record.timestamp, seconds=True)} by"
        f" {letter.consumer or letter.group}"
        f" (icat-stream {letter.version or 'of no known version'}),"
        f" attempts: {record.attempts}",
        f"origin       {record.origin}, published"
        f" {iso(record.origin_timestamp, seconds=True)}",
        f"error class  {letter.error_class}",
        f"reason       {letter.message}",
        *(f"{name:<12} {text}" for name, text in letter.objects.items()),
        f"key          {printable_bytes(record.key)}",
    ]
    lines += [
        f"header       {name}: {printable_bytes(content)}"
        for name, content in record.headers
        if not name.startswith("icat-stream.")
    ]
    if letter.omitted:
        lines.append(
            f"payload      {letter.size} bytes, not kept; sha256 {letter.sha256};"
            f" `replay` reads {record.origin} again"
        )
        return [printable(line) for line in lines]
    lines.append(f"payload      {letter.size} bytes")
    text = (record.value or b"")[:_LONGEST].decode(errors="backslashreplace")
    lines += text.replace("\t", "    ").replace("\r\n", "\n").split("\n")
    if letter.size > _LONGEST:
        lines.append(f"… (its first {_LONGEST} bytes; --save FILE writes all)")
    return [printable(line) for line in lines]
