"""The schemas that come with the project, and the one in its documentation."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import nexusformat
import pytest

from icat_stream.messages import FinishedWriting
from icat_stream.nexus import NexusReader
from icat_stream.sandbox.samples import write_ess_like, write_isis_like
from icat_stream.schemas import Draft, SchemaSet, load_schemas

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "resources" / "schemas"
GUIDE = ROOT / "docs" / "metadata-schemas.md"
WHEN = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def draft_of(
    schemas: SchemaSet, reader: NexusReader, path: Path, job_id: str = "job-1"
) -> Draft:
    message = FinishedWriting(service_id="writer-1", job_id=job_id, file_name=str(path))
    content = reader.read(str(path), schemas.paths(str(path), message))
    schema = schemas.choose(str(path), message, content)
    assert schema.settled_when is None or schema.settled_when in content.values
    return schema.evaluate(message, content, record_time=WHEN)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    roots = [tmp_path_factory.getbasetemp(), Path(nexusformat.__file__).parent]
    with NexusReader([root.resolve() for root in roots], settle=0.05) as reader:
        yield reader


def settled() -> None:
    time.sleep(0.1)


def values(draft: Draft) -> dict[tuple[str, str], object]:
    return {(p.name, p.units): p.value for p in draft.parameters}


@pytest.mark.enable_socket
def test_ess_like_files(reader, tmp_path):
    written = write_ess_like(tmp_path / "a.hdf", proposal="2026-17", run=7)
    settled()
    draft = draft_of(load_schemas(SHIPPED), reader, written.path)
    assert draft.schema_id == "ess-nicos"
    assert (draft.investigation, draft.visit_id) == ("2026-17", None)
    assert (draft.name, draft.type) == ("Lumen_00000007", "raw")
    assert (draft.start, draft.end) == (written.start, written.end)
    assert (draft.sample, draft.instruments) == (written.sample, ("Lumen",))
    assert draft.techniques == ("small angle neutron scattering",)
    made = values(draft)
    assert made["run_number", "N/A"] == 7
    assert made["job_id", "N/A"] == written.job_id
    assert made["wavelength", "angstrom"] in (4.5, 6.0, 9.0)
    assert made["chopper_frequency", "Hz"] == 14
    assert made["detector_distance", "mm"] in (2000, 8000, 12000)
    assert made["duration", "s"] == (written.end - written.start).total_seconds()
    (temperature,) = (p for p in draft.parameters if p.name == "sample_temperature")
    assert temperature.range_bottom <= temperature.value <= temperature.range_top
    assert {key[:2] for key in load_schemas(SHIPPED).parameter_keys()} >= set(made)


@pytest.mark.enable_socket
def test_isis_like_files(reader, tmp_path):
    written = write_isis_like(
        tmp_path / "b.nxs",
        proposal="2610001",
        run=12,
        start=datetime(2026, 7, 1, 9, 30, tzinfo=UTC),
    )
    settled()
    draft = draft_of(load_schemas(SHIPPED), reader, written.path)
    assert draft.schema_id == "isis"
    assert (draft.investigation, draft.name) == ("2610001", "BOREAS00000012")
    # Wall time without a zone, in the summer of the schema's zone.
    assert draft.start == datetime(2026, 7, 1, 8, 30, tzinfo=UTC)
    assert draft.sample == written.sample
    made = values(draft)
    assert made["run_number", "N/A"] == 12
    assert made["chopper_delay", "ms"] in (2.1, 4.2, 8.4)
    assert made["moderator_distance", "mm"] == -25000
    assert made["proton_charge", "uA.h"] > 0
    assert len(made) == len(draft.parameters) >= 10


@pytest.mark.enable_socket
def test_the_worked_example_of_the_guide(reader, tmp_path):
    blocks = re.findall(
        r"```yaml\n(# lrmecs.*?)```", GUIDE.read_text("utf-8"), re.DOTALL
    )
    (tmp_path / "lrmecs.yaml").write_text(blocks[0], encoding="utf-8")
    file = Path(nexusformat.__file__).parent.resolve() / "examples" / "chopper.nxs"
    draft = draft_of(load_schemas(tmp_path), reader, file)
    assert (draft.investigation, draft.name) == ("LRMECS-2001", "LRMECS_3701")
    assert draft.start == datetime(2001, 2, 7, 14, 54, 21, tzinfo=UTC)
    assert draft.sample == "Magnesium Diboride"
    assert values(draft) == {
        ("run_number", "N/A"): 3701,
        ("incident_energy", "meV"): 130,
        ("sample_temperature", "K"): 8,
        ("detector_distance", "mm"): pytest.approx(2502.708, abs=1e-3),
        ("gas_pressure", "kPa"): 600,
        ("monitor_count", "N/A"): 2,
    }


def test_all_schemas_in_the_guide_are_right(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    whole = [block for block in blocks if "\nselector:" in block]
    assert whole
    for number, block in enumerate(whole):
        (tmp_path / f"{number}.yaml").write_text(block, encoding="utf-8")
    load_schemas(tmp_path)


def test_the_guide_names_every_operator_type_and_built_in_variable():
    from icat_stream.schemas.operators import OPERATORS
    from icat_stream.schemas.values import KINDS
    from icat_stream.schemas.variables import BUILT_IN

    text = GUIDE.read_text("utf-8")
    for name in (*OPERATORS, *KINDS, *(f"<{name}>" for name in BUILT_IN)):
        assert f"`{name}`" in text, name
