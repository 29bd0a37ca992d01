"""A row of the journal as JSON has it, wherever it is shown."""

from typing import Any

from icat_stream.records import iso

from .search import Entry


def entry_values(entry: Entry) -> dict[str, Any]:
    """Return a row as JSON has it."""
    row = entry.row
    return {
        "group": row.at.group,
        "topic": row.at.topic,
        "partition": row.at.partition,
        "offset": row.at.offset,
        "time": iso(row.at.time),
        "origin": {
            "topic": row.origin_topic,
            "partition": row.origin_partition,
            "offset": row.origin_offset,
            "time": iso(row.origin_time),
        },
        "outcome": row.outcome,
        "reason": row.text,
        "error_class": row.error_class,
        "objects": dict(row.objects),
        "key": row.key,
        "message_type": row.message_type,
        "message_format": row.message_format,
        "size": row.size,
        "sha256": row.sha256,
        "attempts": row.attempts,
        "steps": {name: round(value, 6) for name, value in row.steps.items()},
        "trace_id": row.trace_id,
        "version": row.version,
        "state": entry.state,
        "written_at": iso(entry.written_at),
    }
