"""What a handler is; a facility's own is written against this page."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, cast

from icat_stream.config import Settings
from icat_stream.records import FileReader, Lookups, Outcome, Plan, Record, Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerContext:
    """What a handler is made with.

    Parameters
    ----------
    settings
        The whole configuration.
    files
        The only way to announced files.
    options
        ``options`` of the consumer that names the handler.
    """

    settings: Settings
    files: FileReader
    options: Mapping[str, Any] = field(default_factory=dict)


class Handler(ABC):
    """Makes plans of the records of one message family.

    Made once, with a :class:`HandlerContext`, and used by several threads at once.
    """

    makes_snapshots: bool = False
    """Whether its plans have users or investigations: newer ones win, which the
    journal's database knows, so its consumer never goes on without that."""

    sends_events: bool = True
    """Whether what it brings into the catalogue is announced on the events topic; one
    that follows our events, and only adds to what they tell of, would feed itself."""

    cause: str = ""
    """What its events say brought them about; empty for announcements."""

    rights: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What the account needs in ICAT for its plans, whatever they hold: letters of C,
    R, U and D by entity.  ``icat_validate_config --connect`` asks for them."""

    takes_files: bool = False
    """Whether :meth:`compose` makes a record of a file that a person names; where a
    subclass has one of its own, that is so unless it says otherwise."""

    def __init_subclass__(cls, **given: Any) -> None:
        """Have a subclass with a :meth:`compose` of its own take files."""
        super().__init_subclass__(**given)
        if "compose" in vars(cls) and "takes_files" not in vars(cls):
            cls.takes_files = True

    def __init__(self, context: HandlerContext) -> None:  # noqa: B027
        """Take what is needed of the context; one without options needs nothing."""

    @classmethod  # noqa: B027
    def check(cls, settings: Settings, options: Mapping[str, Any]) -> None:
        """See whether the options can be used; they may be anything by default.

        Raises
        ------
        icat_stream.config.ConfigError
            With every problem; their fields begin with ``options``.
        """

    @abstractmethod
    def key(self, record: Record) -> str:
        """Return the ordering key: records of one key are handled in order.

        From the record alone, without I/O, and without raising: what cannot be
        decoded gets any key.
        """

    @abstractmethod
    def decode(self, record: Record) -> Any:
        """Return the message in a record, or an ``ignored`` outcome.

        If the message has attributes ``message_type`` and ``message_format`` (texts
        such as ``wrdn`` and ``flatbuffers``), or ``objects`` (what it is about, by
        name, such as ``file``), the journal shows them, also of what failed.

        Raises
        ------
        Rejection
            It cannot be decoded; the reason says where and why.
        """

    @abstractmethod
    def plan(self, message: Any, lookups: Lookups) -> Plan | Outcome:
        """Return what the catalogue shall hold, or an ``ignored`` outcome.

        Parameters
        ----------
        message
            What :meth:`decode` returned.
        lookups
            Read-only questions to the catalogue.

        Raises
        ------
        Failure
            One of the failures of :mod:`icat_stream.records`.
        """

    def fingerprint(self, record: Record) -> str | None:
        """Return a hash of all that a plan without lookups follows from.

        What was brought into the catalogue by a record with the same hash, and is the
        newest, is not decoded again.  ``None``: every record is.
        """
        return None

    def redact(self, record: Record) -> bytes | None:
        """Return the value without its secrets, for retries, dead letters, journal.

        ``None`` where that cannot be told: then only coordinates, size and sha256 are
        kept.
        """
        return record.value

    def compose(self, file: str | None, message: bytes | None) -> bytes:
        """Return the record's value that would have announced a file.

        Parameters
        ----------
        file
            Absolute path of the file; ``None`` where there is only a message.
        message
            A record's raw value, or what was kept beside a data file.

        Raises
        ------
        Rejection
            Nothing can be made of it.
        """
        if message is None or file is not None:
            raise Rejection("the handler takes messages only, no files")
        return message


class PlainHandler(Handler):
    """Stands for a facility's own handler that is no subclass of :class:`Handler`.

    Parameters
    ----------
    plain
        Has ``key``, ``decode`` and ``plan``, and whatever else of a handler it wants.
    """

    def __init__(self, plain: Any) -> None:
        self._plain = plain
        self.makes_snapshots = getattr(plain, "makes_snapshots", False)
        self.sends_events = getattr(plain, "sends_events", True)
        self.cause = getattr(plain, "cause", "")
        composes = getattr(plain, "compose", None) is not None
        self.takes_files = getattr(plain, "takes_files", composes)

    def key(self, record: Record) -> str:
        """Return its key; what is no text, such as ``None``, is left to the core."""
        return cast(str, self._plain.key(record))

    def decode(self, record: Record) -> Any:
        """Return its message."""
        return self._plain.decode(record)

    def plan(self, message: Any, lookups: Lookups) -> Plan | Outcome:
        """Return its plan."""
        found: Plan | Outcome = self._plain.plan(message, lookups)
        return found

    def fingerprint(self, record: Record) -> str | None:
        """Return its hash of a record, if it makes any."""
        own = getattr(self._plain, "fingerprint", None) or super().fingerprint
        return cast(str | None, own(record))

    def redact(self, record: Record) -> bytes | None:
        """Return what it leaves of the value, or all of it."""
        own = getattr(self._plain, "redact", None) or super().redact
        return cast(bytes | None, own(record))

    def compose(self, file: str | None, message: bytes | None) -> bytes:
        """Return what it makes of a file."""
        own = getattr(self._plain, "compose", None) or super().compose
        return cast(bytes, own(file, message))


class PlainHandlers:
    """Makes :class:`PlainHandler` objects of one class, or other callable.

    Parameters
    ----------
    plain
        Makes the facility's own handler of a context.
    """

    def __init__(self, plain: Callable[[HandlerContext], Any]) -> None:
        self._plain = plain
        self.rights: Mapping[str, str] = getattr(plain, "rights", {})

    def __call__(self, context: HandlerContext) -> Handler:
        """Make one; what is a :class:`Handler` already stays as it is."""
        made = self._plain(context)
        return made if isinstance(made, Handler) else PlainHandler(made)

    def check(self, settings: Settings, options: Mapping[str, Any]) -> None:
        """See whether the options can be used, if it says so."""
        if check := getattr(self._plain, "check", None):
            check(settings, options)
