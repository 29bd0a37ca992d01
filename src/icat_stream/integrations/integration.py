"""An integration that writes to another system; a facility's own begins here."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar, cast

from icat_stream.config import Section, Settings
from icat_stream.handlers import read_options
from icat_stream.journal import StatedSnapshots
from icat_stream.messages import EventMessage
from icat_stream.records import (
    Failure,
    Lookups,
    Outcome,
    OutcomeKind,
    Plan,
    SystemUnavailable,
)

from .event_filter import nothing

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
class IntegrationContext:
    """What an integration is made with.

    Parameters
    ----------
    name
        The consumer's.
    settings
        The whole configuration.
    stated
        What user offices state that ICAT has no field for, and whom they state to be
        in a team.
    options
        ``options`` of the consumer.
    """

    name: str
    settings: Settings
    stated: StatedSnapshots
    options: Mapping[str, Any] = field(default_factory=dict)


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


class Integration(ABC, Generic[_Options]):
    """Follows our own events, and brings another system to what the catalogue holds.

    Used by several threads at once.  Events come again and out of order, so
    :meth:`wanted` takes from an event only which object it is about.

    A failure is one of :mod:`icat_stream.records`: ``TransientFailure`` for another
    try, ``DependencyMissing`` for what has to be waited for, ``Rejection`` for what can
    never succeed, :meth:`down` for what stops all of them, such as refused credentials.

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

    needs_stated: ClassVar[bool] = False
    """Whether it can do little with whom nothing is stated of, see
    :attr:`IntegrationContext.stated`: a backfill lists them."""

    batch: ClassVar[int] = 1
    """How many documents are read and written at once, where so many events wait."""

    cause: ClassVar[str] = ""
    """What its events say brought them about, if it sends some; these it ignores."""

    rights: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """As of a :class:`~icat_stream.handlers.Handler`."""

    def __init__(self, context: IntegrationContext) -> None:
        self.name = context.name
        self.facility = context.settings.facility
        self.stated = context.stated
        self.options = cast(_Options, read_options(self.Options, context.options))

    @classmethod
    def check(cls, settings: Settings, options: Mapping[str, Any]) -> None:
        """Raise ``ConfigError`` with what is wrong with the options."""
        read_options(cls.Options, options)

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

    @abstractmethod
    def ping(self) -> None:
        """Return if the system is there and takes what :meth:`apply` would write.

        Asked at the start, for health, and until a pause is over.

        Raises
        ------
        SystemUnavailable
            What :meth:`down` returns.
        """

    def warnings(self) -> Sequence[str]:
        """Return what is no failure, but should be known; asked by ``--connect``."""
        return ()

    def present(self, missing: Collection[str], lookups: Lookups) -> Collection[str]:
        """Return which of the missing things are there by now.

        Those that :class:`~icat_stream.catalogue.CatalogueSession` finds in ICAT are
        not asked for.
        """
        return ()

    def close(self) -> None:
        """Give connections back."""

    def down(self, reason: str) -> SystemUnavailable:
        """Return the failure that the system, or all of the way to it, is not usable.

        The consumer pauses until :meth:`ping` returns, however often that is; no event
        is given up for it.

        Parameters
        ----------
        reason
            What was found, and what is to be done; no secrets.
        """
        return SystemUnavailable(reason, system=self.name, probe_tells=False)

    def nothing(self, event: EventMessage, kind: OutcomeKind, reason: str) -> Outcome:
        """Return an outcome for an event that changes nothing."""
        return nothing(event, kind, reason)
