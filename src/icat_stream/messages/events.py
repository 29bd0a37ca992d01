"""Our own events: written when something is in the catalogue, read by who follows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from icat_stream.records import (
    Applied,
    AppliedDataset,
    AppliedSnapshot,
    Coordinates,
    Event,
    InvestigationKey,
    OutcomeKind,
    Record,
    shortened,
)

from .documents import DocumentLimits, read_document
from .flatbuffer_reader import Undecodable

EVENT_VERSION = 1
"""Of the event's JSON; raised when a reader would have to change."""

_LONGEST = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMessage:
    """An event as one who follows reads it: something is in the catalogue.

    Parameters
    ----------
    kind
        ``dataset``, ``investigation`` or ``user``; ``operation``: something is asked
        for of an investigation.
    outcome
        ``ingested`` or ``unchanged``.
    facility
        Whose it is.
    investigation
        For what has one.
    dataset, dataset_id
        Its name, and its id in ICAT, for a dataset.
    investigation_id
        The investigation's in ICAT; ``None`` in events of earlier versions of ours.
    user, user_id
        Its name, and its id in ICAT, for a user.
    operation
        What is asked for, such as ``recount``; empty for other kinds.
    cause
        The integration that brought it about; empty for an announcement.
    gathered
        Whether its investigation was read since it came; who follows says so.
    """

    kind: str
    outcome: str
    facility: str
    investigation: InvestigationKey | None = None
    dataset: str | None = None
    dataset_id: int | None = None
    investigation_id: int | None = None
    user: str | None = None
    user_id: int | None = None
    operation: str = ""
    cause: str = ""
    gathered: bool = False

    @property
    def message_type(self) -> str:
        """What the event is about, for the journal."""
        return self.kind[:_LONGEST]

    @property
    def message_format(self) -> str:
        """What it was read from, for the journal."""
        return "json"

    @property
    def objects(self) -> dict[str, Any]:
        """What it is about, by name, for the journal."""
        found = {
            "investigation": self.investigation and str(self.investigation),
            "dataset": self.dataset,
            "dataset_id": self.dataset_id,
            "user": self.user,
            "operation": self.operation[:_LONGEST] or None,
        }
        return {name: value for name, value in found.items() if value is not None}


def read_event(
    value: bytes | None, limits: DocumentLimits | None = None
) -> EventMessage:
    """Read an event.

    Parameters
    ----------
    value
        Of the record.
    limits
        Beyond them nothing is read.

    Raises
    ------
    Undecodable
        It is no event, or one of another version.
    """
    document = read_document(value, limits)
    if document.format != "json" or not isinstance(document.tree, dict):
        raise Undecodable("the value is no JSON object, expected an event of ours")
    body = document.tree
    version = body.get("version")
    if version != EVENT_VERSION:
        raise _wrong("version", version, f"an event of version {EVENT_VERSION}")
    kind = _text(body, "kind")
    investigation = investigation_id = None
    if body.get("investigation") is not None:
        named = _object(body, "investigation")
        name, visit_id = (
            _text(named, part, "investigation.") for part in ("name", "visit_id")
        )
        investigation = InvestigationKey(name=name, visit_id=visit_id)
        # The first events of ours had none.
        if "id" in named:
            investigation_id = _number(named, "investigation.")
    dataset = dataset_id = None
    if kind == "dataset":
        named = _object(body, "dataset")
        dataset, dataset_id = (
            _text(named, "name", "dataset."),
            _number(named, "dataset."),
        )
    user = user_id = None
    if kind == "user":
        named = _object(body, "user")
        user, user_id = _text(named, "name", "user."), _number(named, "user.")
    operation = ""
    if kind == "operation":
        operation = _text(body, "operation")
        if investigation is None:
            raise _wrong("investigation", None, "an object")
    return EventMessage(
        kind=kind,
        outcome=_text(body, "outcome"),
        facility=_text(body, "facility"),
        investigation=investigation,
        dataset=dataset,
        dataset_id=dataset_id,
        investigation_id=investigation_id,
        user=user,
        user_id=user_id,
        operation=operation,
        cause=_text(body, "cause") if "cause" in body else "",
    )


