"""Which dead letters somebody has dealt with: markers in a compacted topic."""

import json
import re
import time
from array import array
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from icat_stream import __version__
from icat_stream.config import Settings
from icat_stream.records import Coordinates

_KEY = re.compile(rb"([\w.-]+)\[(\d{1,9})\]@(\d{1,18})")
_ACTION, _TIMESTAMP = "action", "timestamp"


class Action(StrEnum):
    """What was done about a dead letter."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"


_NUMBER = {Action.REPLAYED: 1, Action.DISCARDED: 2}
_OF_NUMBER = {number: action for action, number in _NUMBER.items()}


def state_topic(settings: Settings) -> str:
    """Return the topic of the markers."""
    return f"{settings.dead_letters.topic}.state"


def marker(at: Coordinates, timestamp: int, action: Action) -> tuple[bytes, bytes]:
    """Return key and value that say that a dead letter is done.

    Parameters
    ----------
    at, timestamp
        Of the dead letter; a topic that was made anew has the same offsets again, at
        other times.
    action
        What was done.
    """
    body = {
        _ACTION: action.value,
        _TIMESTAMP: timestamp,
        "time": time.time_ns() // 1_000_000,
        "version": __version__,
    }
    return str(at).encode(), json.dumps(body, separators=(",", ":")).encode()


def marked(key: bytes | None) -> Coordinates | None:
    """Return which dead letter a marker's key names; ``None`` if it names none."""
    found = _KEY.fullmatch(key or b"")
    if found is None:
        return None
    return Coordinates(found[1].decode(), int(found[2]), int(found[3]))


class Markers:
    """What is done of one dead-letter topic, in a few bytes for each.

    Parameters
    ----------
    topic
        The dead-letter topic.
    spans
        Its first and its next offset, by partition: other markers are out of date.
    """

    def __init__(self, topic: str, spans: Mapping[int, tuple[int, int]]) -> None:
        self._topic = topic
        self._spans = spans
        self._times = {number: array("q") for number in spans}
        self._actions = {number: bytearray() for number in spans}

    def note(self, message: Any) -> None:
        """Take note of a record of the topic of markers.

        Parameters
        ----------
        message
            Of confluent-kafka, without an error.
        """
        at = marked(message.key())
        if at is None or at.topic != self._topic or at.partition not in self._spans:
            return
        low, high = self._spans[at.partition]
        if not low <= at.offset < high:
            return
        action, timestamp = said(message.value())
        times, actions = self._times[at.partition], self._actions[at.partition]
        index = at.offset - low
        if index >= len(times):
            missing = index + 1 - len(times)
            times.frombytes(bytes(times.itemsize * missing))
            actions.extend(bytes(missing))
        times[index] = timestamp
        actions[index] = 0 if action is None else _NUMBER[action]

    def of(self, at: Coordinates, timestamp: int) -> Action | None:
        """Return what was done about a dead letter, ``None`` for nothing."""
        low, _ = self._spans.get(at.partition, (0, 0))
        times = self._times.get(at.partition, ())
        index = at.offset - low
        if not 0 <= index < len(times) or times[index] != timestamp:
            return None
        return _OF_NUMBER.get(self._actions[at.partition][index])


def said(value: bytes | None) -> tuple[Action | None, int]:
    """Return what a marker says was done, and the time of its dead letter."""
    if value is None:
        return None, 0
    try:
        body = json.loads(value)
        action, timestamp = Action(body[_ACTION]), body[_TIMESTAMP]
    except (ValueError, KeyError, TypeError, RecursionError):
        # Written by somebody else: it proves nothing.
        return None, 0
    if not isinstance(timestamp, int) or not 0 <= timestamp < 2**63:
        return None, 0
    return action, timestamp
