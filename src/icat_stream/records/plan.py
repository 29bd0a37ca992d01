"""The desired state of the catalogue, by ICAT's natural keys.

No ids, no session, no transport.  Field names follow ICAT's schema 6.2 in snake case.
Times are aware datetimes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

STUB_TITLE = "Stub: made for data that came before word of their investigation"
"""By this title a stub is known, until the investigation's own message changes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvestigationKey:
    """The natural key of an investigation inside the configured facility."""

    name: str
    visit_id: str

    def __str__(self) -> str:
        return f"{self.name}/{self.visit_id}"


def parameter_label(name: str, units: str) -> str:
    """Return the key of a parameter type as people read it."""
    return f"{name} [{units}]" if units else f"{name} (no units)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter's value together with the natural key of its type.

    Parameters
    ----------
    name, units
        The key of the parameter type within the facility.
    value
        A number for NUMERIC, a string for STRING, an aware datetime for
        DATE_AND_TIME types.
    error, range_bottom, range_top
        In ``units``; only for numbers.
    """

    name: str
    units: str
    value: float | str | datetime
    error: float | None = None
    range_bottom: float | None = None
    range_top: float | None = None

    @property
    def label(self) -> str:
        """The key of its type as people read it."""
        return parameter_label(self.name, self.units)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatafileFormat:
    """The natural key of a datafile format within the facility."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Datafile:
    """A file of a dataset.

    Parameters
    ----------
    name
        Unique in the dataset.
    location
        Where the data service finds it.
    size
        In bytes.
    create_time, mod_time
        Of the file, aware.
    checksum
        ``algorithm:hexdigest``.
    source
        Path of the file on this host, for uploads; not catalogued.
    """

    name: str
    location: str | None = None
    size: int | None = None
    create_time: datetime | None = None
    mod_time: datetime | None = None
    format: DatafileFormat | None = None
    checksum: str | None = None
    description: str | None = None
    parameters: tuple[Parameter, ...] = ()
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sample of the dataset's investigation.

    Parameters
    ----------
    name
        Unique in the investigation.
    type
        Name of the sample type, ``None`` for none.
    molecular_formula
        Second part of the sample type's key.
    create
        Whether it may be created when it is not there.
    parameters
        Of the sample.
    """

    name: str
    type: str | None = None
    molecular_formula: str = ""
    create: bool = False
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Technique:
    """A technique, by its name, which is its key."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset with everything below it.

    Parameters
    ----------
    investigation, name
        The natural key.
    type
        Name of the dataset type.
    complete
        Facility-defined; here: all files and parameters are in.
    sample
        By name within the investigation.
    start, end
        Aware datetimes.
    instruments
        Names of instruments of the facility.
    existing
        What to do where it is there and differs, in place of
        ``policies.existing_datasets``: also ``replace``, by a new tree in its place,
        where what is there has a lower version.
    version
        Name of the parameter that tells the version, for ``replace``.
    partial
        Only what is stated is meant: the dataset has to be there, and is never made.
    file_size, file_count
        Of all its files: in bytes, and how many.
    removed
        Names and units of parameters that shall not be there.
    """

    investigation: InvestigationKey
    name: str
    type: str
    complete: bool = True
    description: str | None = None
    location: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    sample: Sample | None = None
    instruments: tuple[str, ...] = ()
    techniques: tuple[Technique, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    datafiles: tuple[Datafile, ...] = ()
    existing: Literal["reject", "update", "new_name", "replace"] | None = None
    version: str | None = None
    partial: bool = False
    file_size: int | None = None
    file_count: int | None = None
    removed: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """The natural key as people read it."""
        return f"{self.investigation}/{self.name}"

    @property
    def brings_files(self) -> bool:
        """Whether its files are new; what is only said of a dataset leaves them."""
        return not self.partial or any(file.source for file in self.datafiles)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedPerson:
    """What a user office states of somebody and ICAT has no field for.

    ``None``: not stated.

    Parameters
    ----------
    id, employer_id
        The user office's.
    employer, town, country_code
        Where somebody works.
    """

    id: str | None = None
    staff: bool | None = None
    enabled: bool | None = None
    employer_id: str | None = None
    employer: str | None = None
    town: str | None = None
    country_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user account.

    Parameters
    ----------
    name
        The natural key.
    account
        What it is called wherever it is not the catalogue; empty for the same name.
    formerly
        Other names under which it may be in the catalogue; it is renamed then.
    groups, left_groups
        Names of groupings that it is, or is no longer, a member of; others are left
        alone.
    cleared
        Fields that shall be empty.  What is ``None`` and not in here is left alone.
    stated
        Not for the catalogue, but for those who follow it.
    """

    name: str
    full_name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    email: str | None = None
    orcid_id: str | None = None
    affiliation: str | None = None
    account: str = ""
    formerly: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    left_groups: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    stated: StatedPerson | None = None

    @property
    def key(self) -> str:
        """The natural key as people read it."""
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody's role in an investigation.

    Parameters
    ----------
    user
        Name of the user.
    role
        As the catalogue calls it.
    """

    user: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A time at an instrument; start and end are its key in the investigation."""

    start: datetime
    end: datetime
    instrument: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Investigation:
    """An investigation as a snapshot of it says.

    A field that is ``None`` is not stated and left alone, unless ``cleared`` names
    it; an empty list states that there are none.

    Parameters
    ----------
    investigation
        The natural key.
    title, type
        Needed where it is created.
    release
        When its data become public.
    members
        Users with their roles.
    roles
        The roles that this source speaks for: members with other roles are never
        removed.  Empty for all.
    cycles
        Names of facility cycles.
    cleared
        Fields that shall be empty.
    file_size, file_count
        Of the files of all its datasets: in bytes, and how many.
    proposal_id
        The user office's; not for the catalogue, but for those who follow it.
    partial
        No snapshot of it: what is stated follows from what the catalogue holds, so
        there is no newer or older one, and the investigation is never made.
    """

    investigation: InvestigationKey
    title: str | None = None
    type: str | None = None
    summary: str | None = None
    doi: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    release: datetime | None = None
    instruments: tuple[str, ...] | None = None
    members: tuple[Member, ...] | None = None
    roles: tuple[str, ...] = ()
    samples: tuple[Sample, ...] | None = None
    keywords: tuple[str, ...] | None = None
    parameters: tuple[Parameter, ...] | None = None
    shifts: tuple[Shift, ...] | None = None
    cycles: tuple[str, ...] | None = None
    cleared: tuple[str, ...] = ()
    file_size: int | None = None
    file_count: int | None = None
    proposal_id: str | None = None
    partial: bool = False

    @property
    def key(self) -> str:
        """The natural key as people read it."""
        return str(self.investigation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a run start tells of the file that it will end in.

    Parameters
    ----------
    job_id
        UUID of the writing job.
    sample
        Name of the sample.
    """

    job_id: str
    sample: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """That a program made a dataset from others: a Job of ICAT's with its collections.

    Parameters
    ----------
    investigation, name
        The dataset's natural key.
    inputs
        Those of what it was made from, each once.
    application, version
        The program, as the catalogue calls it.
    """

    investigation: InvestigationKey
    name: str
    inputs: tuple[tuple[InvestigationKey, str], ...]
    application: str
    version: str

    @property
    def key(self) -> str:
        """The dataset's natural key as people read it."""
        return f"{self.investigation}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A small file to be kept beside the data.

    Parameters
    ----------
    path
        Absolute.
    content
        All of it.
    """

    path: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the catalogue shall hold.

    Parameters
    ----------
    facility
        Name of the facility.
    users, investigations
        Snapshots: to be as the newest one says; partial investigations with anything.
    stubs
        Investigations of the datasets, to be made where they are not there; what is
        there is left as it is, but for the instruments of what is still a stub.
    datasets
        To be there with everything below them.
    derivations
        Which of the datasets were made from which.
    jobs
        To be remembered for files that come later.
    keep
        To be written beside the data before it is catalogued.
    notes
        What a person should know of how the plan came about, such as a parameter
        that was skipped by policy.
    origins
        Where values come from, for errors: by the label of a parameter, or by a
        dataset's field.
    """

    facility: str
    users: tuple[User, ...] = ()
    investigations: tuple[Investigation, ...] = ()
    stubs: tuple[Investigation, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    derivations: tuple[Derivation, ...] = ()
    jobs: tuple[Job, ...] = ()
    keep: tuple[KeptFile, ...] = ()
    notes: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between a plan and the catalogue.

    Parameters
    ----------
    what
        The object, by natural key: ``Dataset 2024-0815/1/run 7``,
        ``Datafile run7.nxs``, ``DatasetParameter wavelength [angstrom]``.
    kind
        ``new``, ``changed``, ``unchanged`` or ``extra`` (there, but not planned).
    field
        For ``changed``: the attribute.
    found, planned
        For ``changed``: both values as text.
    """

    what: str
    kind: str
    field: str | None = None
    found: str | None = None
    planned: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """A plan beside what the catalogue holds."""

    changes: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the catalogue holds the plan already."""
        return all(change.kind in ("unchanged", "extra") for change in self.changes)
