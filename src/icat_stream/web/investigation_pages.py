"""A person's investigations, and what became of the data of one."""

from datetime import UTC, datetime
from typing import Any

from icat_stream.icat import select
from icat_stream.journal import Search
from icat_stream.records import printable, without_session_ids

from .page import NotThere, Page, PageRequest
from .site import now_ms

_LISTED = 200
_WAITING = 100
_DAY_MS = 86_400_000


def investigations(asked: PageRequest) -> Page:
    """Return the investigations that ICAT lets a person see, the newest first."""
    query = select(
        "Investigation",
        then=f"ORDER BY o.startDate DESC, o.id DESC LIMIT 0, {_LISTED + 1}",
    )
    found = asked.site.accounts.objects(asked.sign_in, query)
    listed = [_values(each) for each in found[:_LISTED]]
    values = {"investigations": listed, "more": len(found) > _LISTED}
    return Page(
        template="investigations.html",
        title="My investigations",
        values=values,
        table="investigations",
    )


def investigation(asked: PageRequest) -> Page:
    """Return one investigation: its datasets, and what waits or failed."""
    number = asked.number("id")
    accounts, person = asked.site.accounts, asked.sign_in
    found = accounts.objects(
        person,
        select(
            "Investigation",
            f"o.id = {number}",
            then="INCLUDE o.facility, o.investigationUsers AS iu, iu.user,"
            " o.investigationInstruments AS ii, ii.instrument",
        ),
    )
    if not found:
        # Whether it is there at all is nobody's business who may not see it.
        raise NotThere("There is no such investigation that you may see.")
    (one,) = found
    datasets = accounts.objects(
        person,
        select(
            "Dataset",
            f"o.investigation.id = {number}",
            then="ORDER BY o.startDate DESC, o.id DESC"
            f" INCLUDE o.sample, o.type LIMIT 0, {_LISTED + 1}",
        ),
    )
    listed = [dataset_values(each) for each in datasets[:_LISTED]]
    waiting = asked.part("journal", lambda: _not_in(asked, one))
    facts = _values(one)
    marks = [
        {
            "at": at,
            "outcome": each.get("outcome", "ingested"),
            "name": each["name"],
            "dataset": each.get("id"),
        }
        for each in (*listed, *(waiting or ()))
        if (at := _moment(each)) is not None
    ]
    begin, end = _span([mark["at"] for mark in marks])
    values = {
        **facts,
        "people": sorted(
            (
                {
                    "name": each["user"].get("fullName") or each["user"]["name"],
                    "role": each.get("role"),
                    "affiliation": each["user"].get("affiliation"),
                }
                for each in one.get("investigationUsers", ())
                if each.get("user")
            ),
            key=lambda each: (str(each["role"]), each["name"]),
        ),
        "instruments": [
            each["instrument"].get("fullName") or each["instrument"]["name"]
            for each in one.get("investigationInstruments", ())
            if each.get("instrument")
        ],
        "datasets": listed,
        "more": len(datasets) > _LISTED,
        "waiting": waiting,
        "marks": marks,
        "strip_begin": begin,
        "strip_end": end,
        "park_for": asked.site.settings.retries.park_for,
    }
    return Page(
        template="investigation.html",
        title=facts["title"] or facts["name"],
        values=values,
        table="datasets",
    )


def dataset_values(one: dict[str, Any]) -> dict[str, Any]:
    """Return a dataset as lists show it."""
    return {
        "id": one["id"],
        "name": one["name"],
        "start": one.get("startDate"),
        "end": one.get("endDate"),
        "type": (one.get("type") or {}).get("name"),
        "sample": (one.get("sample") or {}).get("name"),
        # Of a server that does not count, both are 0.
        "files": one.get("fileCount") or None,
        "size": one.get("fileSize") or None,
        "doi": one.get("doi"),
    }


def _values(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": one["id"],
        "name": one["name"],
        "visit": one.get("visitId"),
        "title": one.get("title"),
        "start": one.get("startDate"),
        "end": one.get("endDate"),
        "release": one.get("releaseDate"),
        "summary": one.get("summary"),
        "doi": one.get("doi"),
        "files": one.get("fileCount") or None,
        "size": one.get("fileSize") or None,
    }


def _not_in(asked: PageRequest, one: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was announced of an investigation and is not in the catalogue."""
    name = f"{one['name']}/{one['visitId']}".replace("*", "")
    search = Search(investigation=name, outcomes=["deferred", "rejected"], last=True)
    entries = asked.site.journal.entries.find(search, limit=_WAITING, newest_first=True)
    found = []
    for entry in entries:
        row = entry.row
        file = row.objects.get("file")
        name = str(row.objects.get("dataset") or file or row.origin_topic)
        found.append(
            {
                "name": printable(name.rpartition("/")[2]),
                "outcome": row.outcome,
                "announced": row.origin_time,
                "tried": entry.written_at,
                "reason": without_session_ids(row.text),
            }
        )
    return found


def _span(times: list[int]) -> tuple[int, int]:
    if not times:
        now = now_ms()
        return now - _DAY_MS, now
    return min(times), max(max(times), min(times) + 1000)


def _moment(thing: dict[str, Any]) -> int | None:
    """Return when a dataset began, or a file was announced, in milliseconds."""
    if thing.get("announced") is not None:
        return int(thing["announced"])
    try:
        found = datetime.fromisoformat(thing["start"] or thing["end"])
    except (KeyError, TypeError, ValueError):
        return None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(found.timestamp() * 1000)
