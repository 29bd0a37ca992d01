"""A message that a field map has read, as handlers and the journal want it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icat_stream.messages import FieldMaps, Mapped
from icat_stream.records import Outcome, OutcomeKind, Record

# Longer than any name in a catalogue: what is refused may be many megabytes.
_LONGEST = 300
_MOST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedMessage:
    """A message, and what it is about.

    Parameters
    ----------
    mapped
        By a field map.
    objects
        What it is about, by name, for the journal and for dead letters.
    """

    mapped: Mapped
    objects: Mapping[str, Any]

    @property
    def message(self) -> Any:
        """What was said."""
        return self.mapped.message

    @property
    def message_type(self) -> str:
        """Name of the field map."""
        return self.mapped.map

    @property
    def message_format(self) -> str:
        """``json`` or ``xml``."""
        return self.mapped.format

    @property
    def unread(self) -> list[str]:
        """A note of the fields that were found and are not read, if there are any."""
        if not self.mapped.extras:
            return []
        return [f"fields that are not read: {', '.join(self.mapped.extras)}"]


def read(
    maps: FieldMaps, record: Record, about: Callable[[Any], Mapping[str, Any]]
) -> MappedMessage | Outcome:
    """Return the message in a record, or the outcome of an event that no map takes.

    Parameters
    ----------
    maps
        Of the consumer.
    record
        With its value.
    about
        Returns what a message is about, by name; ``None`` is left out.

    Raises
    ------
    icat_stream.messages.Undecodable
        With the first problems, by the fields as the document names them.
    """
    mapped = maps.read(record.value, record.headers)
    if mapped.message is None:
        return Outcome(
            kind=OutcomeKind.IGNORED,
            reason=f"event {mapped.event} is of no interest here",
            message_type=mapped.map,
            message_format=mapped.format,
        )
    objects = {
        name: _short(value)
        for name, value in about(mapped.message).items()
        if value is not None
    }
    return MappedMessage(mapped=mapped, objects=objects)


def key_of(maps: FieldMaps, record: Record, *names: str) -> str:
    """Return an ordering key: the first of some fields, or the record's own place."""
    return maps.peek(record.value, names, record.headers) or str(record.at)


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
    if isinstance(value, Sequence):
        return [_short(each) for each in value[:_MOST]]
    return value
