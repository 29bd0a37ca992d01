"""The two layouts of generated files, as a reader meets them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from icat_stream.nexus import NexusReader
from icat_stream.records import FieldPath, NotReady
from icat_stream.sandbox.samples import (
    write_ess_like,
    write_isis_like,
    writing_ess_like,
)

END = "{entry}/end_time"
# ISIS writes names in the encoding of Windows.
USERS = FieldPath(path="{entry}/user_*/name", encoding="cp1252")


def test_ess_layout(reader: NexusReader, tmp_path: Path) -> None:
    written = write_ess_like(tmp_path / "f.hdf", proposal="2026-1001", run=7)
    found = reader.read(
        str(written.path),
        [
            "{entry}/experiment_identifier",
            "{entry}/entry_identifier",
            "{entry}/entry_identifier_uuid",
            "{entry}/start_time",
            END,
            "{entry}/instrument/name",
            "{entry}/instrument/name@short_name",
            "{entry}/instrument/monochromator/wavelength",
            "{entry}/sample/name",
            "{entry}/sample/temperature/average_value",
            "{entry}/user_*/name",
        ],
        settled_when=END,
    )
    assert found.entries == ("entry",)
    assert found.stat.mode == 0o444
    text = {
        path.removeprefix("{entry}/"): one.value for path, one in found.values.items()
    }
    assert text["experiment_identifier"] == "2026-1001"
    assert text["entry_identifier"] == "00000007"
    assert text["entry_identifier_uuid"] == written.job_id
    assert datetime.fromisoformat(str(text["start_time"])) == written.start
    assert datetime.fromisoformat(str(text["end_time"])) == written.end
    assert text["start_time"] == "2026-03-02T15:00:00.000Z"
    assert (text["instrument/name"], text["instrument/name@short_name"]) == (
        written.instrument,
        "LUM",
    )
    assert text["sample/name"] == written.sample
    assert text["user_*/name"] == ("Bram Oldenmoor", "Zsófia Quillfeather")
    wavelength = found.values["{entry}/instrument/monochromator/wavelength"]
    assert wavelength.units == "angstrom"
    temperature = found.values["{entry}/sample/temperature/average_value"]
    assert temperature.units == "K"


def test_isis_layout(
    reader: NexusReader, tmp_path: Path, aged: Callable[[Path], str]
) -> None:
    start = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
    written = write_isis_like(
        tmp_path / "f.nxs", proposal="2026-1002", run=8, start=start
    )
    found = reader.read(
        aged(written.path),
        [
            "{entry}/run_number",
            "{entry}/start_time",
            "{entry}/duration",
            "{entry}/proton_charge",
            "{entry}/name",
            USERS,
            "{entry}/monitor_1/distance",
        ],
        settled_when=END,
    )
    values = {
        path.removeprefix("{entry}/"): value
        for path, value in found.values.items()
        if isinstance(path, str)
    }
    assert found.entries == ("raw_data_1",)
    assert values["run_number"].value == 8
    assert values["start_time"].value == "2026-05-04T12:30:00"
    assert values["duration"].value == (written.end - start).total_seconds()
    assert values["duration"].units == "second"
    assert values["proton_charge"].units == "uA.hour"
    assert values["name"].value == written.instrument
    assert found.values[USERS].value == ("Öla Fährnbrück", "Tilly Ravenscombe")
    assert values["monitor_1/distance"].value == -2.5


@pytest.mark.parametrize("write", [write_ess_like, write_isis_like])
def test_same_seed_same_content(
    reader: NexusReader, tmp_path: Path, write: Callable[..., object]
) -> None:
    asked = ["/*/*", "/*/*/*", "/*/*/*/*", "/*/*/*/*/*"]
    contents = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "f.nxs"
        write(path, proposal="P", run=3, seed=seed)
        path.chmod(0o444)
        contents.append(reader.read(str(path), asked).values)
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]
    with_units = [at for at, one in contents[0].items() if one.units and "*" not in at]
    assert len(with_units) >= 20
    assert (tmp_path / "a" / "f.nxs").stat().st_size < 50_000


def test_file_in_the_making(
    reader: NexusReader, tmp_path: Path, aged: Callable[[Path], str]
) -> None:
    path = tmp_path / "f.hdf"
    with writing_ess_like(path, proposal="P", run=1):
        with pytest.raises(NotReady, match="still writable") as early:
            reader.read(str(path), ["{entry}/title"])
        assert 0 < early.value.retry_in <= 2
        assert early.value.deadline == 60
        with pytest.raises(NotReady, match="already open"):
            reader.read(aged(path), ["{entry}/title"])
    assert reader.read(str(path), ["{entry}/title"], settled_when=END).values


@pytest.mark.parametrize("write", [write_ess_like, write_isis_like])
def test_unfinished_file(
    reader: NexusReader,
    tmp_path: Path,
    aged: Callable[[Path], str],
    write: Callable[..., object],
) -> None:
    path = tmp_path / "f.hdf"
    write(path, proposal="P", run=1, finished=False)
    assert reader.read(aged(path), ["{entry}/title"]).values
    with pytest.raises(NotReady, match=r"has no \{entry\}/end_time yet"):
        reader.read(str(path), ["{entry}/title"], settled_when=END)
