"""What DataCite is told of an investigation, and what has to be mended before.

The server checks a findable DOI against its XML schema, which lets empty names, texts
for dates and identifiers of any kind pass; so they are checked here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from icat_stream.config import DISABLED_MARK
from icat_stream.handlers import orcid
from icat_stream.records import InvestigationDetails, MemberEntry, Rejection

from .options import DataCiteOptions

_SCHEMA = "http://datacite.org/schema/kernel-4"
_ORCID, _ROR = "https://orcid.org", "https://ror.org"
_SPDX = "https://spdx.org/licenses/"
# Whose investigation a DOI is of: ids of another catalogue may be the same.
MARK = "ICAT investigation"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What DataCite is told of an investigation.

    Parameters
    ----------
    attributes
        As its JSON has them; a list that is empty empties theirs.
    unmet
        All that has to be mended before a DOI is published, each in words.
    notes
        What was left out.
    """

    attributes: Mapping[str, Any]
    unmet: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def metadata(
    investigation: InvestigationDetails,
    *,
    facility: str,
    options: DataCiteOptions,
    unusable_details: Literal["skip", "reject"],
    public_url: str,
    now: datetime,
) -> Metadata:
    """Return what DataCite is told of an investigation.

    What its abstract and its keywords say is told once its data are public, and taken
    back if they are not any more.

    Parameters
    ----------
    investigation
        As the catalogue holds it.
    facility
        Its name.
    options
        Of the integration.
    unusable_details
        Whether an ORCID that is none is left out, or has to be mended.
    public_url
        Of the dashboard.
    now
        The moment.
    """
    unmet: list[str] = []
    people = _People(options, unusable_details, unmet)
    title = _clean(investigation.title)
    if not title or investigation.is_stub:
        unmet.append("title: there is none yet")
    creators = list(people.creators(investigation.members))
    if not creators:
        unmet.append(
            f"creators: nobody has one of the roles {', '.join(options.creators)}"
        )
    if investigation.start is None:
        unmet.append("start: there is none")
    if investigation.end is None:
        unmet.append("end: there is none")
    elif (now - investigation.end).total_seconds() < options.after_end:
        unmet.append(f"end: {_day(investigation.end)} is too recent, or to come")
    if investigation.release is None:
        unmet.append("release date: there is none, so its data are never public")
    if (
        investigation.start is not None
        and investigation.end is not None
        and investigation.end < investigation.start
    ):
        unmet.append(f"end: {_day(investigation.end)} is before the start")
    released = investigation.is_released(now)
    summary = "\n".join(map(_clean, (investigation.summary or "").splitlines())).strip()
    attributes: dict[str, Any] = {
        "url": landing_page(investigation, options, public_url),
        "schemaVersion": _SCHEMA,
        "titles": [{"title": title}],
        "publisher": _publisher(options),
        "types": {
            "resourceTypeGeneral": options.resource_type,
            "resourceType": "Investigation",
        },
        "creators": creators,
        "contributors": list(people.contributors(investigation.members)),
        "dates": list(_dates(investigation)),
        "descriptions": [{"description": summary, "descriptionType": "Abstract"}]
        if released and summary
        else [],
        "subjects": [
            {"subject": word}
            for word in map(_clean, investigation.keywords)
            if word and released
        ],
        "alternateIdentifiers": [
            {
                "alternateIdentifier": f"{facility}: {investigation.key}",
                "alternateIdentifierType": MARK,
            }
        ],
        "rightsList": _rights(options),
    }
    if options.language is not None:
        attributes["language"] = options.language
    if investigation.release is not None:
        # Else it stays as it was: a citation does not change its year.
        attributes["publicationYear"] = investigation.release.year
    return Metadata(attributes, tuple(unmet), tuple(people.notes))


def landing_page(
    investigation: InvestigationDetails, options: DataCiteOptions, public_url: str
) -> str:
    """Return the address that the DOI of an investigation leads to."""
    return options.landing_page.format(
        public_url=public_url.rstrip("/"),
        doi=quote(options.doi(investigation.id)),
        id=investigation.id,
        name=quote(investigation.key.name, safe=""),
        visit_id=quote(investigation.key.visit_id, safe=""),
    )