def dataset_event(
    dataset: AppliedDataset,
    *,
    facility: str,
    record: Record,
    cause: str = "",
    now: datetime | None = None,
) -> Event:
    """Return the event that a dataset is in the catalogue.

    Parameters
    ----------
    dataset
        As it is there now.  That it was ``unchanged`` does not prove that an event
        went out before.
    facility
        The facility's name.
    record
        The announcement; its origin goes into the event.
    cause
        The integration that brought it about; empty for an announcement.
    now
        For tests.
    """
    return _event(
        "dataset",
        str(dataset.investigation),
        dataset.kind,
        investigation=dataset.investigation,
        investigation_id=dataset.investigation_id,
        cause=cause,
        named={"dataset": {"name": dataset.name, "id": dataset.id}},
        facility=facility,
        origin=record.origin,
        now=now,
    )


def snapshot_event(
    snapshot: AppliedSnapshot,
    *,
    facility: str,
    record: Record,
    cause: str = "",
    now: datetime | None = None,
) -> Event:
    """Return the event that a user or an investigation is in the catalogue.

    Parameters
    ----------
    snapshot
        As it is there now.
    facility, record, cause, now
        As for :func:`dataset_event`.
    """
    if snapshot.user is not None:
        kind, key = "user", snapshot.user
        named = {"user": {"name": snapshot.user, "id": snapshot.id}}
    else:
        kind, key, named = "investigation", str(snapshot.investigation), {}
    return _event(
        kind,
        key,
        snapshot.kind,
        investigation=snapshot.investigation,
        investigation_id=None if snapshot.investigation is None else snapshot.id,
        cause=cause,
        named=named,
        facility=facility,
        origin=record.origin,
        now=now,
    )


def applied_events(
    applied: Applied, *, facility: str, record: Record, cause: str = ""
) -> tuple[Event, ...]:
    """Return the events of all that was applied.

    After a crash the event of what is unchanged may be the first; but who follows
    events and tells others of it has to come to rest: with a cause, only what changed
    is told of.

    Parameters
    ----------
    applied
        What became of a plan.
    facility, record, cause
        As for :func:`dataset_event`.
    """

    def tells(each: AppliedSnapshot | AppliedDataset) -> bool:
        return not cause or each.kind is OutcomeKind.INGESTED

    return (
        *(
            snapshot_event(each, facility=facility, record=record, cause=cause)
            for each in applied.snapshots
            if tells(each)
        ),
        *(
            dataset_event(each, facility=facility, record=record, cause=cause)
            for each in applied.datasets
            if tells(each)
        ),
    )


def operation_event(
    operation: str,
    investigation: InvestigationKey,
    *,
    facility: str,
    origin: Coordinates,
    now: datetime | None = None,
) -> Event:
    """Return the event that asks for an operation on an investigation.

    Parameters
    ----------
    operation
        What.
    investigation
        Of which.
    facility
        The facility's name.
    origin
        The record that asks for it.
    now
        For tests.
    """
    return _event(
        "operation",
        str(investigation),
        OutcomeKind.INGESTED,
        investigation=investigation,
        investigation_id=None,
        cause="",
        named={"operation": operation},
        facility=facility,
        origin=origin,
        now=now,
    )


def _event(
    kind: str,
    key: str,
    outcome: OutcomeKind,
    *,
    investigation: InvestigationKey | None,
    investigation_id: int | None,
    cause: str,
    named: Mapping[str, Any],
    facility: str,
    origin: Coordinates,
    now: datetime | None,
) -> Event:
    body = {
        "version": EVENT_VERSION,
        "kind": kind,
        "outcome": outcome.value,
        "facility": facility,
        "investigation": None
        if investigation is None
        else {
            "name": investigation.name,
            "visit_id": investigation.visit_id,
            **({"id": investigation_id} if investigation_id is not None else {}),
        },
        **named,
        **({"cause": cause} if cause else {}),
        "origin": {
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
        },
        "time": (now or datetime.now(UTC)).isoformat(timespec="milliseconds"),
    }
    return Event(
        key=key,
        value=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
    )


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    found = body.get(name)
    if not isinstance(found, dict):
        raise _wrong(name, found, "an object")
    return found


def _text(body: dict[str, Any], name: str, of: str = "") -> str:
    found = body.get(name)
    if not isinstance(found, str):
        raise _wrong(of + name, found, "a text")
    return found


def _number(body: dict[str, Any], of: str) -> int:
    found = body.get("id")
    if type(found) is not int or found <= 0:
        raise _wrong(f"{of}id", found, "an id of ICAT's")
    return found


def _wrong(field: str, found: object, expected: str) -> Undecodable:
    shown = shortened(repr(found), _LONGEST)
    return Undecodable(f"{field}: expected {expected} (found: {shown})")
