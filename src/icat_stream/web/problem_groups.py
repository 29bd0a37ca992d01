"""Dead letters that wait, grouped by what they have in common."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from icat_stream.app import page_about
from icat_stream.config import Settings
from icat_stream.journal import reason_kind
from icat_stream.records import Coordinates
from icat_stream.stream import DeadLetter, DeadLetters, Selection

from .recent_answer import RecentAnswer
from .subjects import subject

_EXAMPLES = 3
# More are counted, and done in turns.
_MOST = 50_000
_HOUR_MS = 3_600_000


@dataclass(slots=True)
class ProblemGroup:
    """Dead letters of one consumer with one reason, names and numbers apart.

    Parameters
    ----------
    fingerprint
        The same as long as the reason is.
    consumer, error_class, reason
        What they have in common.
    count, first, last
        How many wait, and when the first and the last were rejected, milliseconds.
    hours
        How many were rejected in each hour.
    examples
        The newest ones.
    places
        Where they stand among the dead letters.
    """

    fingerprint: str
    consumer: str
    error_class: str
    reason: str
    count: int = 0
    first: int = 2**63
    last: int = 0
    hours: dict[int, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    places: set[Coordinates] = field(default_factory=set)

    def add(self, letter: DeadLetter) -> None:
        """Count a dead letter."""
        at = letter.record.timestamp
        self.count += 1
        self.first, self.last = min(self.first, at), max(self.last, at)
        hour = at // _HOUR_MS * _HOUR_MS
        self.hours[hour] = self.hours.get(hour, 0) + 1
        if len(self.places) < _MOST:
            self.places.add(letter.at)
        self.examples = [_example(letter), *self.examples][:_EXAMPLES]

    def values(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "fingerprint": self.fingerprint,
            "consumer": self.consumer,
            "error_class": self.error_class,
            "reason": self.reason,
            "count": self.count,
            "first": self.first,
            "last": self.last,
            "example": self.examples[0]["reason"],
            "page": page_about(self.reason),
        }


@dataclass(frozen=True, slots=True)
class ProblemGroups:
    """All groups as they were at some time.

    Parameters
    ----------
    groups
        By fingerprint, the largest first.
    ends
        The next offset of each partition at that time.
    """

    groups: Mapping[str, ProblemGroup]
    ends: Mapping[int, int]


class ProblemReader:
    """Reads the dead letters now and then; safe for threads.

    Parameters
    ----------
    settings
        All of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recent = RecentAnswer(self._read)

    def read(self, *, fresh: bool = False) -> ProblemGroups:
        """Return all groups.

        Parameters
        ----------
        fresh
            As of now, rather than of a few seconds ago.

        Raises
        ------
        SystemUnavailable
            Kafka does not answer.
        """
        return self._recent.get(fresh=fresh)

    def find(self, place: Coordinates) -> DeadLetter | None:
        """Return the last dead letter of a record, done or not."""
        with DeadLetters(self._settings) as letters:
            return letters.find(place)

    def _read(self) -> ProblemGroups:
        found: dict[str, ProblemGroup] = {}
        with DeadLetters(self._settings) as letters:
            ends = letters.ends()
            for letter in letters.read(Selection(), ends):
                group = _group(letter)
                found.setdefault(group.fingerprint, group).add(letter)
        ordered = sorted(found.values(), key=lambda each: -each.count)
        groups = {each.fingerprint: each for each in ordered}
        return ProblemGroups(groups, ends)


def _group(letter: DeadLetter) -> ProblemGroup:
    consumer, kind = letter.consumer or "", reason_kind(letter.message)
    text = "\0".join((consumer, letter.error_class, kind))
    fingerprint = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return ProblemGroup(fingerprint, consumer, letter.error_class, kind)


def _example(letter: DeadLetter) -> dict[str, Any]:
    origin = letter.record.origin
    return {
        "rejected": letter.record.timestamp,
        "topic": origin.topic,
        "partition": origin.partition,
        "offset": origin.offset,
        "about": subject(letter.objects),
        "reason": letter.message,
    }
