"""A file writer's announcement becomes a dataset with its file (``wrdn``)."""

import json
import os
import posixpath
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from icat_stream.messages import (
    FinishedWriting,
    Foreign,
    Message,
    RunStart,
    Undecodable,
    decode,
    encode,
    schema_of,
    text_without_secrets,
    without_secrets,
)
from icat_stream.records import (
    Datafile,
    DatafileFormat,
    Dataset,
    ExternalLink,
    FileContent,
    FileStat,
    InvestigationKey,
    Job,
    KeptFile,
    Lookups,
    NotReady,
    Outcome,
    OutcomeKind,
    Parameter,
    Plan,
    Record,
    Rejection,
    Sample,
    explained,
    host_path,
    parameter_label,
)
from icat_stream.schemas import Draft, MetadataSchema, load_schemas

from .dataset_references import DatasetReferences
from .handler import Handler, HandlerContext
from .paths import Confinement, locate, map_path, unmap_path
from .rights import DATASETS
from .run_start import sample_of

BY_HAND = "by hand"
"""Service and job of an announcement that a person made up for a file."""

_FORMAT = "flatbuffers"
_LONGEST = 255
_TEXTS = ("name", "description", "location", "sample")
_KEPT = tuple(field.name for field in fields(FinishedWriting))


@dataclass(frozen=True, slots=True)
class Announcement:
    """A message of the file writer's topic, and when it was published."""

    message: FinishedWriting | RunStart
    published: datetime

    @property
    def message_type(self) -> str:
        """The schema's identifier, for the journal."""
        return self.message.schema

    @property
    def objects(self) -> dict[str, str]:
        """What it is about, for the journal of what failed."""
        if isinstance(self.message, RunStart):
            return {"job": self.message.job_id or ""}
        return {
            "file": host_path(self.message.file_name).name,
            "job": self.message.job_id,
        }

    @property
    def message_format(self) -> str:
        """What it was decoded from, for the journal."""
        return _FORMAT


