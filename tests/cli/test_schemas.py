"""From a file to a metadata schema, as an engineer of a facility does it."""

import json
import subprocess
import sys
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


def test_a_folder_of_files_is_beside_what_is_expected_of_them(tmp_path):
    folder = tmp_path / "files"
    (folder / "2026").mkdir(parents=True)
    write_isis_like(folder / "2026/isis_0001.nxs", proposal="240815", run=1)
    write_isis_like(folder / "isis_0002.nxs", proposal="240815", run=2)
    (folder / "broken.h5").write_bytes(b"none")
    (folder / "notes.txt").write_text("not tried")
    schema = tmp_path / "mine.yaml"
    schema.write_text(run("draft", folder / "isis_0002.nxs"))
    words = ("test", folder, "--schema", schema)

    # Nothing is skipped without a word.
    said = run(*words, code=3).splitlines()
    assert said[-1] == "3 files: 3 nothing expected"
    assert run(*words, "--write").splitlines()[-1] == "3 files: 3 written"
    assert run(*words).splitlines() == [
        "2026/isis_0001.nxs: as expected",
        "broken.h5: as expected",
        "isis_0002.nxs: as expected",
        "3 files: 3 as expected",
    ]
    rejected = json.loads((folder / "broken.h5.expected.json").read_text())
    assert rejected["rejected"].startswith("broken.h5: no metadata schema is for")
    # The folder may lie elsewhere.
    moved = folder.rename(tmp_path / "moved")
    assert str(tmp_path) not in (moved / "isis_0002.nxs.expected.json").read_text()
    words = ("test", moved, "--schema", schema)
    run(*words)

    with h5py.File(moved / "isis_0002.nxs", "r+") as file:
        file["raw_data_1/title"][...] = "another title"
    (moved / "2026/isis_0001.nxs").unlink()
    said = run(*words, code=3)
    assert "2026/isis_0001.nxs: is not there" in said
    assert "isis_0002.nxs: differs" in said
    assert '+    "description": "another title",' in said
    (moved / "broken.h5.expected.json").write_text("{")
    assert "is no JSON" in run(*words, code=3)


def test_what_icat_lacks_is_said_at_once_and_icatingest_makes_it(facility, tmp_path):
    path = tmp_path / "odd_0001.nxs"
    write_isis_like(path, proposal="240815", run=1)
    schema = tmp_path / "mine.yaml"
    schema.write_text(run("draft", path))
    schema.write_text(
        schema.read_text().replace(
            "parameters:\n",
            "parameters:\n  - {name: odd-é/1, units: mm, value: <sample_height>}\n",
            1,
        )
    )
    words = ("try", path, "--schema", schema, "-c", facility.config)
    said = run(*words)
    assert "# What " in said
    made = tmp_path / "lacking.yaml"
    made.write_text(said.partition("icatingest -f YAML -i FILE`:\n")[2])
    script = Path(sys.executable).with_name("icatingest.py")
    as_root = ["-c", facility.path / "icat.cfg", "-s", "root", "-f", "YAML"]
    subprocess.run(
        [sys.executable, "-W", "ignore", script, *as_root, "-i", made], check=True
    )
    assert "nothing is lacking in ICAT" in run(*words)
