"""Bytes to typed messages and back: pure, without any I/O.

:func:`decode` knows the five FlatBuffers schemas of the file writer's topic.
:class:`Undecodable` is the only thing it raises.
"""

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
)
from .flatbuffer_reader import Undecodable
from .flatbuffer_writer import encode

__all__ = [
    "Action",
    "ActionOutcome",
    "ActionResponse",
    "FinishedWriting",
    "Foreign",
    "Message",
    "RunStart",
    "RunStop",
    "Status",
    "Undecodable",
    "decode",
    "encode",
    "schema_of",
]
