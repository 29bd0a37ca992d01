"""What the stream core asks of a consumer: two methods, and what else it may have."""

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from icat_stream.records import Outcome, Record


class Consumer(Protocol):
    """Handles the records of a loop, in several threads at a time.

    Records with the same key are handled one after the other, in the order of their
    partition.
    """

    def key(self, record: Record) -> str:
        """Return the ordering key, from the record alone: no I/O, no exceptions.

        Called in the poll thread.  If it raises nevertheless, the record's
        coordinates are its key, and :meth:`handle` may say what is wrong with it.
        """
        ...

    def handle(self, record: Record) -> Outcome:
        """Do what the record asks for; called in a lane's thread.

        A record may come again after a crash: what is done already is found done.

        Returns
        -------
        :
            ``ingested``, ``unchanged`` or ``ignored``.

        Raises
        ------
        Failure
            What failed in a foreseen way; the core alone decides what follows.
            Anything else is a bug and treated as one.
        """
        ...


@runtime_checkable
class Parking(Protocol):
    """A consumer that can say whether what records wait for is there by now."""

    def present(self, missing: Collection[str]) -> Collection[str]:
        """Return those that exist by now, asked in one query.

        Called every two seconds, outside the lanes.

        Parameters
        ----------
        missing
            What :class:`~icat_stream.records.DependencyMissing` named.
        """
        ...


@runtime_checkable
class Probing(Protocol):
    """A consumer that can tell when a system is up again."""

    def probe(self, system: str) -> None:
        """Return if the system is up; called outside the lanes.

        Raises
        ------
        SystemUnavailable
            It is still down.
        """
        ...


@runtime_checkable
class LaneScoped(Protocol):
    """A consumer with something open for each thread that calls it."""

    def leave_lane(self) -> None:
        """Close it; called in that thread, when it ends."""
        ...


@runtime_checkable
class Recalling(Protocol):
    """A consumer that can tell of many records at once that they change nothing."""

    @property
    def recalls(self) -> bool:
        """Whether it ever can."""
        ...

    def recall(self, records: Sequence[Record]) -> Sequence[Outcome | None]:
        """Return the outcomes of records that need not be handled, else ``None``.

        Called outside the lanes, with records of any keys; those of one key are in
        the order of their partition, and earlier ones may be in work.
        """
        ...


@runtime_checkable
class OutcomeTelling(Protocol):
    """A consumer that says whether its outcomes are told.

    One that reads the outcomes themselves must not: each would bring about another.
    """

    @property
    def tells_outcomes(self) -> bool:
        """Whether what it finishes has an outcome, too."""
        ...


@runtime_checkable
class Secretive(Protocol):
    """A consumer whose records may hold secrets."""

    def redact(self, record: Record) -> bytes | None:
        """Return the value without its secrets, for journal, retries, dead letters.

        ``None`` if that cannot be told: then only coordinates, size and sha256 are
        kept.
        """
        ...
