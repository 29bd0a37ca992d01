"""Finding the handler or the integration that a configuration names."""

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

from icat_stream.config import ConfigError, ConsumerSettings, Problem, Settings
from icat_stream.handlers import Handler, HandlerContext, PlainHandlers

if TYPE_CHECKING:
    from icat_stream.integrations import Integration, OutcomeFollower

# Imported when a configuration names it: no start pays for what it does not use.
_BUILT_IN = {
    "checksums": "icat_stream.integrations:Checksums",
    "datasets": "icat_stream.handlers:Datasets",
    "file_written": "icat_stream.handlers:FileWritten",
    "gallery": "icat_stream.integrations:Gallery",
    "investigations": "icat_stream.handlers:Investigations",
    "lineage": "icat_stream.integrations:Lineage",
    "operations": "icat_stream.handlers:OperationsHandler",
    "statistics": "icat_stream.integrations:Statistics",
    "users": "icat_stream.handlers:Users",
}
_BUILT_IN_INTEGRATIONS = {
    "datacite": "icat_stream.integrations:DataCite",
    "message_log": "icat_stream.integrations:MessageLog",
    "panosc": "icat_stream.integrations:Panosc",
    "search_index": "icat_stream.integrations:SearchIndex",
    "visa": "icat_stream.integrations:Visa",
}
ENTRY_POINTS = "icat_stream.handlers"


INTEGRATION_ENTRY_POINTS = "icat_stream.integrations"


class UnknownHandler(Exception):
    """A configuration names a handler or an integration that cannot be had."""


class Checked(Protocol):
    """A class of handlers or integrations, before any is made."""

    @property
    def rights(self) -> Mapping[str, str]:
        """What they need in ICAT."""
        ...

    def check(self, settings: Settings, options: Mapping[str, Any]) -> None:
        """Raise ``ConfigError`` with what is wrong with the options."""
        ...


class HandlerMaker(Checked, Protocol):
    """A class of handlers, or what stands for one."""

    def __call__(self, context: HandlerContext) -> Handler:
        """Make one."""
        ...


def load_class(consumer: ConsumerSettings) -> Checked:
    """Return the class that a consumer names, whichever kind it is.

    Raises
    ------
    UnknownHandler
        There is none of that name, or it cannot be imported.
    """
    if consumer.integration is not None:
        return load_integration(consumer.integration)
    return load_handler(consumer.handler or "")


def require_topics(
    settings: Settings, consumer: ConsumerSettings, made_of: object
) -> None:
    """Raise ``ConfigError`` unless outcomes are read by those only that follow them.

    Parameters
    ----------
    settings
        The configuration.
    consumer
        One of its consumers.
    made_of
        Its class.
    """
    told = settings.outcomes.topic
    expected = ""
    if "outcome" in getattr(made_of, "follows", ()):
        if consumer.topics != [told]:
            expected = f"expected [{told}], the topic of outcomes"
    elif told in consumer.topics:
        expected = f"reading {told} would make outcomes without end"
    if expected:
        found = ", ".join(consumer.topics)
        problem = Problem(
            source="configuration", field="topics", expected=expected, found=found
        )
        raise ConfigError([problem])


def load_handler(name: str) -> HandlerMaker:
    """Return what makes the handlers of a name.

    A class that is no :class:`~icat_stream.handlers.Handler`, or another callable, is
    wrapped: a facility's own need only have the three methods.

    Parameters
    ----------
    name
        Of a built-in handler, of an entry point in the group
        ``icat_stream.handlers``, or ``package.module:Class``.

    Raises
    ------
    UnknownHandler
        There is none of that name, or it cannot be imported.
    """
    found = _load("handler", name, _BUILT_IN, ENTRY_POINTS)
    if isinstance(found, type) and issubclass(found, Handler):
        return found
    return PlainHandlers(found)


def load_integration(
    name: str,
) -> "type[Integration[Any]] | type[OutcomeFollower[Any]]":
    """Return the class of integrations of a name.

    Parameters
    ----------
    name
        Of a built-in integration, of an entry point in the group
        ``icat_stream.integrations``, or ``package.module:Class``.

    Raises
    ------
    UnknownHandler
        There is none of that name, or it cannot be imported, or is something else.
    """
    from icat_stream.integrations import Integration, OutcomeFollower

    found = _load("integration", name, _BUILT_IN_INTEGRATIONS, INTEGRATION_ENTRY_POINTS)
    if isinstance(found, type) and issubclass(found, Integration | OutcomeFollower):
        return found
    raise UnknownHandler(
        f"integration {name!r} is no subclass of icat_stream.integrations.Integration"
        f" or OutcomeFollower: {found!r:.80}"
    )


def _load(what: str, name: str, built_in: Mapping[str, str], group: str) -> Any:
    place = built_in.get(name, name)
    try:
        if ":" in place:
            module, _, attribute = place.partition(":")
            found = getattr(importlib.import_module(module), attribute)
        else:
            points = entry_points(group=group, name=name)
            if not points:
                known = sorted([*built_in, *entry_points(group=group).names])
                raise UnknownHandler(
                    f"no {what} {name!r}: known are {', '.join(known) or 'none'}, or"
                    " package.module:Class"
                )
            found = next(iter(points)).load()
    except (ImportError, AttributeError) as error:
        raise UnknownHandler(f"{what} {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise UnknownHandler(f"{what} {name!r} is no class: {found!r:.80}")
    return found
