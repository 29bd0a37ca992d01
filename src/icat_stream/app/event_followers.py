"""The consumers of our own events: which there are, and asking them for something."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from icat_stream.config import ConfigError, Problem, Settings
from icat_stream.handlers import visit_meant
from icat_stream.journal import ONE_SHOT
from icat_stream.messages import operation_event
from icat_stream.records import (
    Coordinates,
    DependencyMissing,
    Event,
    InvestigationKey,
    Lookups,
    Rejection,
)

from .handler_registry import UnknownHandler, load_class
from .pipeline import Pipeline, kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFollower:
    """A consumer of our own events, as the configuration has it.

    Parameters
    ----------
    name
        The consumer's.
    made_of
        Its handler or integration.
    enabled
        Whether it is to run.
    topics
        That it reads.
    follows, operations
        Kinds of events, and what it can be asked to do.
    needs_stated
        Whether it reads what user offices state.
    """

    name: str
    made_of: str
    enabled: bool
    topics: Sequence[str]
    follows: Sequence[str]
    operations: Sequence[str]
    needs_stated: bool


def followers_of(settings: Settings) -> list[EventFollower]:
    """Return the consumers of our own events, by name.

    Raises
    ------
    ConfigError
        The class of a consumer cannot be had.
    """
    found = []
    for name, consumer in sorted(settings.consumers.items()):
        try:
            made_of = load_class(consumer)
        except UnknownHandler as error:
            field = f"consumers.{name}.{kind_of(consumer)}"
            problem = Problem(source="configuration", field=field, expected=str(error))
            raise ConfigError([problem]) from error
        follows = getattr(made_of, "follows", None)
        if follows is not None:
            found.append(
                EventFollower(
                    name=name,
                    made_of=consumer.integration or consumer.handler or "",
                    enabled=consumer.enabled,
                    topics=consumer.topics,
                    follows=sorted(follows),
                    operations=sorted(getattr(made_of, "operations", ())),
                    needs_stated=getattr(made_of, "needs_stated", False),
                )
            )
    return found


def offered_operations(settings: Settings) -> set[str]:
    """Return the operations that an enabled consumer does."""
    followers = (each for each in followers_of(settings) if each.enabled)
    return {operation for each in followers for operation in each.operations}


def requested(settings: Settings, operation: str, investigation: str) -> Event:
    """Return the event that asks for an operation on an investigation.

    Parameters
    ----------
    settings
        The configuration.
    operation
        What is asked for.
    investigation
        ``NAME``, or ``NAME/VISIT``.

    Raises
    ------
    ConfigError
        No enabled consumer does that.
    Rejection
        There is no such investigation, or several visits of it.
    """
    offered = offered_operations(settings)
    if operation not in offered:
        raise ConfigError(
            [
                Problem(
                    source="OPERATION",
                    field=operation,
                    expected="is done by no enabled consumer; there are: "
                    + (", ".join(sorted(offered)) or "none"),
                )
            ]
        )
    with Pipeline(settings, dry_run=True) as pipeline:
        try:
            key = _found(pipeline.catalogue.session(), investigation)
        finally:
            pipeline.catalogue.leave()
    return operation_event(
        operation,
        key,
        facility=settings.facility,
        origin=Coordinates(ONE_SHOT, 0, time.time_ns()),
    )


def _found(lookups: Lookups, investigation: str) -> InvestigationKey:
    # Names may have a slash themselves.
    name, slash, visit_id = investigation.rpartition("/")
    try:
        if slash and not lookups.investigations(investigation):
            return visit_meant(lookups, name, visit_id)
        return visit_meant(lookups, investigation, None)
    except DependencyMissing as failure:
        raise Rejection(failure.reason) from failure
