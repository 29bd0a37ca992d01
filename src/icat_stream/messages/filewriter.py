"""What the file writer and those who command it say on their topic."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, ClassVar

from .flatbuffer_reader import RootTable, Undecodable
from .secrets import UsualSecrets

_IDENTIFIER = re.compile(rb"[a-z0-9]{4}")
_SECRETS = UsualSecrets()
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedWriting:
    """A job is over and its file is written, or failed (``wrdn``).

    Parameters
    ----------
    service_id
        The file writer.
    job_id
        UUID of the job.
    file_name
        The file, as the writer's host names it.
    error_encountered
        Whether the job stopped because of an error.
    metadata
        JSON text, echoed from the run start.
    message
        The error, if there was one.
    """

    schema: ClassVar[str] = "wrdn"

    service_id: str
    job_id: str
    file_name: str
    error_encountered: bool = False
    metadata: str | None = None
    message: str | None = None

    @property
    def hints(self) -> Mapping[str, Any]:
        """The metadata as an object; empty where it is none.

        Writers send anything here, most often ``{}``.  The file says what is true,
        so metadata that cannot be read is not worth losing a file for.
        """
        return _lenient_object(self.metadata)

    @property
    def unread(self) -> str | None:
        """Why there are no hints although there is metadata."""
        return _unread(self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """A run begins and is to be written (``pl72``).

    Parameters
    ----------
    job_id
        UUID of the job.
    filename
        The file to write, as asked for.
    run_name, instrument_name
        As the control system names them.
    service_id
        The file writer that is meant.
    start_time, stop_time
        Milliseconds since the epoch; a `stop_time` of 0 is none.
    n_periods
        Number of periods of the run.
    metadata
        JSON text.
    control_topic
        Where the writer is to report.
    nexus_structure
        The whole structure of the file in JSON, which can be hundreds of megabytes:
        the bytes in the message, neither copied nor checked to be text.
    """

    schema: ClassVar[str] = "pl72"

    job_id: str | None = None
    filename: str | None = None
    run_name: str | None = None
    instrument_name: str | None = None
    service_id: str | None = None
    start_time: int = 0
    stop_time: int = 0
    n_periods: int = 1
    metadata: str | None = None
    control_topic: str | None = None
    nexus_structure: bytes | memoryview | None = field(default=None, repr=False)

    @property
    def hints(self) -> Mapping[str, Any]:
        """The metadata as an object; empty where it is none."""
        return _lenient_object(self.metadata)

    @property
    def unread(self) -> str | None:
        """Why there are no hints although there is metadata."""
        return _unread(self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStop:
    """A run is to end (``6s4t``).

    Parameters
    ----------
    stop_time
        Milliseconds since the epoch; 0 is now.
    run_name, job_id, service_id, command_id
        What is to end, and who asks.
    """

    schema: ClassVar[str] = "6s4t"

    stop_time: int = 0
    run_name: str | None = None
    job_id: str | None = None
    service_id: str | None = None
    command_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A program is alive (``x5f2``).

    Parameters
    ----------
    software_name, software_version, service_id, host_name, process_id
        Who speaks.
    update_interval
        Milliseconds to the next status.
    status_json
        What it says of itself.
    """

    schema: ClassVar[str] = "x5f2"

    software_name: str | None = None
    software_version: str | None = None
    service_id: str | None = None
    host_name: str | None = None
    process_id: int = 0
    update_interval: int = 0
    status_json: str | None = None


class Action(IntEnum):
    """What a file writer was asked to do."""

    START_JOB = 0
    SET_STOP_TIME = 1


class ActionOutcome(IntEnum):
    """How that went."""

    SUCCESS = 0
    FAILURE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResponse:
    """A file writer answers a command (``answ``).

    Parameters
    ----------
    service_id, job_id
        Who answers, for which job.
    action, outcome
        What was asked, and how it went.  A number that later versions of the schema
        may give a name stays a number.
    status_code
        As in HTTP.
    stop_time
        Milliseconds since the epoch.
    message, command_id
        Words for people, and which command is answered.
    """

    schema: ClassVar[str] = "answ"

    service_id: str
    job_id: str
    action: Action | int = Action.START_JOB
    outcome: ActionOutcome | int = ActionOutcome.SUCCESS
    status_code: int = 0
    stop_time: int = 0
    message: str | None = None
    command_id: str | None = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """A message of a schema that is none of the five: not an error, not for us.

    Parameters
    ----------
    identifier
        Its schema's four characters.
    """

    identifier: str


Message = FinishedWriting | RunStart | RunStop | Status | ActionResponse | Foreign


def schema_of(value: bytes | None) -> str | None:
    """Return the schema identifier of a message without decoding it.

    Parameters
    ----------
    value
        The value of a Kafka record.

    Returns
    -------
    :
        Bytes 4 to 8 where they are four of ``[a-z0-9]``, ``None`` otherwise.
    """
    if value is None or not _IDENTIFIER.fullmatch(value, 4, 8):
        return None
    return value[4:8].decode()


def decode(value: bytes | None) -> Message:
    """Decode a message of the file writer's topic.

    Parameters
    ----------
    value
        The value of a Kafka record.

    Returns
    -------
    :
        The message; :class:`Foreign` if its identifier is well formed but none of
        the five, whatever the rest of it holds.

    Raises
    ------
    Undecodable
        For everything else, and for nothing else.
    """
    schema = schema_of(value)
    if value is None or schema is None:
        raise Undecodable(_no_message(value))
    decoder = _DECODERS.get(schema)
    return Foreign(schema) if decoder is None else decoder(value)


