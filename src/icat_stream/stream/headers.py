"""Headers of what waits and of dead letters: a contract with those who read them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icat_stream import __version__
from icat_stream.records import Coordinates, Record, is_secret_name

Headers = tuple[tuple[str, bytes | None], ...]

PREFIX = "icat-stream."
TOPIC = PREFIX + "topic"
PARTITION = PREFIX + "partition"
OFFSET = PREFIX + "offset"
TIMESTAMP = PREFIX + "timestamp"
GROUP = PREFIX + "group"
ERROR_CLASS = PREFIX + "error-class"
ERROR_MESSAGE = PREFIX + "error-message"
ATTEMPTS = PREFIX + "attempts"
VERSION = PREFIX + "version"
# What it is about, as JSON: where it has to be found again.
OBJECTS = PREFIX + "objects"
# Of a record whose value is not kept.
PAYLOAD = PREFIX + "payload"
SIZE = PREFIX + "size"
SHA256 = PREFIX + "sha256"
# Of a record that is parked, whose own key is where it was parked.
KEY = PREFIX + "key"
# Of a record that waits in a retry topic or is parked.
RETRIES = PREFIX + "retries"
NOT_BEFORE = PREFIX + "not-before"
PARKED_SINCE = PREFIX + "parked-since"
MISSING = PREFIX + "missing"

TRACEPARENT = "traceparent"

# A broker's headers count against its limit of a megabyte a record.
_MESSAGE_BYTES = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """What a record that was put off or parked waits for.

    Parameters
    ----------
    not_before
        Milliseconds since the epoch; 0 for at once.
    retries
        How often it was put off for a transient failure.
    parked_since
        When it was first parked, milliseconds since the epoch; 0 if it never was.
    missing
        What it waits for.
    """

    not_before: int = 0
    retries: int = 0
    parked_since: int = 0
    missing: tuple[str, ...] = ()


NO_DELAY = Delay()


def message(text: str) -> bytes:
    """Return an error message as a header's value, not too long."""
    value = text.encode(errors="replace")
    if len(value) <= _MESSAGE_BYTES:
        return value
    return value[:_MESSAGE_BYTES].decode(errors="ignore").encode() + "…".encode()


def of_objects(given: Mapping[str, Any]) -> list[tuple[str, bytes | None]]:
    """Return the header that :func:`objects` reads, if there is something to say."""
    texts = {name: text for name, text in given.items() if isinstance(text, str)}
    value = json.dumps(texts, separators=(",", ":")).encode()
    if not texts or len(value) > _MESSAGE_BYTES:
        return []
    return [(OBJECTS, value)]


def objects(headers: Headers) -> Mapping[str, Any]:
    """Return what a dead letter is about; nothing if unreadable."""
    try:
        found = json.loads(_text(dict(headers).get(OBJECTS, b"{}")))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def foreign(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return the headers that are not ours, and no secrets."""
    return [each for each in kept(headers) if not each[0].startswith(PREFIX)]


def kept(headers: Headers) -> Headers:
    """Return headers without those whose name is that of a secret."""
    return tuple(each for each in headers if not is_secret_name(each[0]))


def of_origin(
    record: Record, group: str, attempts: int
) -> list[tuple[str, bytes | None]]:
    """Return the headers that :func:`origin` reads, and whose record it is."""
    at = record.origin
    return [
        (TOPIC, at.topic.encode()),
        (PARTITION, b"%d" % at.partition),
        (OFFSET, b"%d" % at.offset),
        (TIMESTAMP, b"%d" % record.origin_timestamp),
        (GROUP, group.encode()),
        (ATTEMPTS, b"%d" % attempts),
        (VERSION, __version__.encode()),
    ]


def origin(headers: Headers) -> tuple[Coordinates, int, int] | None:
    """Return original coordinates, original time and attempts of a retried record.

    ``None`` if the headers do not say: then somebody else has written the record.
    """
    given = dict(headers)
    try:
        return (
            Coordinates(
                _text(given[TOPIC]), _number(given[PARTITION]), _number(given[OFFSET])
            ),
            _number(given[TIMESTAMP]),
            _number(given.get(ATTEMPTS, b"0")),
        )
    except (KeyError, ValueError):
        return None


def delay(headers: Headers) -> Delay:
    """Return what a record in a retry topic waits for; nothing if unreadable."""
    given = dict(headers)
    try:
        missing = json.loads(_text(given.get(MISSING, b"[]")))
        if not isinstance(missing, list):
            return NO_DELAY
        return Delay(
            not_before=_number(given.get(NOT_BEFORE, b"0")),
            retries=_number(given.get(RETRIES, b"0")),
            parked_since=_number(given.get(PARKED_SINCE, b"0")),
            missing=tuple(str(each) for each in missing),
        )
    except (ValueError, RecursionError):
        return NO_DELAY


def of_delay(wait: Delay) -> list[tuple[str, bytes | None]]:
    """Return the headers that :func:`delay` reads."""
    found: list[tuple[str, bytes | None]] = [
        (NOT_BEFORE, b"%d" % wait.not_before),
        (RETRIES, b"%d" % wait.retries),
    ]
    if wait.parked_since:
        found.append((PARKED_SINCE, b"%d" % wait.parked_since))
    if wait.missing:
        found.append((MISSING, _list(wait.missing)))
    return found


def _list(values: Sequence[str]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()


def _text(value: bytes | None) -> str:
    if value is None:
        raise ValueError("a header without a value")
    return value.decode()


def _number(value: bytes | None) -> int:
    number = int(_text(value))
    if number < 0:
        raise ValueError("a negative number")
    return number
