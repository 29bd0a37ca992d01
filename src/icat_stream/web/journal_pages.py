"""What became of each message: all of them, some, one."""

import json
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from icat_stream.journal import (
    Entry,
    EntryPlace,
    Search,
    entry_values,
)
from icat_stream.messages import Undecodable, decode, schema_of
from icat_stream.records import Coordinates, OutcomeKind
from icat_stream.stream import group_of

from .message_rows import consumer_of, row_values
from .page import Elsewhere, NotThere, Page, PageRequest, Unfit

_ROWS = 50
# Beyond so many, finding the newest of them takes seconds.
_MOST_NAMED = 2_000
_SHOWN_BYTES = 65_536
# What is longer is not taken apart.
_READ_BYTES = 1_048_576
_DUMPED_BYTES = 1024
_PLACE = re.compile(r"([A-Za-z0-9._-]{1,249})(?:\[(\d{1,9})\]@|:(\d{1,9}):)(\d{1,18})")
_OFFSET = re.compile(r" ([+-]\d\d:\d\d)$")
_SHA256 = re.compile(r"[0-9a-f]{8,64}")


def messages(asked: PageRequest) -> Page | Elsewhere:
    """Return messages by whatever one knows of them."""
    text = asked.query("q")
    if place := _PLACE.fullmatch(text):
        partition = place[2] or place[3]
        return Elsewhere(f"/messages/{place[1]}/{int(partition)}/{int(place[4])}")
    outcome, consumer = asked.query("outcome"), asked.query("consumer")
    if outcome and outcome not in list(OutcomeKind):
        raise Unfit(f"outcome is one of {', '.join(OutcomeKind)}.")
    if consumer and consumer not in asked.site.settings.consumers:
        names = ", ".join(asked.site.settings.consumers)
        raise Unfit(f"consumer is one of {names}.")
    search = Search(
        since=_time(asked, "since"),
        until=_time(asked, "until"),
        groups=[group_of(asked.site.settings, consumer)] if consumer else [],
        outcomes=[outcome] if outcome else [],
        text=asked.query("reason") or None,
    )
    if search.text and (search.since is None or search.until is None):
        raise Unfit(
            "Words of a reason are looked for within a chosen time only: give from and"
            " until."
        )
    after = _after(asked)
    entries = asked.site.journal.entries
    found: dict[Any, Entry] = {}
    for each in _meanings(search, text):
        if text.endswith("*") and entries.are_many(each, _MOST_NAMED):
            raise Unfit(
                f"More than {_MOST_NAMED:,} messages have a name that begins so: give"
                " more of the name."
            )
        rows = entries.find(each, limit=_ROWS + 1, newest_first=True, after=after)
        found |= {entry.row.at: entry for entry in rows}
    listed = sorted(found.values(), key=lambda e: e.place, reverse=True)
    more = listed[_ROWS - 1].place if len(listed) > _ROWS else None
    values = {
        "messages": [row_values(asked, entry) for entry in listed[:_ROWS]],
        "q": text,
        "outcome": outcome,
        "outcomes": list(OutcomeKind),
        "consumer": consumer,
        "consumers": list(asked.site.settings.consumers),
        "since": asked.query("since"),
        "until": asked.query("until"),
        "reason": search.text or "",
        "after": None if more is None else "~".join(str(part) for part in more),
    }
    return Page(
        template="messages.html", title="Messages", values=values, table="messages"
    )


def message(asked: PageRequest) -> Page:
    """Return the whole way of one message."""
    at = coordinates(asked)
    journal = asked.site.journal
    way = journal.entries.way(at)
    if not way:
        raise NotThere(f"The journal has no message {at}.")
    first, last = way[0], way[-1]
    groups: dict[str, list[Entry]] = {}
    for entry in way:
        groups.setdefault(entry.row.at.group, []).append(entry)
    kept = asked.part("journal", lambda: journal.entries.kept(first))
    values = {
        "at": at._asdict(),
        "origin": first.origin._asdict(),
        "published": first.row.origin_time,
        "outcome": last.row.outcome,
        "objects": dict(last.row.objects),
        "consumers": [
            {
                "consumer": consumer_of(asked, group),
                "group": group,
                "rows": [
                    {
                        **entry_values(entry),
                        "waited": _waited(entries, number),
                    }
                    for number, entry in enumerate(entries)
                ],
            }
            for group, entries in groups.items()
        ],
        "payload": None if kept is None else _shown(kept.value),
        "headers": []
        if kept is None
        else [
            {"name": name, "value": None if v is None else v.decode("utf-8", "replace")}
            for name, v in kept.headers
        ],
        "size": first.row.size,
    }
    about = last.row.objects.get("file") or last.row.objects.get("dataset")
    title = about if isinstance(about, str) else str(first.origin)
    return Page(template="message.html", title=title, values=values)


