"""Investigations with all that other systems are told of them, in few questions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from icat_stream.icat import (
    Session,
    entities,
    id_lists,
    in_lists,
    related,
    searchable,
    select,
)
from icat_stream.records import (
    InstrumentEntry,
    InvestigationDetails,
    InvestigationKey,
    MemberEntry,
)

_INCLUDED = (
    "o.type",
    "o.investigationInstruments.instrument",
    "o.investigationUsers.user",
    "o.keywords",
    "o.samples",
)


def investigation_details(
    session: Session,
    facility_id: int,
    keys: Iterable[InvestigationKey] = (),
    ids: Sequence[int] = (),
) -> Sequence[InvestigationDetails]:
    """Return those of some investigations that are there, by id.

    Parameters
    ----------
    session
        To ask with.
    facility_id
        Whose.
    keys, ids
        One of them says which.
    """
    wanted = {key for key in keys if searchable(key.name)}
    found: dict[int, InvestigationDetails] = {}
    names = sorted({key.name for key in wanted})
    chosen = [f"o.name IN {listed}" for listed in in_lists(names)]
    chosen += [f"o.id IN {listed}" for listed in id_lists(ids)]
    for condition in chosen:
        query = select(
            "Investigation",
            f"o.facility.id = {int(facility_id)}",
            condition,
            then=f"INCLUDE {', '.join(_INCLUDED)}",
        )
        for row in entities(session.search(query, "Investigation")):
            if ids or _key(row) in wanted:
                found[row["id"]] = _details(row)
    return [found[number] for number in sorted(found)]


def _key(row: Mapping[str, Any]) -> InvestigationKey:
    return InvestigationKey(name=row["name"], visit_id=row["visitId"])


def _details(row: Mapping[str, Any]) -> InvestigationDetails:
    instruments = (
        related(link, "instrument", "Instrument")
        for link in row.get("investigationInstruments", ())
    )
    members = (
        _member(link["role"], related(link, "user", "User"))
        for link in row.get("investigationUsers", ())
    )
    return InvestigationDetails(
        id=row["id"],
        key=_key(row),
        title=row["title"],
        type=related(row, "type", "InvestigationType")["name"],
        summary=row.get("summary"),
        doi=row.get("doi"),
        start=_time(row.get("startDate")),
        end=_time(row.get("endDate")),
        release=_time(row.get("releaseDate")),
        instruments=tuple(
            sorted(
                (
                    InstrumentEntry(
                        id=each["id"],
                        name=each["name"],
                        full_name=each.get("fullName"),
                    )
                    for each in instruments
                ),
                key=lambda each: each.name,
            )
        ),
        members=tuple(sorted(members, key=lambda each: (each.user, each.role))),
        keywords=tuple(sorted(each["name"] for each in row.get("keywords", ()))),
        samples=tuple(sorted(each["name"] for each in row.get("samples", ()))),
    )


def _member(role: str, user: Mapping[str, Any]) -> MemberEntry:
    return MemberEntry(
        user=user["name"],
        role=role,
        full_name=user.get("fullName"),
        given_name=user.get("givenName"),
        family_name=user.get("familyName"),
        email=user.get("email"),
        orcid=user.get("orcidId"),
        affiliation=user.get("affiliation"),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
