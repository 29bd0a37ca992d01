"""Events: what others read when something is in the catalogue."""

import json
from datetime import UTC, datetime

from icat_stream.catalogue import AppliedDataset
from icat_stream.records import Event, Record

EVENT_VERSION = 1
"""Of the event's JSON; raised when a reader would have to change."""


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
    body = {
        "version": EVENT_VERSION,
        "kind": "dataset",
        "outcome": dataset.kind.value,
        "facility": facility,
        "investigation": {
            "name": dataset.investigation.name,
            "visit_id": dataset.investigation.visit_id,
        },
        "dataset": {"name": dataset.name, "id": dataset.id},
        "origin": {
            "topic": record.origin.topic,
            "partition": record.origin.partition,
            "offset": record.origin.offset,
        },
        "time": (now or datetime.now(UTC)).isoformat(timespec="milliseconds"),
    }
    return Event(
        key=str(dataset.investigation),
        value=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
    )
