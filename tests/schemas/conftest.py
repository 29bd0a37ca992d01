"""Schemas written as text, files given as what a reader would find in them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from icat_stream.messages import FinishedWriting
from icat_stream.records import FieldValue, FileContent, FileStat
from icat_stream.schemas import Draft, SchemaSet, load_schemas

WHEN = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def announced(
    file_name: str = "/data/run_7.nxs", metadata: str | None = None
) -> FinishedWriting:
    return FinishedWriting(
        service_id="writer-1", job_id="job-1", file_name=file_name, metadata=metadata
    )


def content(
    values: Mapping[str, Any] | None = None, path: str = "/data/2026/run_7.nxs"
) -> FileContent:
    """Make a file's content; a pair is a value with its unit."""
    return FileContent(
        stat=FileStat(
            path=path, size=10, mtime_ns=1_700_000_000_123_456_789, ctime_ns=0, mode=0
        ),
        entries=("entry",),
        values={
            at: value
            if isinstance(value, FieldValue)
            else FieldValue(value=value[0], units=value[1])
            if isinstance(value, list)
            else FieldValue(value=value)
            for at, value in (values or {}).items()
        },
    )


@pytest.fixture
def schemas(tmp_path: Path) -> Callable[..., SchemaSet]:
    """Load schemas given as texts, each one file."""

    def load(*texts: str) -> SchemaSet:
        for number, text in enumerate(texts):
            (tmp_path / f"s{number}.yaml").write_text(dedent(text), encoding="utf-8")
        return load_schemas(tmp_path)

    return load


MINIMAL = """
selector: {always: true}
dataset: {investigation: p, name: n}
"""


@pytest.fixture
def evaluate(schemas: Callable[..., SchemaSet]) -> Callable[..., Draft]:
    """Evaluate one schema, its dataset part given or the least there is."""

    def run(
        text: str,
        values: Mapping[str, Any] | None = None,
        *,
        message: FinishedWriting | None = None,
        path: str = "/data/2026/run_7.nxs",
    ) -> Draft:
        text = dedent(text)
        for line in MINIMAL.strip().splitlines():
            if f"{line.split(':')[0]}:" not in [
                part.split(":")[0] + ":" for part in text.splitlines()
            ]:
                text += f"\n{line}"
        (schema,) = schemas(text).schemas
        return schema.evaluate(
            message or announced(), content(values, path), record_time=WHEN
        )

    return run
