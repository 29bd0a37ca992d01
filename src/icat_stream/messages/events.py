"""Our own events, as those who follow them read them."""

from dataclasses import dataclass
from typing import Any

from .documents import DocumentLimits, read_document
from .flatbuffer_reader import Undecodable

EVENT_VERSION = 1
"""Of the event's JSON; raised when a reader would have to change."""

_LONGEST = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMessage:
    """Something is in the catalogue.

    Parameters
    ----------
    kind
        ``dataset``, ``investigation`` or ``user``.
    outcome
        ``ingested`` or ``unchanged``.
    facility
        Whose it is.
    investigation
        ``name/visit_id``, for what has one.
    dataset, dataset_id
        Its name, and its id in ICAT, for a dataset.
    """

    kind: str
    outcome: str
    facility: str
    investigation: str | None = None
    dataset: str | None = None
    dataset_id: int | None = None

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
            "investigation": self.investigation,
            "dataset": self.dataset,
            "dataset_id": self.dataset_id,
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
    investigation = body.get("investigation")
    if investigation is not None:
        investigation = "/".join(
            _text(_object(body, "investigation"), part, "investigation.")
            for part in ("name", "visit_id")
        )
    dataset = dataset_id = None
    if kind == "dataset":
        named = _object(body, "dataset")
        dataset, dataset_id = _text(named, "name", "dataset."), named.get("id")
        if type(dataset_id) is not int or dataset_id <= 0:
            raise _wrong("dataset.id", dataset_id, "an id of ICAT's")
    return EventMessage(
        kind=kind,
        outcome=_text(body, "outcome"),
        facility=_text(body, "facility"),
        investigation=investigation,
        dataset=dataset,
        dataset_id=dataset_id,
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


def _wrong(field: str, found: object, expected: str) -> Undecodable:
    shown = repr(found)
    if len(shown) > _LONGEST:
        shown = f"{shown[: _LONGEST - 1]}…"
    return Undecodable(f"{field}: expected {expected} (found: {shown})")
