"""What an integration that writes to ICAT is; a facility's own begins here."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar, cast

from icat_stream.config import Section, Settings
from icat_stream.handlers import READING, Handler, HandlerContext, read_options
from icat_stream.messages import DocumentLimits, EventMessage, Undecodable, read_event
from icat_stream.records import (
    DatasetEntry,
    Lookups,
    NotReady,
    Outcome,
    OutcomeKind,
    Plan,
    Record,
)

from .arrivals import Arrivals
from .event_filter import EventFilter, nothing

_Options = TypeVar("_Options", bound=Section)
_PATIENCE_S = 60.0
_AT_ONCE = 500


class EventHandler(Handler, Generic[_Options]):
    """Follows our own events, and adds to what they tell of.

    Events come again and out of order, so :meth:`plan` takes from an event only which
    object it is about, and everything else from the catalogue.

    Parameters
    ----------
    context
        Settings and options.

    Raises
    ------
    icat_stream.config.ConfigError
        The options are wrong.
    """

    Options: ClassVar[type[Section]] = Section
    """Its options, with defaults."""

    follows: ClassVar[frozenset[str]] = frozenset({"dataset"})
    """Kinds of events that it wants; others are ignored."""

    operations: ClassVar[frozenset[str]] = frozenset()
    """Operations that it carries out, by name; an event of kind ``operation`` asks
    for one of them on an investigation."""

    gathers: ClassVar[bool] = False
    """Whether one look at the catalogue serves all events of a :meth:`subject` that had
    come by then: :meth:`looked` says so, and the others are ``gathered``."""

    apart = 0.0
    """Seconds between two looks for events of one :meth:`subject`; what comes meanwhile
    waits, and occupies no lane."""

    sends_events = False
    rights = READING

    def __init__(self, context: HandlerContext) -> None:
        self.facility = context.settings.facility
        self.options = cast(_Options, read_options(self.Options, context.options))
        self._filter = EventFilter(
            facility=self.facility,
            follows=self.follows,
            operations=self.operations,
            limits=DocumentLimits(size=context.settings.messages.max_bytes),
        )
        self._arrivals = Arrivals()

    @classmethod
    def check(cls, settings: Settings, options: Mapping[str, Any]) -> None:
        """Raise ``ConfigError`` with what is wrong with the options."""
        read_options(cls.Options, options)

    def lane(self, event: EventMessage) -> str:
        """Return what events have in common that are handled in order.

        The investigation, or else what the event is about.
        """
        return str(event.investigation or event.objects)

    def subject(self, event: EventMessage) -> str:
        """Return what is looked at for an event; the lane if nothing else."""
        return self.lane(event)

    @abstractmethod
    def plan(self, event: EventMessage, lookups: Lookups) -> Plan | Outcome:
        """Return what the catalogue shall hold, or an outcome of :meth:`nothing`."""

    def key(self, record: Record) -> str:
        """Return the event's lane."""
        try:
            event = read_event(record.value, self._filter.limits)
        except Undecodable:
            return str(record.at)
        if self.gathers:
            about = self.subject(event)
            self._arrivals.arrived(record.origin, about, event.dataset_id)
        return self.lane(event)

    def decode(self, record: Record) -> EventMessage | Outcome:
        """Return the event in a record, if it is one to follow.

        Raises
        ------
        NotReady
            What it is about was looked at a moment ago.
        """
        event = self._filter.read(record, self.cause)
        if isinstance(event, Outcome):
            return event
        if not self.gathers:
            return event
        covered, wait = self._arrivals.taken(record.origin, self.apart)
        # What a person asks for is done at once.
        if wait and event.kind != "operation":
            raise NotReady(
                f"{self.subject(event)} was looked at less than {self.apart:g} s ago",
                retry_in=wait,
                deadline=2 * self.apart + _PATIENCE_S,
            )
        return replace(event, gathered=True) if covered else event

    def now(self) -> int:
        """Return the moment, for :meth:`looked`."""
        return self._arrivals.now()

    def waiting(self, subject: str) -> list[int]:
        """Return datasets that events wait for which are covered by a look now."""
        return self._arrivals.waiting(subject, _AT_ONCE)

    def looked(self, subjects: Iterable[str], since: int) -> None:
        """Say that the catalogue was read since a moment, for these subjects."""
        self._arrivals.looked(subjects, since)

    def dataset(self, event: EventMessage, lookups: Lookups) -> DatasetEntry | Outcome:
        """Return the dataset that an event is about, or an outcome if it is gone."""
        number = event.dataset_id or 0
        found = lookups.datasets(ids=[number])
        if found:
            return found[0]
        reason = f"dataset {number} is not in the catalogue any more"
        return self.nothing(event, OutcomeKind.IGNORED, reason)

    def nothing(self, event: EventMessage, kind: OutcomeKind, reason: str) -> Outcome:
        """Return an outcome for an event that changes nothing."""
        return nothing(event, kind, reason)
