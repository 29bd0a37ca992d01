"""A dataset with all that other systems are told of it."""

from dataclasses import dataclass
from datetime import datetime

from .plan import InvestigationKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterValue:
    """A parameter that an object has."""

    name: str
    units: str
    value: float | str | datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDetails:
    """A dataset as the catalogue holds it, without its files.

    Parameters
    ----------
    id
        ICAT's.
    instruments, techniques
        Names, sorted.
    parameters
        By name, then units.
    """

    id: int
    investigation: InvestigationKey
    name: str
    type: str
    complete: bool
    description: str | None = None
    location: str | None = None
    doi: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    sample: str | None = None
    instruments: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    parameters: tuple[ParameterValue, ...] = ()
