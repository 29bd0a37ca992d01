"""What handlers may ask the catalogue: read-only, by natural keys."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from .dataset_details import DatasetDetails
from .investigation_details import InvestigationDetails
from .plan import InvestigationKey


class ValueType(StrEnum):
    """ICAT's ParameterValueType."""

    NUMERIC = "NUMERIC"
    STRING = "STRING"
    DATE_AND_TIME = "DATE_AND_TIME"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvestigationEntry:
    """An investigation as the catalogue holds it.

    Parameters
    ----------
    state
        ``stub``: only made because of its data, so that its dates and instruments
        say little; ``missing``: a stub that is still to be made.
    """

    key: InvestigationKey
    start: datetime | None = None
    end: datetime | None = None
    instruments: tuple[str, ...] = ()
    state: Literal["whole", "stub", "missing"] = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEntry:
    """A dataset as the catalogue holds it.

    Parameters
    ----------
    id
        ICAT's.
    parameters
        Values by name of the type, whatever their units.
    """

    id: int
    investigation: InvestigationKey
    name: str
    type: str
    complete: bool = False
    location: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    parameters: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatafileEntry:
    """A datafile as the catalogue holds it."""

    name: str
    location: str | None = None
    size: int | None = None
    mod_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterTypeEntry:
    """A parameter type as the catalogue holds it.

    Parameters
    ----------
    name, units
        Its natural key within the facility.
    value_type
        Which kind of value it takes.
    applicable_to
        Names of the entities it may be used with: ``Dataset``, ``Datafile`` …
    enforced
        Whether ``minimum``, ``maximum`` and ``permissible`` are enforced.
    """

    name: str
    units: str
    value_type: ValueType
    applicable_to: frozenset[str]
    enforced: bool = False
    minimum: float | None = None
    maximum: float | None = None
    permissible: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSum:
    """Files of a dataset or of an investigation, counted at one moment.

    Parameters
    ----------
    count, size
        What they are: how many, and their bytes.
    stated_count, stated_size
        What the catalogue's object says; its database may keep that by itself.
    """

    count: int = 0
    size: int = 0
    stated_count: int = 0
    stated_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSum:
    """Datasets of one type and one sample in an investigation.

    Parameters
    ----------
    type, sample
        Names; a sample of ``None`` is that of datasets without.
    datasets, files, size
        How many, how many files in them, and their bytes.
    seconds
        From start to end of those datasets that have both.
    """

    type: str
    sample: str | None
    datasets: int = 0
    files: int = 0
    size: int = 0
    seconds: float = 0.0


class Lookups(Protocol):
    """Read-only questions to the catalogue.

    Every method may raise :class:`~icat_stream.records.SystemUnavailable` or
    :class:`~icat_stream.records.TransientFailure`.
    """

    def investigations(self, name: str) -> Sequence[InvestigationEntry]:
        """All visits of that name, by visit id; empty when there is none."""
        ...

    def recent_investigations(self, name: str) -> Sequence[InvestigationEntry]:
        """Return what was answered to that seconds ago; empty if it was not asked."""
        ...

    def investigation_by_id(self, number: int) -> InvestigationEntry | None:
        """Return the investigation of the facility with that id of ICAT's."""
        ...

    def investigation_details(
        self, keys: Sequence[InvestigationKey] = (), *, ids: Sequence[int] = ()
    ) -> Sequence[InvestigationDetails]:
        """Return those of some investigations of the facility that are there, by id.

        Parameters
        ----------
        keys, ids
            One of them says which.
        """
        ...

    def datasets(
        self,
        investigation: str | None = None,
        *,
        ids: Sequence[int] = (),
        names: Sequence[str] = (),
        locations: Sequence[str] = (),
        endings: Sequence[str] = (),
    ) -> Sequence[DatasetEntry]:
        """Return datasets of the facility.

        Parameters
        ----------
        investigation
            Name of their investigation, if it is known; all of its visits.
        ids, names, locations
            One of them says which; with names the investigation has to be given.
        endings
            Or the ends of their locations, in whole folders.
        """
        ...

    def dataset_details(self, ids: Sequence[int]) -> Mapping[int, DatasetDetails]:
        """Return those of some datasets of the facility that are there, by id."""
        ...

    def datasets_naming(
        self, parameter: str, sources: Sequence[DatasetEntry]
    ) -> Sequence[DatasetEntry]:
        """Return datasets with a parameter that may name the location of others.

        All that have one in investigations of their names, and others whose value has
        the folder that their locations have in common: more than really name them.
        """
        ...

    def dataset_files(self, ids: Sequence[int]) -> Mapping[int, FileSum]:
        """Count the files of some datasets that are there, by id."""
        ...

    def investigation_files(self, key: InvestigationKey) -> FileSum:
        """Count the files of an investigation's datasets."""
        ...

    def dataset_sums(
        self, key: InvestigationKey, *, seconds: bool
    ) -> Sequence[DatasetSum]:
        """Count the datasets of an investigation.

        Parameters
        ----------
        key
            The investigation.
        seconds
            Whether their times are wanted: it is to read each dataset's.
        """
        ...

    def sample_count(self, key: InvestigationKey) -> int:
        """Count the samples of an investigation."""
        ...

    def datafiles_without_checksum(self, dataset_id: int) -> Iterator[DatafileEntry]:
        """Yield those datafiles of a dataset, page by page."""
        ...

    def parameter_types(self, name: str) -> Sequence[ParameterTypeEntry]:
        """All parameter types of that name, whatever their units."""
        ...

    def exists(self, entity: str, name: str) -> bool:
        """Whether the facility has an entity of that name; see :meth:`spelling`."""
        ...

    def spelling(self, entity: str, name: str) -> str | None:
        """Return the name of an entity of the facility as the catalogue spells it.

        Parameters
        ----------
        entity
            ``Instrument``, ``DatasetType``, ``Technique`` or ``SampleType``.
        name
            As it was stated.

        Returns
        -------
        :
            ``None`` where there is none; by policy, of the same name in other letters
            if not.

        Raises
        ------
        Rejection
            There are several that differ in letters only, and none is spelled so.
        """
        ...

    def formats(self, name: str) -> Sequence[str]:
        """Return the versions of the datafile format of that name."""
        ...

    def sample_of_job(self, job_id: str) -> str | None:
        """Return the sample that a run start announced for that job, if known."""
        ...
