"""A message as lists show it."""

from typing import Any

from icat_stream.journal import Entry
from icat_stream.stream import group_of

from .page import PageRequest
from .subjects import subject


def consumer_of(asked: PageRequest, group: str) -> str:
    """Return the name of the consumer that a group is of, else the group's."""
    settings = asked.site.settings
    names = {group_of(settings, name): name for name in settings.consumers}
    return names.get(group, group)


def row_values(asked: PageRequest, entry: Entry) -> dict[str, Any]:
    """Return a row as lists show it."""
    row, objects = entry.row, entry.row.objects
    return {
        "time": row.at.time,
        "topic": row.origin_topic,
        "partition": row.origin_partition,
        "offset": row.origin_offset,
        "consumer": consumer_of(asked, row.at.group),
        "outcome": row.outcome,
        "about": subject(objects, row.key),
        "investigation": objects.get("investigation"),
        "dataset": objects.get("dataset"),
        "file": objects.get("file"),
        "reason": row.text,
        "error_class": row.error_class,
        "attempts": row.attempts,
    }