def without_secrets(value: bytes) -> bytes:
    """Return a message without the secrets in its metadata, as long as it was.

    Parameters
    ----------
    value
        Of a record; one that is no message of a file writer's may be JSON.
    """
    # Four letters of JSON can look like a schema's name.
    metadata = _text_of(value)
    if metadata is None:
        try:
            metadata = getattr(decode(value), "metadata", None)
        except Undecodable:
            return value
    if not metadata:
        return value
    before, after = metadata.encode(), text_without_secrets(metadata).encode()
    if before == after:
        return value
    # In its place: a FlatBuffers message is full of offsets.
    if len(after) > len(before):
        after = b"{}"
    return value.replace(before, after.ljust(len(before)))


def text_without_secrets(metadata: str) -> str:
    """Return metadata without secrets; as it is, if there are none."""
    try:
        tree, found = _SECRETS.without(_parsed(metadata))
    except RecursionError:
        # Better no metadata than a secret somewhere deep in it.
        tree, found = {}, True
    if not found:
        return metadata
    return json.dumps(tree or {}, ensure_ascii=False, separators=(",", ":"))


def _text_of(value: bytes) -> str | None:
    try:
        return value.decode() if value[:1] in (b"{", b"[") else None
    except UnicodeDecodeError:
        return None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _no_message(value: bytes | None) -> str:
    if value is None:
        return "the record has no value (a tombstone), expected a FlatBuffers message"
    if len(value) < 8:
        return f"the value has {len(value)} bytes, a FlatBuffers message at least 16"
    kind = ", and the value looks like JSON" if value[:1] in b"{[" else ""
    return (
        f"bytes 4 to 8 are {value[4:8]!r}, expected a schema identifier such as "
        f"b'wrdn'{kind}"
    )


def _finished_writing(value: bytes) -> FinishedWriting:
    table = RootTable(value, "wrdn", 6)
    return FinishedWriting(
        service_id=table.required_text(0, "service_id"),
        job_id=table.required_text(1, "job_id"),
        error_encountered=table.boolean(2, "error_encountered"),
        file_name=table.required_text(3, "file_name"),
        metadata=table.text(4, "metadata"),
        message=table.text(5, "message"),
    )


def _run_start(value: bytes) -> RunStart:
    # Slot 6 (broker) is obsolete, slot 10 (detector_spectrum_map) is of no use here.
    table = RootTable(value, "pl72", 13)
    return RunStart(
        start_time=table.uint64(0, "start_time"),
        stop_time=table.uint64(1, "stop_time"),
        run_name=table.text(2, "run_name"),
        instrument_name=table.text(3, "instrument_name"),
        nexus_structure=table.raw(4, "nexus_structure"),
        job_id=table.text(5, "job_id"),
        service_id=table.text(7, "service_id"),
        filename=table.text(8, "filename"),
        n_periods=table.uint32(9, "n_periods", 1),
        metadata=table.text(11, "metadata"),
        control_topic=table.text(12, "control_topic"),
    )


def _run_stop(value: bytes) -> RunStop:
    table = RootTable(value, "6s4t", 5)
    return RunStop(
        stop_time=table.uint64(0, "stop_time"),
        run_name=table.text(1, "run_name"),
        job_id=table.text(2, "job_id"),
        service_id=table.text(3, "service_id"),
        command_id=table.text(4, "command_id"),
    )


def _status(value: bytes) -> Status:
    table = RootTable(value, "x5f2", 7)
    return Status(
        software_name=table.text(0, "software_name"),
        software_version=table.text(1, "software_version"),
        service_id=table.text(2, "service_id"),
        host_name=table.text(3, "host_name"),
        process_id=table.uint32(4, "process_id"),
        update_interval=table.uint32(5, "update_interval"),
        status_json=table.text(6, "status_json"),
    )


def _action_response(value: bytes) -> ActionResponse:
    table = RootTable(value, "answ", 8)
    return ActionResponse(
        service_id=table.required_text(0, "service_id"),
        job_id=table.required_text(1, "job_id"),
        action=_named(Action, table.byte(2, "action")),
        outcome=_named(ActionOutcome, table.byte(3, "outcome")),
        status_code=table.int32(4, "status_code"),
        stop_time=table.uint64(5, "stop_time"),
        message=table.text(6, "message"),
        command_id=table.text(7, "command_id"),
    )


def _named(names: type[IntEnum], value: int) -> int:
    return names(value) if value < len(names) else value


_DECODERS: Mapping[str, Callable[[bytes], Message]] = {
    "wrdn": _finished_writing,
    "pl72": _run_start,
    "6s4t": _run_stop,
    "x5f2": _status,
    "answ": _action_response,
}


def _lenient_object(text: str | None) -> Mapping[str, Any]:
    if not text or text == "{}":
        return _NOTHING
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING
    return MappingProxyType(parsed) if isinstance(parsed, dict) else _NOTHING


def _unread(text: str | None) -> str | None:
    if not text or not text.strip():
        return None
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"the message's metadata is no JSON ({error})"
    if isinstance(parsed, dict):
        return None
    return "the message's metadata is no JSON object"
