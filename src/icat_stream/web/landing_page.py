"""What a DOI leads to: public, and before the release only who, what and when."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from icat_stream.icat import quote, searchable, select

from .page import NotThere, Page
from .site import Site

_DOI = re.compile(r"10\.\d{4,9}/[-._;()/:a-zA-Z0-9*~$=]{1,200}")
_DATASETS = 200
# In ICAT roles are free text; who only looked after a visit is no author.
_NO_AUTHOR = re.compile(r"contact|staff", re.IGNORECASE)
_FIRST = re.compile(r"principal|pi\b", re.IGNORECASE)


def landing(site: Site, prefix: str, suffix: str) -> Page:
    """Return the page of an investigation with a DOI.

    Parameters
    ----------
    site
        Its own account asks: nobody is logged in.
    prefix, suffix
        Of the DOI, in any case.

    Raises
    ------
    NotThere
        No investigation has it.
    """
    doi = f"{prefix}/{suffix}"
    found: list[dict[str, Any]] = []
    if _DOI.fullmatch(doi) and searchable(doi):
        forms = ", ".join(map(quote, dict.fromkeys((doi, doi.lower(), doi.upper()))))
        query = select(
            "Investigation",
            f"o.doi IN ({forms})",
            then="INCLUDE o.facility, o.investigationUsers AS iu, iu.user,"
            " o.investigationInstruments AS ii, ii.instrument",
        )
        found = site.accounts.own_objects(query, "Investigation")
    if not found:
        raise NotThere(f"No data of this facility have the DOI {doi[:220]}.")
    one = found[0]
    release = _moment(one.get("releaseDate"))
    is_open = release is not None and release <= datetime.now(UTC)
    facility = one.get("facility") or {}
    values: dict[str, Any] = {
        "doi": one["doi"],
        "url": f"https://doi.org/{one['doi']}",
        "title": one.get("title") or one["name"],
        "name": one["name"],
        "visit": one.get("visitId"),
        "start": one.get("startDate"),
        "end": one.get("endDate"),
        "release": one.get("releaseDate"),
        "open": is_open,
        "publisher": facility.get("fullName") or facility.get("name"),
        "creators": _creators(one),
        "instruments": [
            each["instrument"].get("fullName") or each["instrument"]["name"]
            for each in one.get("investigationInstruments", ())
            if each.get("instrument")
        ],
        "summary": one.get("summary") if is_open else None,
        "datasets": _datasets(site, one["id"]) if is_open else None,
        "id": one["id"],
    }
    values["citation"] = _citation(values, release)
    values["schema_org"] = _schema_org(values, release)
    return Page(template="landing.html", title=values["title"], values=values)


def as_script(values: Mapping[str, Any]) -> Markup:
    """Return values as JSON that no name in them can end."""
    text = json.dumps(values, ensure_ascii=True, indent=1)
    for each in "<>&":
        text = text.replace(each, f"\\u{ord(each):04x}")
    return Markup(text)  # noqa: S704


def _creators(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the authors: principal investigators first, then by name."""
    found: dict[str, dict[str, Any]] = {}
    members = sorted(
        (m for m in one.get("investigationUsers", ()) if m.get("user")),
        key=lambda m: (
            not _FIRST.search(m.get("role") or ""),
            m["user"].get("familyName") or m["user"].get("fullName") or "",
        ),
    )
    for member in members:
        user = member["user"]
        if _NO_AUTHOR.search(member.get("role") or "") or user["name"] in found:
            continue
        family, given = user.get("familyName"), user.get("givenName")
        name = f"{family}, {given}" if family and given else user.get("fullName")
        if name:
            found[user["name"]] = {
                "name": name,
                "affiliation": user.get("affiliation"),
                "orcid": user.get("orcidId"),
            }
    return list(found.values())


def _datasets(site: Site, number: int) -> list[dict[str, Any]]:
    query = select(
        "Dataset",
        f"o.investigation.id = {number}",
        then=f"ORDER BY o.startDate, o.id INCLUDE o.sample LIMIT 0, {_DATASETS}",
    )
    return [
        {
            "id": each["id"],
            "name": each["name"],
            "sample": (each.get("sample") or {}).get("name"),
            "start": each.get("startDate"),
            "files": each.get("fileCount") or None,
            "size": each.get("fileSize") or None,
            "doi": each.get("doi"),
        }
        for each in site.accounts.own_objects(query, "Dataset")
    ]


def _citation(values: Mapping[str, Any], release: datetime | None) -> str:
    names = "; ".join(each["name"] for each in values["creators"])
    at = release or _moment(values["end"]) or _moment(values["start"])
    year = f" ({at.year})" if at else ""
    begin = f"{names}{year}: " if names or year else ""
    return f"{begin}{values['title']}. {values['publisher']}. {values['url']}"


def _schema_org(values: Mapping[str, Any], release: datetime | None) -> dict[str, Any]:
    creators = []
    for each in values["creators"]:
        person: dict[str, Any] = {"@type": "Person", "name": each["name"]}
        if each["orcid"]:
            person["@id"] = f"https://orcid.org/{each['orcid'].rpartition('/')[2]}"
        if each["affiliation"]:
            organisation = {"@type": "Organization", "name": each["affiliation"]}
            person["affiliation"] = organisation
        creators.append(person)
    begin, end = _moment(values["start"]), _moment(values["end"])
    found = {
        "@context": "https://schema.org",
        "@type": "Dataset",
        "@id": values["url"],
        "identifier": values["url"],
        "url": values["url"],
        "name": values["title"],
        "description": values["summary"],
        "creator": creators,
        "publisher": {"@type": "Organization", "name": values["publisher"]},
        "datePublished": release.date().isoformat() if release else None,
        "temporalCoverage": f"{begin.date()}/{end.date()}" if begin and end else None,
        "isAccessibleForFree": values["open"],
    }
    return {name: value for name, value in found.items() if value is not None}


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
