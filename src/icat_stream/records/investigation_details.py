"""An investigation with all that other systems are told of it."""

from dataclasses import dataclass
from datetime import datetime

from .plan import STUB_TITLE, InvestigationKey


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentEntry:
    """An instrument as the catalogue holds it.

    Parameters
    ----------
    id
        ICAT's.
    """

    id: int
    name: str
    full_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEntry:
    """Somebody's role in an investigation, as the catalogue holds it.

    Parameters
    ----------
    user
        Name of the user.
    orcid
        As it was written, by whoever wrote it.
    """

    user: str
    role: str
    full_name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    email: str | None = None
    orcid: str | None = None
    affiliation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvestigationDetails:
    """An investigation as the catalogue holds it.

    Parameters
    ----------
    id
        ICAT's.
    release
        When its data become public; ``None``: that is not said, or never.
    members
        By name and role.
    samples
        Their names.
    """

    id: int
    key: InvestigationKey
    title: str
    type: str
    summary: str | None = None
    doi: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    release: datetime | None = None
    instruments: tuple[InstrumentEntry, ...] = ()
    members: tuple[MemberEntry, ...] = ()
    keywords: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()

    @property
    def is_stub(self) -> bool:
        """Whether it was only made because of its data."""
        return self.title == STUB_TITLE

    def is_released(self, now: datetime) -> bool:
        """Whether its data are public."""
        return self.release is not None and self.release <= now
