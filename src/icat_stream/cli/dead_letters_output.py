"""Dead letters as tables for people and as JSON for programs."""

from collections.abc import Iterable
from typing import Any

from icat_stream.records import Coordinates, printable
from icat_stream.stream import DeadLetter

from .journal_output import iso
from .terminal import print_table, printable_bytes

_LONGEST = 10_000


def print_letters(letters: Iterable[DeadLetter]) -> int:
    """Print dead letters as a table; return how many they were."""
    columns = ("letter", "rejected (UTC)", "consumer", "class", "reason", "")
    return print_table(
        columns,
        (
            (
                f"{letter.at.partition}@{letter.at.offset}",
                iso(letter.record.timestamp, seconds=True),
                letter.consumer or "",
                letter.error_class,
                letter.message,
                letter.done or ("no payload" if letter.omitted else ""),
            )
            for letter in letters
        ),
        wide="reason",
    )


def place_values(at: Coordinates) -> dict[str, Any]:
    """Return coordinates as JSON has them."""
    return {"topic": at.topic, "partition": at.partition, "offset": at.offset}


def letter_values(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as JSON has it, in a list."""
    record = letter.record
    return {
        "at": place_values(letter.at),
        "rejected": record.timestamp,
        "origin": place_values(record.origin),
        "published": record.origin_timestamp,
        "consumer": letter.consumer,
        "class": letter.error_class,
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
        f"rejected     {iso(record.timestamp, seconds=True)} UTC by {letter.consumer}"
        f" (icat-stream {letter.version}), attempts: {record.attempts}",
        f"origin       {record.origin}, published"
        f" {iso(record.origin_timestamp, seconds=True)} UTC",
        f"class        {letter.error_class}",
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
