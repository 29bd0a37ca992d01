"""Handlers of messages that field maps read."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from icat_stream import __version__
from icat_stream.config import Settings
from icat_stream.messages import Mapped
from icat_stream.records import Coordinates, Outcome, OutcomeKind, Record, shortened

from .handler import Handler, HandlerContext
from .options import FieldMapOptions, read_options

OptionsT = TypeVar("OptionsT", bound=FieldMapOptions)

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
    origin
        Of its record.
    """

    mapped: Mapped
    objects: Mapping[str, Any]
    origin: Coordinates

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


class FieldMapHandler(Handler, Generic[OptionsT]):
    """A handler whose messages are read by the field maps that its options name.

    Parameters
    ----------
    context
        Settings, options and the way to the files.

    Raises
    ------
    icat_stream.config.ConfigError
        The options or the field maps are wrong; all problems are named.
    """

    Options: ClassVar[type[FieldMapOptions]]
    kinds: ClassVar[Mapping[str, type]]
    """The dataclasses that its field maps may fill, by name."""

    key_fields: ClassVar[Sequence[str]]
    """Fields of which the first that a message has is its ordering key."""

    keyed_by_record: ClassVar[bool] = False
    """Whether the record's own key, where it has one, comes before those fields."""

    def __init__(self, context: HandlerContext) -> None:
        options = read_options(self.Options, context.options)
        self._options: OptionsT = options  # type: ignore[assignment]
        self._maps = options.field_maps(self.kinds, context.settings)
        settings = context.settings
        self._understanding = "\0".join(
            (
                __version__,
                type(self).__qualname__,
                settings.facility,
                settings.policies.model_dump_json(),
                self._options.model_dump_json(),
            )
        ).encode()

    @classmethod
    def check(cls, settings: Settings, options: Mapping[str, Any]) -> None:
        """Load options and field maps."""
        read_options(cls.Options, options).field_maps(cls.kinds, settings)

    @abstractmethod
    def about(self, message: Any) -> Mapping[str, Any]:
        """Return what a message is about, by name; ``None`` is left out."""

    def key(self, record: Record) -> str:
        """Return the first key there is, or the record's own place."""
        if self.keyed_by_record and record.key is not None:
            return record.key.decode("utf-8", "replace")
        found = self._maps.peek(record.value, self.key_fields, record.headers)
        return found or str(record.at)

    def decode(self, record: Record) -> MappedMessage | Outcome:
        """Return the message in a record, or the outcome of one that no map takes.

        Raises
        ------
        icat_stream.messages.Undecodable
            With the first problems, by the fields as the document names them.
        """
        mapped = self._maps.read(record.value, record.headers)
        if mapped.message is None:
            return Outcome(
                kind=OutcomeKind.IGNORED,
                reason=f"event {mapped.event} is of no interest here",
                message_type=mapped.map,
                message_format=mapped.format,
            )
        objects = {
            name: _short(value)
            for name, value in self.about(mapped.message).items()
            if value is not None
        }
        return MappedMessage(mapped=mapped, objects=objects, origin=record.origin)

    def fingerprint(self, record: Record) -> str | None:
        """Return a hash of the record and of how it is understood.

        A facility's own subclass changes with versions of its own.
        """
        if not type(self).__module__.startswith("icat_stream."):
            return None
        found = hashlib.sha256(self._understanding)
        found.update(self._maps.digest(record.value, record.headers))
        return found.hexdigest()

    def redact(self, record: Record) -> bytes | None:
        """Return the value without what the field maps name a secret."""
        return self._maps.redact(record.value)


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return shortened(value, _LONGEST)
    if isinstance(value, Sequence):
        return [_short(each) for each in value[:_MOST]]
    return value
