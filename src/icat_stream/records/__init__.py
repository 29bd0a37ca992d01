"""The frozen dataclasses that every room speaks.

A :class:`Record` comes in, a handler makes a :class:`Plan` of it, the catalogue is
brought to that plan, and what became of the record is its :class:`Outcome`.  Nothing
in here does any I/O.
"""

from .applied import Applied, AppliedDataset, AppliedSnapshot
from .bugs import bug_reason
from .dataset_details import DatasetDetails, ParameterValue
from .exit_code import ExitCode
from .failures import (
    DependencyMissing,
    Failure,
    LoginRefused,
    NotReady,
    Rejection,
    SystemUnavailable,
    TransientFailure,
    explained,
)
from .files import (
    AskedPath,
    ExternalLink,
    FieldPath,
    FieldValue,
    FileContent,
    FileHead,
    FileReader,
    FileStat,
    Folder,
    FolderFile,
)
from .host_paths import host_path, is_windows_path, translated
from .investigation_details import (
    InstrumentEntry,
    InvestigationDetails,
    MemberEntry,
)
from .journal_rows import ONE_SHOT, JournalRow, RowKey, journal_row
from .location_key import LocationKey
from .lookups import (
    DatafileEntry,
    DatasetEntry,
    DatasetSum,
    FileSum,
    InvestigationEntry,
    Lookups,
    ParameterTypeEntry,
    ValueType,
)
from .names import replacing_name, suffixed
from .numbers import number_of, rounding
from .outcome import BUG, Event, Outcome, OutcomeKind, failed_outcome
from .plan import (
    STUB_TITLE,
    Change,
    Datafile,
    DatafileFormat,
    Dataset,
    Derivation,
    Diff,
    Investigation,
    InvestigationKey,
    Job,
    KeptFile,
    Member,
    Parameter,
    Plan,
    Sample,
    Shift,
    StatedPerson,
    Technique,
    User,
    parameter_label,
)
from .plan_json import as_text, digest, from_text
from .record import Coordinates, Record
from .secret_names import SECRET_NAMES, is_secret_name
from .text import json_line, printable, shortened, without_session_ids
from .times import iso, same_time
from .versions import is_higher

__all__ = [
    "BUG",
    "ONE_SHOT",
    "SECRET_NAMES",
    "STUB_TITLE",
    "Applied",
    "AppliedDataset",
    "AppliedSnapshot",
    "AskedPath",
    "Change",
    "Coordinates",
    "Datafile",
    "DatafileEntry",
    "DatafileFormat",
    "Dataset",
    "DatasetDetails",
    "DatasetEntry",
    "DatasetSum",
    "DependencyMissing",
    "Derivation",
    "Diff",
    "Event",
    "ExitCode",
    "ExternalLink",
    "Failure",
    "FieldPath",
    "FieldValue",
    "FileContent",
    "FileHead",
    "FileReader",
    "FileStat",
    "FileSum",
    "Folder",
    "FolderFile",
    "InstrumentEntry",
    "Investigation",
    "InvestigationDetails",
    "InvestigationEntry",
    "InvestigationKey",
    "Job",
    "JournalRow",
    "KeptFile",
    "LocationKey",
    "LoginRefused",
    "Lookups",
    "Member",
    "MemberEntry",
    "NotReady",
    "Outcome",
    "OutcomeKind",
    "Parameter",
    "ParameterTypeEntry",
    "ParameterValue",
    "Plan",
    "Record",
    "Rejection",
    "RowKey",
    "Sample",
    "Shift",
    "StatedPerson",
    "SystemUnavailable",
    "Technique",
    "TransientFailure",
    "User",
    "ValueType",
    "as_text",
    "bug_reason",
    "digest",
    "explained",
    "failed_outcome",
    "from_text",
    "host_path",
    "is_higher",
    "is_secret_name",
    "is_windows_path",
    "iso",
    "journal_row",
    "json_line",
    "number_of",
    "parameter_label",
    "printable",
    "replacing_name",
    "rounding",
    "same_time",
    "shortened",
    "suffixed",
    "translated",
    "without_session_ids",
]
