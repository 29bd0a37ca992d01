"""Events: what others read when something is in the catalogue."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from icat_stream.catalogue import AppliedDataset, AppliedSnapshot
from icat_stream.messages import EVENT_VERSION
from icat_stream.records import Event, InvestigationKey, OutcomeKind, Record


def dataset_event(
    dataset: AppliedDataset,
    *,
    facility: str,
    record: Record,
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
    now
        For tests.
    """
    return _event(
        "dataset",
        str(dataset.investigation),
        dataset.kind,
        investigation=dataset.investigation,
        named={"dataset": {"name": dataset.name, "id": dataset.id}},
        facility=facility,
        record=record,
        now=now,
    )


def snapshot_event(
    snapshot: AppliedSnapshot,
    *,
    facility: str,
    record: Record,
    now: datetime | None = None,
) -> Event:
    """Return the event that a user or an investigation is in the catalogue.

    Parameters
    ----------
    snapshot
        As it is there now.
    facility, record, now
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
        named=named,
        facility=facility,
        record=record,
        now=now,
    )


def _event(
    kind: str,
    key: str,
    outcome: OutcomeKind,
    *,
    investigation: InvestigationKey | None,
    named: Mapping[str, Any],
    facility: str,
    record: Record,
    now: datetime | None,
) -> Event:
    body = {
        "version": EVENT_VERSION,
        "kind": kind,
        "outcome": outcome.value,
        "facility": facility,
        "investigation": None
        if investigation is None
        else {"name": investigation.name, "visit_id": investigation.visit_id},
        **named,
        "origin": {
            "topic": record.origin.topic,
            "partition": record.origin.partition,
            "offset": record.origin.offset,
        },
        "time": (now or datetime.now(UTC)).isoformat(timespec="milliseconds"),
    }
    return Event(
        key=key,
        value=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
    )
