"""What user offices say of people and of investigations."""

from dataclasses import dataclass
from datetime import datetime

from .datasets import StatedParameter

SECRETS = frozenset({"oauth_refresh_token"})
"""Dropped from such messages, whatever else a field map names a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedAffiliation:
    """Where somebody works; name to country become one text.

    Parameters
    ----------
    id, country_code
        Of the user office, for other systems.
    """

    id: str | None = None
    name: str | None = None
    unit: str | None = None
    department: str | None = None
    city: str | None = None
    country: str | None = None
    country_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonMessage:
    """A person with all of their accounts.

    Parameters
    ----------
    usernames
        Each is a user of the catalogue.
    id
        The user office's, for other systems.
    full_name
        Made of given and family name by default.
    orcid
        With or without its address.
    enabled, staff
        ``None``: not said.
    """

    usernames: tuple[str, ...]
    id: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    full_name: str | None = None
    email: str | None = None
    orcid: str | None = None
    affiliation: StatedAffiliation | None = None
    enabled: bool | None = None
    staff: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedMember:
    """Somebody's role in an investigation."""

    username: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedProposalSample:
    """A sample as a proposal has it."""

    name: str
    acronym: str | None = None
    type: str | None = None
    formula: str | None = None
    parameters: tuple[StatedParameter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedShift:
    """A time at an instrument."""

    start: datetime
    end: datetime
    instrument: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedVisit:
    """One visit of several; what it does not say is the whole message's."""

    visit_id: str
    start: datetime | None = None
    end: datetime | None = None
    release: datetime | None = None
    instruments: tuple[str, ...] = ()
    shifts: tuple[StatedShift, ...] = ()
    cycles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InvestigationMessage:
    """A snapshot of an investigation.

    Parameters
    ----------
    proposal_id
        The user office's, for other systems.
    type
        By default the handler's option ``investigation_type``.
    industrial
        Its data are never released.
    sample_acronyms
        Samples of which nothing else is known.
    visits
        Each is an investigation of the catalogue; without any there is one.
    submitted
        ``False``: it is still being written.
    wanted
        ``False``: it is not for the catalogue.
    """

    name: str
    visit_id: str | None = None
    proposal_id: str | None = None
    title: str | None = None
    summary: str | None = None
    type: str | None = None
    doi: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    release: datetime | None = None
    industrial: bool | None = None
    instruments: tuple[str, ...] = ()
    members: tuple[StatedMember, ...] = ()
    samples: tuple[StatedProposalSample, ...] = ()
    sample_acronyms: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    parameters: tuple[StatedParameter, ...] = ()
    shifts: tuple[StatedShift, ...] = ()
    cycles: tuple[str, ...] = ()
    visits: tuple[StatedVisit, ...] = ()
    submitted: bool | None = None
    wanted: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StayMessage:
    """The time that one person comes for an investigation.

    Parameters
    ----------
    name, visit_id, industrial, submitted
        As of the investigation.
    cancelled
        The person does not come then.
    """

    name: str
    start: datetime
    end: datetime
    visit_id: str | None = None
    industrial: bool | None = None
    submitted: bool | None = None
    cancelled: bool = False
