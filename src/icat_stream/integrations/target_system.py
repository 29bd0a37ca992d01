"""What integrations have in common: another system, its options, its failures."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar, cast

from icat_stream.config import Section, Settings
from icat_stream.handlers import read_options
from icat_stream.journal import StatedSnapshots
from icat_stream.records import SystemUnavailable

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


class TargetSystem(ABC, Generic[_Options]):
    """Another system that is brought to what happens here; used by several threads.

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

    batch: ClassVar[int] = 1
    """How many documents are read and written at once, where so many records wait."""

    rights: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """As of a :class:`~icat_stream.handlers.Handler`."""

    def __init__(self, context: IntegrationContext) -> None:
        self.name = context.name
        self.facility = context.settings.facility
        self.options = cast(_Options, read_options(self.Options, context.options))

    @classmethod
    def check(cls, settings: Settings, options: Mapping[str, Any]) -> None:
        """Raise ``ConfigError`` with what is wrong with the options."""
        read_options(cls.Options, options)

    @abstractmethod
    def ping(self) -> None:
        """Return if the system is there and takes what would be written.

        Asked at the start, for health, and until a pause is over.

        Raises
        ------
        SystemUnavailable
            What :meth:`down` returns.
        """

    def warnings(self) -> Sequence[str]:
        """Return what a person should know, though it works; for ``--connect``."""
        return ()

    def close(self) -> None:
        """Give connections back."""

    def down(self, reason: str) -> SystemUnavailable:
        """Return the failure that the system, or all of the way to it, is not usable.

        The consumer pauses until :meth:`ping` returns, however often that is; no record
        is given up for it.

        Parameters
        ----------
        reason
            What was found, and what is to be done; no secrets.
        """
        return SystemUnavailable(reason, system=self.name, probe_tells=False)