def payload(asked: PageRequest) -> Response:
    """Return the value of a message as it was published, without its secrets."""
    at = coordinates(asked)
    journal = asked.site.journal
    way = journal.entries.way(at)
    kept = journal.entries.kept(way[0]) if way else None
    if kept is None:
        raise NotThere(f"The journal has not kept what {at} says.")
    # Never shown by a browser: it may be anything.
    return Response(
        kept.value,
        media_type="application/octet-stream",
        headers={"Content-Disposition": 'attachment; filename="message"'},
    )


def coordinates(asked: PageRequest) -> Coordinates:
    """Return the record that an address names."""
    topic = asked.path("topic")
    partition, offset = asked.number("partition"), asked.number("offset")
    if partition >= 2**31:
        raise NotThere(f"No topic has a partition {partition}.")
    return Coordinates(topic, partition, offset)


def _meanings(search: Search, text: str) -> list[Search]:
    """Return what a text may mean, each found by an index."""
    if not text:
        return [search]
    found = [replace(search, investigation=text), replace(search, dataset=text)]
    found.append(replace(search, file=text))
    if _SHA256.fullmatch(text):
        found.append(replace(search, sha256=text))
    return found


def _time(asked: PageRequest, name: str) -> int | None:
    text = asked.query(name)
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 14:
        return int(text)
    try:
        # As pages show it: with a blank before the offset.
        found = datetime.fromisoformat(_OFFSET.sub(r"\1", text))
    except ValueError:
        raise Unfit(
            f"{name} is a time such as 2026-05-01T12:00Z, not “{text[:40]}”."
        ) from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(found.timestamp() * 1000)


def _after(asked: PageRequest) -> EntryPlace | None:
    parts = asked.query("after", 1000).split("~")
    try:
        time, written, topic, partition, offset, group = parts
        numbers = [int(each) for each in (time, written, partition, offset)]
    except ValueError:
        return None
    if any(not -(2**63) <= each < 2**63 for each in numbers):
        return None
    return EntryPlace(numbers[0], numbers[1], topic, numbers[2], numbers[3], group)


def _waited(entries: list[Entry], number: int) -> float | None:
    """Return the seconds since the row before; of the first, since it was published."""
    entry = entries[number]
    before = entries[number - 1].written_at if number else entry.row.origin_time
    return max(0, entry.written_at - before) / 1000


def _shown(value: bytes) -> dict[str, Any]:
    """Return what a message says, as far as it can be read."""
    if len(value) > _READ_BYTES:
        text = value[:_SHOWN_BYTES].decode("utf-8", "replace")
        return _text("the beginning of a long text", text, cut=True)
    try:
        text = value.decode("utf-8")
        indented = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    else:
        return _text("JSON", indented)
    try:
        message = decode(value)
        text = json.dumps(_plain(message), indent=2, ensure_ascii=False, default=str)
        return _text(schema_of(value) or "", text)
    except (Undecodable, TypeError, RecursionError):
        pass
    try:
        return _text("text", value.decode("utf-8"))
    except UnicodeDecodeError:
        rows = [_dumped(value, at) for at in range(0, _DUMPED_BYTES, 16)]
        text = "\n".join(row for row in rows if row)
        return _text("bytes", text, cut=len(value) > _DUMPED_BYTES)


def _text(form: str, text: str, *, cut: bool = False) -> dict[str, Any]:
    cut = cut or len(text) > _SHOWN_BYTES
    return {"format": form, "text": text[:_SHOWN_BYTES], "cut": cut}


def _plain(message: Any) -> Any:
    found = asdict(message)
    for name, value in found.items():
        if isinstance(value, str) and value.startswith("{"):
            try:
                found[name] = json.loads(value)
            except ValueError:
                continue
    return found


def _dumped(value: bytes, at: int) -> str:
    part = value[at : at + 16]
    if not part:
        return ""
    seen = "".join(chr(b) if 32 <= b < 127 else "·" for b in part)
    return f"{at:06x}  {part.hex(' '):47}  {seen}"
