"""What became of a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .failures import Failure
from .plan import Diff, Plan

BUG = "bug"
"""The error class of an exception that nobody foresaw."""


class OutcomeKind(StrEnum):
    """The five things that can become of a record."""

    INGESTED = "ingested"
    UNCHANGED = "unchanged"
    IGNORED = "ignored"
    DEFERRED = "deferred"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A record for the events topic: a contract with those who read it."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one record, and why.

    Parameters
    ----------
    kind
        Consumers return ``ingested``, ``unchanged`` or ``ignored``; ``deferred`` and
        ``rejected`` are made by the stream core from a raised failure.
    reason
        Why; empty only for ``ingested`` and ``unchanged``.
    events
        What the events topic is told.
    error_class
        ``error_class`` of the failure behind it, if any; ``bug`` for an unforeseen
        exception.
    missing
        What a parked record waits for.
    message_type, message_format
        What the record was decoded as (``wrdn``) and from what (``flatbuffers``).
    objects
        Identifiers that people search by: ``investigation``, ``dataset``, ``file`` …
    written
        What was written where, one line each, empty when nothing was.
    steps
        Seconds spent in each step of the way.
    plan, diff
        For dry runs and the one-shot.
    documents
        What an integration would write elsewhere, for dry runs: key and content.
    """

    kind: OutcomeKind
    reason: str = ""
    events: tuple[Event, ...] = ()
    error_class: str | None = None
    missing: tuple[str, ...] = ()
    message_type: str | None = None
    message_format: str | None = None
    objects: Mapping[str, Any] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    steps: Mapping[str, float] = field(default_factory=dict)
    plan: Plan | None = None
    diff: Diff | None = None
    documents: tuple[Mapping[str, Any], ...] = ()


def failed_outcome(
    kind: OutcomeKind, error: Exception, reason: str | None = None
) -> Outcome:
    """Return what became of a record whose handling failed.

    Parameters
    ----------
    kind
        ``deferred`` or ``rejected``.
    error
        A :class:`~icat_stream.records.Failure`, or what nobody foresaw.
    reason
        Instead of the failure's own.
    """
    return Outcome(
        kind=kind,
        reason=str(error) if reason is None else reason,
        error_class=error.error_class if isinstance(error, Failure) else BUG,
        missing=tuple(getattr(error, "missing", ())),
        message_type=getattr(error, "message_type", None),
        message_format=getattr(error, "message_format", None),
        objects=getattr(error, "objects", {}),
    )
