"""What a handler is; a facility's own is written against this page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from icat_stream.config import Settings
from icat_stream.records import FileReader, Lookups, Outcome, Plan, Record


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


class Handler(Protocol):
    """Makes plans of the records of one message family.

    A handler whose records may hold secrets has a further method,
    ``redact(record) -> bytes | None``: the value without them, for retries and dead
    letters, or ``None`` where that cannot be told; then only coordinates, size and
    sha256 are kept.

    One that takes options has a class method ``check(settings, options)``, which raises
    :class:`~icat_stream.config.ConfigError` with what is wrong with them; fields of its
    problems begin with ``options``.

    One whose plans have users or investigations says so with an attribute
    ``makes_snapshots = True``: its consumer never goes on without the journal.

    One that only adds to what our events tell of, and would feed itself with its own,
    says so with an attribute ``sends_events = False``.

    A handler is made once, with a :class:`HandlerContext`, and used by several
    threads at once.
    """

    def key(self, record: Record) -> str:
        """Return the ordering key: records of one key are handled in order.

        From the record alone, without I/O, and without raising: what cannot be
        decoded gets any key.
        """
        ...

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
        ...

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
        ...


@runtime_checkable
class ByHand(Protocol):
    """A handler that can be given a file, or something kept, by a person."""

    def compose(self, file: str | None, message: bytes | None) -> bytes:
        """Return the record's value that would have announced it.

        Parameters
        ----------
        file
            Absolute path of the file.
        message
            A record's raw value, or what was kept beside a data file.

        Raises
        ------
        Rejection
            Nothing can be made of it.
        """
        ...
