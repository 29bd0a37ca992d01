"""From a file to a metadata schema, as an engineer of a facility does it."""

import json
from pathlib import Path

import h5py
import nexusformat
import pytest
from typer.testing import CliRunner

from icat_stream.cli.tools import app
from icat_stream.sandbox.samples import write_ess_like, write_isis_like

CHOPPER = Path(nexusformat.__file__).parent / "examples" / "chopper.nxs"


def run(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["schemas", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def file(request, tmp_path):
    if request.param == "chopper":
        return CHOPPER
    path = tmp_path / f"{request.param}_0001.nxs"
    write = {"ess": write_ess_like, "isis": write_isis_like}[request.param]
    write(path, proposal="240815", run=1)
    return path


@pytest.mark.parametrize("file", ["ess", "isis", "chopper"], indirect=True)
def test_a_draft_is_valid_and_makes_a_dataset_of_its_file(file, tmp_path):
    schema = tmp_path / "mine.yaml"
    schema.write_text(run("draft", file))
    made = json.loads(run("try", file, "--schema", schema, "--output", "json"))
    assert made["name"] == file.stem
    assert made["start"] is not None
    parameters = {each["name"]: each for each in made["parameters"]}
    assert len(parameters) == len(made["parameters"]) >= 9
    assert parameters["sample_temperature"]["units"] == "K"
    text = run("try", file, "--schema", schema)
    assert f"dataset {file.stem} of investigation " in text
    assert "parameter sample_temperature = " in text


def test_a_file_is_shown_as_a_tree_with_units():
    lines = run("inspect", CHOPPER).splitlines()
    assert lines[0] == "entry/  NXentry"
    assert "  sample/  NXsample" in lines
    assert "    temperature = 8.0 K" in lines
    assert "    data  [148 x 750] counts" in lines
    nodes = [
        json.loads(line)
        for line in run("inspect", CHOPPER, "--output", "json").splitlines()
    ]
    [energy] = [n for n in nodes if n["path"].endswith("monochromator/energy")]
    assert (energy["value"], energy["units"]) == (130.0, "meV")


def test_what_is_in_a_file_cannot_disturb_a_terminal_or_a_draft(tmp_path):
    path = tmp_path / "evil.nxs"
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["start_time"] = "2026-03-02T09:00:00Z"
        entry["title"] = "\x1b[2J: {a: b} # no comment\nid: other"
        entry["odd: [name]"] = 3.0
        entry["odd: [name]"].attrs["units"] = "mm"
        entry["strange"] = 1.0
        entry["strange"].attrs["units"] = "furlongs per: {week"
        entry["gone"] = h5py.SoftLink("/nowhere")
        entry["away"] = h5py.ExternalLink("other.nxs", "/entry")
    for words in (("inspect",), ("draft",)):
        text = run(*words, path)
        assert all(c.isprintable() or c == "\n" for c in text)
    schema = tmp_path / "evil.yaml"
    schema.write_text(run("draft", path))
    made = json.loads(run("try", path, "--schema", schema, "--output", "json"))
    assert made["schema_id"] == "evil"
    assert "strange" in schema.read_text()


def test_what_is_no_file_of_theirs(tmp_path):
    other = tmp_path / "text.nxs"
    other.write_text("no HDF5")
    assert "cannot be read as HDF5" in run("inspect", other, code=3)
    assert "text.nxs" in run("try", other, code=3)
    assert "does not exist" in run("try", tmp_path / "none.nxs", code=2)
    bad = tmp_path / "bad.yaml"
    bad.write_text("id: bad\n")
    assert "selector: is required" in run("try", CHOPPER, "--schema", bad, code=2)