class _People:
    """Members of an investigation, as DataCite knows people."""

    def __init__(
        self, options: DataCiteOptions, unusable_details: str, unmet: list[str]
    ) -> None:
        self._options = options
        self._rejects = unusable_details == "reject"
        self._unmet = unmet
        self.notes: list[str] = []
        self._orcids: dict[str, str | None] = {}

    def creators(self, members: Iterable[MemberEntry]) -> Iterator[dict[str, Any]]:
        """Give the authors, each once, by role and name."""
        ranks = {role.casefold(): n for n, role in enumerate(self._options.creators)}
        authors = [m for m in members if m.role.casefold() in ranks]
        authors.sort(key=lambda m: (ranks[m.role.casefold()], _name(m) or "", m.user))
        first: dict[str, MemberEntry] = {}
        for member in authors:
            first.setdefault(member.user, member)
        for user, member in first.items():
            if _name(member) is None:
                self._unmet.append(f"creators: user {user} has no name")
            else:
                yield self._person(member)

    def contributors(self, members: Iterable[MemberEntry]) -> Iterator[dict[str, Any]]:
        """Give those who contributed; who has no name is left out."""
        kinds = {r.casefold(): kind for r, kind in self._options.contributors.items()}
        for member in members:
            kind = kinds.get(member.role.casefold())
            if kind is None:
                continue
            if _name(member) is None:
                self.notes.append(f"contributors: user {member.user} has no name")
                continue
            yield {"contributorType": kind, **self._person(member)}

    def _person(self, member: MemberEntry) -> dict[str, Any]:
        found: dict[str, Any] = {"name": _name(member), "nameType": "Personal"}
        given, family = _clean(member.given_name), _clean(member.family_name)
        if family:
            # DataCite makes the name of these.
            found["familyName"] = family
            if given:
                found["givenName"] = given
        number = self._orcid(member)
        found["nameIdentifiers"] = (
            [
                {
                    "nameIdentifier": f"{_ORCID}/{number}",
                    "nameIdentifierScheme": "ORCID",
                    "schemeUri": _ORCID,
                }
            ]
            if number
            else []
        )
        place = _clean(member.affiliation)
        found["affiliation"] = [self._affiliation(place)] if place else []
        return found

    def _orcid(self, member: MemberEntry) -> str | None:
        if not member.orcid:
            return None
        if member.user not in self._orcids:
            try:
                self._orcids[member.user] = orcid(member.orcid)
            except Rejection as wrong:
                self._orcids[member.user] = None
                words = f"{wrong.reason} of user {member.user}"
                if self._rejects:
                    self._unmet.append(words)
                else:
                    self.notes.append(f"{words}: left out")
        return self._orcids[member.user]

    def _affiliation(self, place: str) -> dict[str, Any]:
        ror = self._options.affiliations.get(place)
        if ror is None:
            return {"name": place}
        return {
            "name": place,
            "affiliationIdentifier": ror,
            "affiliationIdentifierScheme": "ROR",
            "schemeUri": _ROR,
        }


def _name(member: MemberEntry) -> str | None:
    family, given = _clean(member.family_name), _clean(member.given_name)
    if family:
        return f"{family}, {given}" if given else family
    return _clean((member.full_name or "").removesuffix(DISABLED_MARK)) or None


def _publisher(options: DataCiteOptions) -> dict[str, Any]:
    found = {"name": options.publisher}
    if options.publisher_ror is not None:
        found |= {
            "publisherIdentifier": options.publisher_ror,
            "publisherIdentifierScheme": "ROR",
            "schemeUri": _ROR,
        }
    return found


def _dates(investigation: InvestigationDetails) -> Iterator[dict[str, str]]:
    start, end = investigation.start, investigation.end
    if start is not None and end is not None:
        yield {"date": f"{_day(start)}/{_day(end)}", "dateType": "Collected"}
    if investigation.release is not None:
        yield {"date": _day(investigation.release), "dateType": "Available"}


def _rights(options: DataCiteOptions) -> list[dict[str, str]]:
    if options.licence is None:
        return []
    found = {"rights": options.licence.rights, "rightsUri": options.licence.url}
    if options.licence.spdx is not None:
        found |= {
            "rightsIdentifier": options.licence.spdx,
            "rightsIdentifierScheme": "SPDX",
            "schemeUri": _SPDX,
        }
    return [found]


def _day(when: datetime) -> str:
    return when.date().isoformat()


def _clean(text: str | None) -> str:
    """Return a text without what no XML can hold, in one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text or "").split())
