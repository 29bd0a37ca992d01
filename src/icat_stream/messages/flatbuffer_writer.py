"""Writes the two messages that a generator of announcements needs."""

from struct import pack, pack_into

from .filewriter import FinishedWriting, RunStart

_VTABLE = 8
_FIELD_SIZES = {"text": 4, "bool": 1, "uint32": 4, "uint64": 8}

Field = tuple[str, str | bytes | memoryview | int | None]


def encode(message: FinishedWriting | RunStart) -> bytes:
    """Encode a message as FlatBuffers.

    Parameters
    ----------
    message
        Fields that are ``None`` are left out.

    Returns
    -------
    :
        What :func:`icat_stream.messages.decode` turns back into an equal message.
    """
    if isinstance(message, FinishedWriting):
        return _table(
            message.schema,
            [
                ("text", message.service_id),
                ("text", message.job_id),
                ("bool", message.error_encountered or None),
                ("text", message.file_name),
                ("text", message.metadata),
                ("text", message.message),
            ],
        )
    return _table(
        message.schema,
        [
            ("uint64", message.start_time or None),
            ("uint64", message.stop_time or None),
            ("text", message.run_name),
            ("text", message.instrument_name),
            ("text", message.nexus_structure),
            ("text", message.job_id),
            ("text", None),
            ("text", message.service_id),
            ("text", message.filename),
            ("uint32", message.n_periods),
            ("text", None),
            ("text", message.metadata),
            ("text", message.control_topic),
        ],
    )


def _table(schema: str, fields: list[Field]) -> bytes:
    """Lay out header, vtable, table and strings in this order."""
    # The widest fields come first, right behind the table's 4-byte head, so the
    # table starts 4 bytes past a multiple of 8 and nothing needs padding.
    start = _aligned(_VTABLE + 4 + 2 * len(fields) + 4, 8) - 4
    slots = sorted(
        (slot for slot, (_, value) in enumerate(fields) if value is not None),
        key=lambda slot: -_FIELD_SIZES[fields[slot][0]],
    )
    offsets = [0] * len(fields)
    end = 4
    for slot in slots:
        offsets[slot] = end
        end += _FIELD_SIZES[fields[slot][0]]
    out = bytearray(start + end)
    pack_into("<I4s", out, 0, start, schema.encode())
    pack_into(f"<HH{len(fields)}H", out, _VTABLE, 4 + 2 * len(fields), end, *offsets)
    pack_into("<i", out, start, start - _VTABLE)
    for slot in slots:
        kind, value = fields[slot]
        at = start + offsets[slot]
        if isinstance(value, int):
            form = {"bool": "<B", "uint32": "<I", "uint64": "<Q"}[kind]
            pack_into(form, out, at, value)
        elif value is not None:
            raw = value.encode() if isinstance(value, str) else bytes(value)
            _pad(out, 4)
            pack_into("<I", out, at, len(out) - at)
            out += pack("<I", len(raw)) + raw + b"\0"
    _pad(out, 8)
    return bytes(out)


def _aligned(size: int, to: int) -> int:
    return (size + to - 1) // to * to


def _pad(out: bytearray, to: int) -> None:
    out += bytes(-len(out) % to)
