"""Records of the outcomes topic: a contract with those who read it, both ways.

The value is JSON that names all but the payload; that stands in a header, as it is.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from icat_stream.records import JournalRow, RowKey

from .headers import Headers
from .headers import message as shortened

_FORMAT = 1
_PAYLOAD, _KEY = "payload", "record-key"
_ORIGIN = ("topic", "partition", "offset", "time")
# Named as the row has them.
_SAME = (
    *("outcome", "error_class", "objects", "key", "message_type", "message_format"),
    *("size", "sha256", "attempts", "steps", "trace_id"),
)
OMITTED: tuple[tuple[str, ...], ...] = (
    (),
    ("payload",),
    ("payload", "objects", "key", "reason"),
)
"""What is left out of an outcome that the broker finds too large, step by step."""


class OutcomeMessage(NamedTuple):
    """A record for the outcomes topic."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes | None]]


def outcome_message(row: JournalRow, step: int = 0) -> OutcomeMessage:
    """Return a row as a record.

    Parameters
    ----------
    row
        What became of a record.
    step
        Of :data:`OMITTED`.
    """
    omitted = OMITTED[step]
    if omitted:
        row = replace(row, payload=None, record_key=None, headers=())
    if "objects" in omitted:
        text = shortened(row.text).decode(errors="replace")
        row = replace(row, objects={}, key=None, text=text)
    at = row.at
    body: dict[str, Any] = {
        "version": _FORMAT,
        **at._asdict(),
        "origin": {name: getattr(row, f"origin_{name}") for name in _ORIGIN},
        **{name: getattr(row, name) for name in _SAME},
        "reason": row.text,
        "program": row.version,
        "headers": [
            [name, None if value is None else value.decode("latin-1")]
            for name, value in row.headers
        ],
        "omitted": omitted,
    }
    key = f"{at.group} {at.topic}[{at.partition}]@{at.offset}@{at.time}"
    headers: list[tuple[str, bytes | None]] = []
    if row.payload is not None:
        headers.append((_PAYLOAD, row.payload))
    if row.record_key is not None:
        headers.append((_KEY, row.record_key))
    return OutcomeMessage(key.encode(errors="replace"), _json(body), headers)


def outcome_row(value: bytes | None, headers: Headers, written_at: int) -> JournalRow:
    """Return the row that a record of the topic tells.

    Parameters
    ----------
    value, headers
        Of the record.
    written_at
        Its time, milliseconds.

    Raises
    ------
    ValueError
        It is none of ours.
    """
    try:
        body = json.loads(value or b"")
        if body["version"] != _FORMAT:
            raise ValueError(f"its format is {body['version']!r}, not {_FORMAT}")
        given = dict(headers)
        return JournalRow(
            at=RowKey(*(_typed(body, name) for name in RowKey._fields)),
            **{f"origin_{name}": _typed(body["origin"], name) for name in _ORIGIN},
            **{name: body[name] for name in _SAME},
            text=body["reason"],
            version=body["program"],
            payload=given.get(_PAYLOAD),
            record_key=given.get(_KEY),
            headers=tuple(
                (name, None if text is None else text.encode("latin-1"))
                for name, text in body["headers"]
            ),
            written_at=written_at,
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _typed(body: Mapping[str, Any], name: str) -> Any:
    value = body[name]
    if not isinstance(value, str if name in ("group", "topic") else int):
        raise ValueError(f"{name} is {value!r}")
    return value


def _json(body: dict[str, Any]) -> bytes:
    try:
        text = _text(body)
    except (TypeError, ValueError, RecursionError) as error:
        # Whatever a handler put together is no reason to stop.
        text = _text(body | {"objects": {"not journalled": str(error)[:200]}})
    return text.encode()


def _text(body: dict[str, Any]) -> str:
    return json.dumps(body, default=str, allow_nan=False, separators=(",", ":"))
