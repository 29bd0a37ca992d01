"""A handler with the shipped schemas, the real reader, and a catalogue in memory."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from icat_stream.config import Settings
from icat_stream.config.resources import shipped
from icat_stream.handlers import FileWritten, HandlerContext
from icat_stream.messages import FinishedWriting, encode
from icat_stream.nexus import NexusReader
from icat_stream.records import (
    Coordinates,
    DatafileEntry,
    DatasetEntry,
    InvestigationEntry,
    InvestigationKey,
    ParameterTypeEntry,
    Record,
)
from icat_stream.schemas import load_schemas

PROPOSAL = "2026-0815"


class CatalogueInMemory:
    """Answers the handlers' questions."""

    def __init__(self) -> None:
        self.visits = [
            InvestigationEntry(key=InvestigationKey(name=PROPOSAL, visit_id="1"))
        ]
        self.recent: list[InvestigationEntry] = []
        self.unknown: set[tuple[str, str]] = set()
        self.samples: dict[str, str] = {}
        self.by_id: dict[int, InvestigationEntry] = {}
        self.held: list[DatasetEntry] = []
        self.unhashed: dict[int, list[DatafileEntry]] = {}
        self.types = [
            ParameterTypeEntry(
                name=name,
                units=units,
                value_type=value_type,
                applicable_to=frozenset({"Dataset"}),
            )
            for name, units, value_type in load_schemas(
                shipped("schemas")
            ).parameter_keys()
        ]

    def investigations(self, name):
        return [v for v in self.visits if v.key.name == name]

    def recent_investigations(self, name):
        return [v for v in self.recent if v.key.name == name]

    def investigation_by_id(self, number):
        return self.by_id.get(number)

    def datasets(self, investigation=None, *, ids=(), names=(), locations=()):
        return [
            d
            for d in self.held
            if investigation in (None, d.investigation.name)
            and (d.id in ids or d.name in names or d.location in locations)
        ]

    def datafiles_without_checksum(self, dataset_id):
        yield from self.unhashed.get(dataset_id, ())

    def parameter_types(self, name):
        return [t for t in self.types if t.name == name]

    def exists(self, entity, name):
        return self.spelling(entity, name) is not None

    def spelling(self, entity, name):
        return None if (entity, name) in self.unknown else name

    def formats(self, name):
        return []

    def sample_of_job(self, job_id):
        return self.samples.get(job_id)


@pytest.fixture
def catalogue() -> CatalogueInMemory:
    return CatalogueInMemory()


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def reader(data):
    with NexusReader([data], settle=0.0, settle_deadline=5.0, workers=1) as reader:
        yield reader


@pytest.fixture
def make_handler(data, reader):
    def make(**sections) -> FileWritten:
        values = {
            "facility": "EXAMPLE",
            "schemas": shipped("schemas"),
            "files": {"roots": [data], "path_map": {"/writer": str(data)}},
            "ids": {"location": {"root": data}},
            "consumers": {"a": {"handler": "file_written", "topics": ["t"]}},
        }
        for name, section in sections.items():
            if isinstance(section, dict):
                section = {**values.get(name, {}), **section}
            values[name] = section
        return FileWritten(HandlerContext(settings=Settings(**values), files=reader))

    return make


def as_record(value: bytes | None, offset: int = 7) -> Record:
    at = Coordinates("filewriter", 0, offset)
    now = int(datetime(2026, 11, 21, 8, tzinfo=UTC).timestamp() * 1000)
    return Record(
        at=at, timestamp=now, key=None, value=value, origin=at, origin_timestamp=now
    )


@pytest.fixture
def record():
    return as_record


@pytest.fixture
def announce():
    def make(path: Path | str, **fields) -> Record:
        values = {"service_id": "writer-1", "job_id": "a-job", "metadata": "{}"}
        message = FinishedWriting(file_name=str(path), **{**values, **fields})
        return as_record(encode(message))

    return make
