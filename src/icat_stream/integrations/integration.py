"""An integration that writes to another system; a facility's own begins here."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from icat_stream.config import Section
from icat_stream.messages import EventMessage
from icat_stream.records import Failure, Lookups, Outcome, OutcomeKind, Plan

from .event_filter import nothing
from .target_system import IntegrationContext, TargetSystem

DETAILS = (
    "Facility",
    "Investigation",
    "InvestigationType",
    "InvestigationInstrument",
    "Instrument",
    "InvestigationUser",
    "User",
    "Keyword",
    "Sample",
)
"""What may be read in ICAT by who asks for the details of investigations."""

_Options = TypeVar("_Options", bound=Section)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What another system shall hold of an object of the catalogue.

    Parameters
    ----------
    key
        What :meth:`Integration.key` says of its event.
    content
        All of it, as JSON can say it; ``None``: it is not to be there.
    plan
        What the catalogue shall hold once the system has the document; announced with
        :attr:`Integration.cause` where that changes anything.
    notes
        What a person should know of how the content came about.
    version
        Grows with each reading of the catalogue, for systems that compare versions
        themselves; given to it before :meth:`Integration.apply`.
    is_newest
        Asks whether nobody has read the catalogue later, for systems that can be
        locked while a document is written; given to it as the version is.
    """

    key: str
    content: Mapping[str, Any] | None
    plan: Plan | None = None
    notes: tuple[str, ...] = ()
    version: int = 0
    is_newest: Callable[[], bool] = lambda: True


class Integration(TargetSystem[_Options]):
    """Follows our own events, and brings another system to what the catalogue holds.

    Events come again and out of order, so :meth:`wanted` takes from an event only which
    object it is about.
    """

    follows: ClassVar[frozenset[str]] = frozenset({"dataset"})
    """Kinds of events that it wants; others are ignored."""

    operations: ClassVar[frozenset[str]] = frozenset()
    """Operations that it carries out, by name; an event of kind ``operation`` asks
    for one of them on an investigation."""

    needs_stated: ClassVar[bool] = False
    """Whether it can do little with whom nothing is stated of, see
    :attr:`IntegrationContext.stated`: a backfill lists them."""

    cause: ClassVar[str] = ""
    """What its events say brought them about, if it sends some; these it ignores."""

    def __init__(self, context: IntegrationContext) -> None:
        super().__init__(context)
        self.stated = context.stated

    @abstractmethod
    def key(self, event: EventMessage) -> str:
        """Return the key of the one document that an event is about."""

    @abstractmethod
    def wanted(
        self, events: Sequence[EventMessage], lookups: Lookups
    ) -> Sequence[Document | Outcome | Failure]:
        """Return for each event what the system shall hold, or why nothing follows.

        It reads only: a dry run prints what it returns.

        Parameters
        ----------
        events
            At most :attr:`batch`, each with a key of its own.
        lookups
            Read-only questions to the catalogue.
        """

    @abstractmethod
    def apply(self, documents: Sequence[Document]) -> Sequence[Outcome | Failure]:
        """Bring the system to documents, and return what became of each.

        By their keys: a second time changes nothing.

        Parameters
        ----------
        documents
            At most :attr:`batch`.
        """

    def present(self, missing: Collection[str], lookups: Lookups) -> Collection[str]:
        """Return which of the missing things are there by now.

        Those that :class:`~icat_stream.catalogue.CatalogueSession` finds in ICAT are
        not asked for.
        """
        return ()

    def nothing(self, event: EventMessage, kind: OutcomeKind, reason: str) -> Outcome:
        """Return an outcome for an event that changes nothing."""
        return nothing(event, kind, reason)
