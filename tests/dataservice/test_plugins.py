"""Storages by configuration: the documented example, and what is refused."""

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from icat.ids import DataSelection

from icat_stream.dataservice import plugin_loader
from icat_stream.dataservice.file_storage import FileStorage
from icat_stream.dataservice.settings import SettingsError, load

from .conftest import Site
from .two_levels import Service, service

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "storage-plugins.md"


@pytest.fixture(scope="module")
def facility(site: Site) -> Iterator[Service]:
    """A facility that did just what the documentation says."""
    code = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.S)[0]
    folder = site.folder.path / "site-packages"
    folder.mkdir()
    (folder / "ourfacility.py").write_text(code)
    client = site.client
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        root = site.folder.path / "by-year" / "main"
        storage = {"plugin": "ourfacility:ByYear", "root": str(root), "unknown": "none"}
        with service(site, "by-year", main_storage=storage) as made:
            example = client.search("Facility")[0]
            instrument = client.new("Instrument", name="LUMEN", facility=example)
            instrument.create()
            kind = client.search("InvestigationType")[0]
            investigation = client.new(
                "Investigation",
                name="2024/7 ü",
                visitId="2",
                title="t",
                facility=example,
                type=kind,
                startDate=datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC),
            )
            investigation.create()
            client.new(
                "InvestigationInstrument",
                investigation=investigation,
                instrument=instrument,
            ).create()
            yield made


@pytest.mark.facility
def test_the_documented_example_works(facility: Service) -> None:
    client = facility.site.client
    [investigation] = client.search("Investigation [visitId='2']")
    dataset = client.new(
        "Dataset",
        name="run 1",
        type=client.search("DatasetType")[0],
        investigation=investigation,
    )
    dataset.create()
    first = facility.put(dataset, "run 1.nxs", b"first")
    other = facility.put(dataset, "sub/../run 1.nxs", b"other")
    folder = "2024/LUMEN/2024_7_ü"
    places = [facility.location(first), facility.location(other)]
    pattern = f"{folder}/[0-9a-f]{{16}}-run_1.nxs"
    assert all(re.fullmatch(pattern, place) for place in places)
    assert len(set(places)) == 2
    plain = facility.dataset("no instrument")
    found = facility.location(facility.put(plain, "..", b"x"))
    assert re.fullmatch("none/none/240815/[0-9a-f]{16}-_", found)
    facility.archive(dataset)
    assert not facility.here(first, other)
    facility.ids.restore(DataSelection([dataset]))
    facility.idle()
    assert facility.get(datafileIds=first) == b"first"
    facility.ids.delete(DataSelection([dataset]))
    assert not any(name.startswith(folder) for name in facility.files())


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ("{plugin: nothing}", "nothing is unknown: expected one of files, or pack"),
        ("{plugin: 'no.such:Thing'}", "No module named 'no'"),
        ("{plugin: 'pathlib:Thing'}", "has no attribute 'Thing'"),
        ("{plugin: 'math:pi'}", "cannot be called"),
        ("{plugin: 'collections:OrderedDict'}", "no signature found"),
        ("{plugin: 'threading:Event'}", "has no method begin, begin_at, open"),
        ("{root: data}", None),
        ("{root: data, color: red}", "main_storage.color: files has no such option"),
        ("{}", "main_storage.root: files needs it"),
        ("{root: 7}", "main_storage.root: Input is not a valid path"),
        ("{root: nowhere}", "nowhere is no folder: create it"),
    ],
)
def test_what_cannot_be_made_is_explained(
    tmp_path: Path, plugin: str, message: str | None
) -> None:
    (tmp_path / "data").mkdir()
    config = tmp_path / "ids.yaml"
    config.write_text(f"icat: {{url: http://x}}\nmain_storage: {plugin}\n")
    if message is None:
        assert isinstance(plugin_loader.storages(load(config))[0], FileStorage)
        return
    with pytest.raises(SettingsError, match=re.escape(message)):
        plugin_loader.storages(load(config))


def test_an_entry_point_is_found(tmp_path: Path, monkeypatch: Any) -> None:
    package = tmp_path / "ours-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        "[icat_stream.main_storage]\n"
        "ours = icat_stream.dataservice.file_storage:FileStorage\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "data").mkdir()
    config = tmp_path / "ids.yaml"
    config.write_text(
        "icat: {url: http://x}\nmain_storage: {plugin: ours, root: data}\n"
    )
    assert isinstance(plugin_loader.storages(load(config))[0], FileStorage)
