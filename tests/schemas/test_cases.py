"""Files that went wrong once, each with its schema and what it has to give.

Beside the files of a case lies its ``expected.json``: by the file's name, either the
parameters and notes of the dataset, or the reason of its rejection.  Notes and
reasons are regular expressions.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from icat_stream.nexus import NexusReader
from icat_stream.records import Rejection
from icat_stream.schemas import Draft, load_schemas

from .conftest import WHEN

CASES = Path(__file__).parent / "cases"
EXPECTED = {
    file.parent / name: wanted
    for file in sorted(CASES.glob("*/expected.json"))
    for name, wanted in json.loads(file.read_text(encoding="utf-8")).items()
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory):
    with NexusReader([tmp_path_factory.getbasetemp()], workers=1) as reader:
        yield reader


def draft_of(case: Path, folder: Path, reader: NexusReader) -> Draft:
    """Make a dataset of a case's file, from a folder of the file's name."""
    schemas, data = folder / "schemas", folder / "cases" / case.name
    schemas.mkdir()
    shutil.copytree(case.parent, data)
    shutil.copy(case.with_suffix(".yaml"), schemas)
    path = data / f"{case.name}.nxs"
    path.chmod(0o444)
    found = load_schemas(schemas)
    content = reader.read(str(path), found.paths(str(path), None))
    schema = found.choose(str(path), None, content)
    return schema.evaluate(None, content, record_time=WHEN)


def test_every_case_has_its_expectation():
    files = {file.with_suffix("") for file in CASES.glob("*/*.yaml")}
    assert files == set(EXPECTED)


@pytest.mark.parametrize("case", EXPECTED, ids=lambda case: case.name)
def test_case(case: Path, tmp_path: Path, reader: NexusReader):
    wanted: dict[str, Any] = EXPECTED[case]
    if "rejected" in wanted:
        with pytest.raises(Rejection, match=wanted["rejected"]):
            draft_of(case, tmp_path, reader)
        return
    draft = draft_of(case, tmp_path, reader)
    assert {p.name: p.value for p in draft.parameters} == wanted["parameters"]
    notes = wanted.get("notes", [])
    assert len(draft.notes) == len(notes), draft.notes
    for pattern, note in zip(notes, draft.notes, strict=True):
        assert re.search(pattern, note), note
