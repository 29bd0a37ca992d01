"""Bytes to typed messages and back.

:func:`decode` knows the five FlatBuffers schemas of the file writer's topic;
:class:`FieldMaps` reads JSON and XML by field maps; :func:`read_event` reads our own
events.  :class:`Undecodable` is the only thing that they raise of a record's value.
"""

from .conversions import Conversion, Scalar, Unfit
from .datasets import (
    ArchiveStatus,
    DatafileList,
    DatasetMessage,
    MetadataUpdate,
    Operations,
    Reschedule,
    StatedDatafile,
    StatedParameter,
    StatedSample,
)
from .documents import Document, DocumentLimits, read_document
from .events import (
    EVENT_VERSION,
    EventMessage,
    applied_events,
    dataset_event,
    operation_event,
    read_event,
    snapshot_event,
)
from .field_map import FieldMap, FieldMaps, Mapped
from .field_map_file import load_field_map
from .filewriter import (
    Action,
    ActionOutcome,
    ActionResponse,
    FinishedWriting,
    Foreign,
    Message,
    RunStart,
    RunStop,
    Status,
    decode,
    schema_of,
    text_without_secrets,
    without_secrets,
)
from .flatbuffer_reader import Undecodable
from .flatbuffer_writer import encode
from .user_office import (
    InvestigationMessage,
    PersonMessage,
    StatedAffiliation,
    StatedMember,
    StatedProposalSample,
    StatedShift,
    StatedVisit,
    StayMessage,
)

__all__ = [
    "EVENT_VERSION",
    "Action",
    "ActionOutcome",
    "ActionResponse",
    "ArchiveStatus",
    "Conversion",
    "DatafileList",
    "DatasetMessage",
    "Document",
    "DocumentLimits",
    "EventMessage",
    "FieldMap",
    "FieldMaps",
    "FinishedWriting",
    "Foreign",
    "InvestigationMessage",
    "Mapped",
    "Message",
    "MetadataUpdate",
    "Operations",
    "PersonMessage",
    "Reschedule",
    "RunStart",
    "RunStop",
    "Scalar",
    "StatedAffiliation",
    "StatedDatafile",
    "StatedMember",
    "StatedParameter",
    "StatedProposalSample",
    "StatedSample",
    "StatedShift",
    "StatedVisit",
    "Status",
    "StayMessage",
    "Undecodable",
    "Unfit",
    "applied_events",
    "dataset_event",
    "decode",
    "encode",
    "load_field_map",
    "operation_event",
    "read_document",
    "read_event",
    "schema_of",
    "snapshot_event",
    "text_without_secrets",
    "without_secrets",
]
