"""What others say of datasets, and of investigations they want something done with."""

from dataclasses import dataclass
from datetime import datetime

from .conversions import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedParameter:
    """A parameter, whose type may not be known by its units.

    Parameters
    ----------
    name
        Of the parameter type.
    value
        As it was written; ``None`` if that is nothing.
    units
        ``None``: not said.
    """

    name: str
    value: Scalar | None = None
    units: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedDatafile:
    """A file, by its path.

    Parameters
    ----------
    location
        Absolute, or relative to the dataset's location.
    name
        Its last part by default.
    size
        In bytes.
    parameters
        Of the file.
    """

    location: str
    name: str | None = None
    size: int | None = None
    parameters: tuple[StatedParameter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedSample:
    """A sample of the investigation."""

    name: str
    type: str | None = None
    parameters: tuple[StatedParameter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetMessage:
    """A dataset that was measured or calculated.

    Parameters
    ----------
    name
        Unique in the investigation.
    location
        Its folder.
    investigation, visit_id
        Its names; or the catalogue's `investigation_id`.
    complete
        ``False``: more is to come.
    """

    name: str
    location: str
    instrument: str | None = None
    investigation: str | None = None
    investigation_id: int | None = None
    visit_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    description: str | None = None
    complete: bool = True
    sample: StatedSample | None = None
    techniques: tuple[str, ...] = ()
    parameters: tuple[StatedParameter, ...] = ()
    datafiles: tuple[StatedDatafile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataUpdate:
    """One parameter of datasets that are there.

    Parameters
    ----------
    investigation
        Name of the proposal.
    instrument
        The beamline.
    locations
        Of the datasets.
    name, value
        Of the parameter.
    """

    investigation: str
    locations: tuple[str, ...]
    name: str
    value: Scalar
    instrument: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatafileList:
    """Further files of a dataset that is there.

    Parameters
    ----------
    datafiles
        Without any, all that lie in the dataset's folder are meant.
    dataset_id
        The catalogue's; or the dataset's `location`.
    """

    datafiles: tuple[StatedDatafile, ...] = ()
    dataset_id: int | None = None
    investigation: str | None = None
    instrument: str | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveStatus:
    """How far a dataset's way to or from the archive is.

    Parameters
    ----------
    dataset_id
        The catalogue's.
    activity
        ``archiving`` or ``restoration``.
    level
        ``info``, ``warning`` or ``error``.
    text
        For people.
    """

    dataset_id: int
    activity: str
    level: str
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reschedule:
    """New dates of an investigation.

    Parameters
    ----------
    investigation_id
        As the scheduling system counts, which is not ICAT's id.
    instrument
        Tells which visit is meant, where there are several.
    """

    investigation_id: int | None = None
    investigation: str | None = None
    instrument: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What is to be done with an investigation, such as to mint a DOI."""

    name: str
    operations: tuple[str, ...]
    visit_id: str | None = None