class FileWritten(Handler):
    """Handler of the file writer's topic.

    ``wrdn`` makes a dataset of the file, ``pl72`` makes the sample of the job known;
    all else on the topic is ignored.

    Parameters
    ----------
    context
        Settings and the way to the files.

    Raises
    ------
    icat_stream.schemas.SchemaError
        The metadata schemas are wrong; all problems are named.
    """

    rights = DATASETS

    def __init__(self, context: HandlerContext) -> None:
        self._settings = context.settings
        self._files = context.files
        if context.settings.schemas is None:
            raise Rejection("schemas: the handler file_written needs metadata schemas")
        self._schemas = load_schemas(context.settings.schemas)
        # Files are known by their real paths, so the root has to be, too.
        self._root = os.path.realpath(context.settings.ids.location.root)
        self._confinement = Confinement(context.settings)

    def redact(self, record: Record) -> bytes | None:
        """Return the value without the secrets in the message's metadata."""
        return record.value and without_secrets(record.value)

    def key(self, record: Record) -> str:
        """Return the path of the announced file.

        Not its folder: one file that is not finished, or that takes long, would hold
        up all others of its experiment.
        """
        if record.value is not None and schema_of(record.value) == "wrdn":
            try:
                message = decode(record.value)
            except Undecodable:
                return str(record.at)
            if isinstance(message, FinishedWriting):
                return str(host_path(message.file_name))
        return str(record.at)

    def decode(self, record: Record) -> Announcement | Outcome:
        """Return the announcement in a record."""
        schema = schema_of(record.value)
        limit = self._settings.messages.max_bytes
        size = len(record.value or b"")
        if size > limit:
            if schema is not None and schema != FinishedWriting.schema:
                return _ignored(
                    schema, f"{schema} of {size} bytes, over messages.max_bytes"
                )
            raise Rejection(
                f"the value has {size} bytes, over messages.max_bytes ({limit})"
            )
        message: Message = decode(record.value)
        if isinstance(message, FinishedWriting | RunStart):
            return Announcement(message, _time(record.origin_timestamp / 1000))
        if isinstance(message, Foreign):
            return _ignored(
                message.identifier, f"unknown schema identifier {message.identifier}"
            )
        return _ignored(message.schema, f"{message.schema} is of no interest here")

    def compose(self, file: str | None, message: bytes | None) -> bytes:
        """Return the announcement of a file, or the one that was kept beside it.

        With both, the message is taken as said of this file.
        """
        if file is not None:
            file = unmap_path(file, self._settings.files.path_map)
        if message is None:
            announced = FinishedWriting(
                service_id=BY_HAND, job_id=BY_HAND, file_name=file or ""
            )
        elif message[:1] == b"{":
            announced = _unkept(message)
        elif file is None:
            return message
        else:
            decoded = decode(message)
            if not isinstance(decoded, FinishedWriting):
                raise Rejection("the message does not announce a file (wrdn)")
            announced = decoded
        return encode(announced if file is None else replace(announced, file_name=file))

    def plan(self, announcement: Announcement, lookups: Lookups) -> Plan | Outcome:
        """Return the dataset that a file becomes, or the sample of a job."""
        message = announcement.message
        if isinstance(message, RunStart):
            return self._remember(message)
        policy = self._settings.policies.error_encountered
        if message.error_encountered and policy != "incomplete":
            text = f"the file writer reports an error: {message.message or 'no text'}"
            if policy == "reject":
                raise Rejection(f"{text} (policies.error_encountered: reject)")
            return _ignored(message.schema, text)
        path = map_path(message.file_name, self._settings.files.path_map)
        content = self._files.read(
            path,
            self._schemas.paths(path, message),
            links=self._schemas.wants_links(path, message),
        )
        schema = self._schemas.choose(path, message, content)
        self._require_end(schema, content, path)
        drafts = schema.drafts(message, content, record_time=announcement.published)
        keep = self._kept(message, content.stat)
        plans = []
        for draft in drafts:
            try:
                plans.append(self._dataset(draft, message, content, lookups, keep))
            except Rejection as failure:
                raise explained(failure, _origins(draft)) from failure
        return _together(plans, list(map(_origins, drafts)), keep)

    def _remember(self, message: RunStart) -> Plan | Outcome:
        sample = sample_of(message)
        if sample is None or not message.job_id:
            return _ignored(message.schema, "a run start without a sample")
        if max(len(message.job_id), len(sample)) > _LONGEST:
            raise Rejection(
                f"a run start whose job_id has {len(message.job_id)} characters, and"
                f" whose sample {len(sample)}: expected at most {_LONGEST}"
            )
        return Plan(
            facility=self._settings.facility,
            jobs=(Job(job_id=message.job_id, sample=sample),),
        )

    def _require_end(
        self, schema: MetadataSchema, content: FileContent, path: str
    ) -> None:
        wanted = schema.missing_end(content)
        if wanted is not None:
            files = self._settings.files
            raise NotReady(
                f"file {path}: {wanted} is not there (yet), and schema {schema.id}"
                " counts a file as finished only with it",
                retry_in=max(files.settle, 0.1),
                deadline=files.settle_deadline,
            )

    def _dataset(
        self,
        draft: Draft,
        message: FinishedWriting,
        content: FileContent,
        lookups: Lookups,
        keep: tuple[KeptFile, ...],
    ) -> Plan:
        notes = list(draft.notes)
        references = DatasetReferences(lookups, self._settings.policies, notes)
        visit = references.investigation(
            draft.investigation, draft.visit_id, draft.start
        )
        instruments = references.instruments(draft.instruments, visit)
        sample = draft.sample or lookups.sample_of_job(message.job_id)
        dataset = Dataset(
            investigation=visit.key,
            name=draft.name,
            type=references.dataset_type(draft.type),
            complete=draft.complete and not message.error_encountered,
            description=draft.description,
            location=draft.location,
            start=draft.start,
            end=draft.end,
            sample=None
            if sample is None
            else Sample(
                name=sample,
                type=draft.sample_type,
                molecular_formula=draft.sample_formula,
                create=self._settings.policies.missing_samples == "create",
            ),
            instruments=instruments,
            techniques=references.techniques(draft.techniques),
            parameters=references.parameters(
                Parameter(
                    name=p.name,
                    units=p.units,
                    value=p.value,
                    error=p.error,
                    range_bottom=p.range_bottom,
                    range_top=p.range_top,
                )
                for p in draft.parameters
            ),
            datafiles=self._datafiles(draft, content, keep, visit.key),
        )
        return Plan(
            facility=self._settings.facility,
            stubs=references.stubs(visit, instruments, draft.start),
            datasets=(dataset,),
            notes=tuple(notes),
        )

    def _datafiles(
        self,
        draft: Draft,
        content: FileContent,
        keep: tuple[KeptFile, ...],
        investigation: InvestigationKey,
    ) -> tuple[Datafile, ...]:
        found = [self._datafile(content.stat, draft, investigation, draft.file_name)]
        if draft.include_external_links:
            stats = dict(_target(link) for link in content.links if _is_of(link, draft))
            stats.pop(content.stat.path, None)
            names = {found[0].name}
            for path in sorted(stats):
                name = PurePosixPath(path).name
                if name in names:
                    # Two targets of one name in different folders.
                    name = "/".join(PurePosixPath(path).parts[-2:])
                names.add(name)
                found.append(self._datafile(stats[path], draft, investigation, name))
        kept = self._settings.files.keep_message.format
        found.extend(
            Datafile(
                name=PurePosixPath(file.path).name,
                location=self._location(file.path, investigation),
                # Another announcement of this file may have been kept before.
                size=None,
                format=DatafileFormat(name=kept.name, version=kept.version),
                source=file.path,
            )
            for file in keep
        )
        return tuple(found)

    def _datafile(
        self,
        stat: FileStat,
        draft: Draft,
        investigation: InvestigationKey,
        name: str | None,
    ) -> Datafile:
        algorithm = self._settings.files.checksum
        return Datafile(
            name=name or PurePosixPath(stat.path).name,
            location=self._location(stat.path, investigation),
            size=stat.size,
            mod_time=_time(stat.mtime_ns // 10**9),
            format=None
            if draft.format is None
            else DatafileFormat(name=draft.format[0], version=draft.format[1]),
            checksum=None
            if algorithm == "none"
            else self._files.checksum(stat, algorithm),
            source=stat.path,
        )

    def _location(self, path: str, investigation: InvestigationKey) -> str | None:
        self._confinement.must_hold(path, investigation, "file_name")
        ids = self._settings.ids
        if ids.url is not None and ids.mode == "put":
            # The data service decides where an uploaded file goes.
            return None
        return locate(path, ids.location, investigation, real_root=self._root)

    def _kept(self, message: FinishedWriting, stat: FileStat) -> tuple[KeptFile, ...]:
        settings = self._settings.files.keep_message
        if not settings.enabled or message.service_id == BY_HAND:
            return ()
        path = PurePosixPath(stat.path)
        folder = posixpath.normpath(path.parent / settings.folder)
        body = {"schema": message.schema} | {
            name: getattr(message, name) for name in _KEPT
        }
        if message.metadata:
            body["metadata"] = text_without_secrets(message.metadata)
        return (
            KeptFile(
                path=f"{folder}/{path.name}{settings.suffix}",
                content=json.dumps(body, indent=1, ensure_ascii=False).encode() + b"\n",
            ),
        )


def _together(
    plans: list[Plan], origins: list[dict[str, str]], keep: tuple[KeptFile, ...]
) -> Plan:
    """Return one plan of all datasets that a file becomes."""
    stubs = {
        stub.investigation: stub for plan in reversed(plans) for stub in plan.stubs
    }
    first = origins[0]
    return replace(
        plans[0],
        stubs=tuple(stubs.values()),
        datasets=tuple(dataset for plan in plans for dataset in plan.datasets),
        keep=keep,
        notes=tuple(dict.fromkeys(note for plan in plans for note in plan.notes)),
        # Of a name that means another place in each entry, nobody can say which.
        origins={
            name: where
            for name, where in first.items()
            if all(each.get(name) == where for each in origins)
        },
    )


def _is_of(link: ExternalLink, draft: Draft) -> bool:
    """Whether a link is in the entry that a dataset is made of."""
    return draft.entry is None or f"{link.at}/".startswith(f"/{draft.entry}/")


def _origins(draft: Draft) -> dict[str, str]:
    names = [parameter_label(p.name, p.units) for p in draft.parameters]
    origins = {name: draft.where(name) for name in names}
    origins |= {name: draft.where(name) for name in _TEXTS}
    return origins


def _time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Rejection(
            f"a time {seconds:g} s after 1970 (of the record, or of the file) is none:"
            f" {error}"
        ) from None


def _target(link: ExternalLink) -> tuple[str, FileStat]:
    if link.stat is None:
        raise link.failure or Rejection(f"{link.at}: a link to nothing")
    return link.stat.path, link.stat


def _ignored(schema: str, reason: str) -> Outcome:
    return Outcome(
        kind=OutcomeKind.IGNORED,
        reason=reason,
        message_type=schema,
        message_format=_FORMAT,
    )


def _unkept(text: bytes) -> FinishedWriting:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise Rejection(f"the kept message is no JSON: {error}") from None
    if not isinstance(body, dict) or body.pop("schema", None) != FinishedWriting.schema:
        raise Rejection("the kept message has no field schema with the value wrdn")
    unknown = sorted(set(body) - set(_KEPT))
    strings = {k: v for k, v in body.items() if k != "error_encountered"}
    if unknown or not all(v is None or isinstance(v, str) for v in strings.values()):
        raise Rejection(
            f"the kept message has {', '.join(unknown) or 'values that are no text'};"
            f" expected texts for {', '.join(_KEPT)}"
        )
    if not all(isinstance(body.get(k), str) for k in ("service_id", "file_name")):
        raise Rejection("the kept message lacks service_id or file_name")
    return FinishedWriting(**{"job_id": BY_HAND, **body})
