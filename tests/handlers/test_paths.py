"""Announced paths become paths of this host, and never climb out."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.config import LocationSettings
from icat_stream.handlers.paths import locate, map_path, unmap_path
from icat_stream.records import InvestigationKey, Rejection

KEY = InvestigationKey(name="2026-0815", visit_id="1")
parts = st.lists(
    st.text("abcdef.- ", min_size=1, max_size=8).filter(lambda t: t not in (".", "..")),
    min_size=1,
    max_size=5,
)


def test_longest_prefix_counts():
    path_map = {"/writer": "/a", "/writer/data": "/data"}
    assert map_path("/writer/data/x.nxs", path_map) == "/data/x.nxs"
    assert map_path("/writer/other/x.nxs", path_map) == "/a/other/x.nxs"


def test_prefixes_match_whole_components():
    assert map_path("/writer/database/x.nxs", {"/writer/data": "/data"}) == (
        "/writer/database/x.nxs"
    )


def test_relative_path_can_be_mapped():
    assert map_path("output/x.nxs", {"output": "/data"}) == "/data/x.nxs"


@pytest.mark.parametrize(
    ("there", "announced"),
    [
        ("C:\\Data", "C:\\Data\\26\\run1.nxs"),
        ("C:/Data", "C:\\Data\\26\\run1.nxs"),
        ("C:\\Data", "C:/Data/26/run1.nxs"),
        ("c:\\data\\", "C:\\DATA\\26\\run1.nxs"),
        ("Z:", "Z:\\26\\run1.nxs"),
        ("Z:\\", "z:/26/run1.nxs"),
        ("\\\\server\\share", "\\\\server\\share\\26\\run1.nxs"),
        ("//server/share", "\\\\SERVER\\Share\\26\\run1.nxs"),
        ("\\\\server\\share", "//server/share/26/run1.nxs"),
        ("//server/share", "//server/share/26/run1.nxs"),
    ],
)
def test_paths_of_windows(there, announced):
    path_map = {there: "/data/isis"}
    assert map_path(announced, path_map) == "/data/isis/26/run1.nxs"
    written = unmap_path("/data/isis/26/run1.nxs", path_map)
    assert map_path(written, path_map) == "/data/isis/26/run1.nxs"


def test_the_case_of_names_stays_what_it_was():
    assert map_path("Z:\\A b\\Run.NXS", {"z:": "/data"}) == "/data/A b/Run.NXS"


def test_the_longest_prefix_of_windows_counts():
    path_map = {"C:\\": "/c", "c:\\Data": "/data", "D:\\": "/d"}
    assert map_path("C:\\data\\x.nxs", path_map) == "/data/x.nxs"
    assert map_path("C:\\database\\x.nxs", path_map) == "/c/database/x.nxs"


@pytest.mark.parametrize(
    "announced", ["C:\\Data\\x.nxs", "\\\\server\\share\\x.nxs", "C:/Data/x.nxs"]
)
def test_a_path_of_windows_needs_a_prefix(announced):
    with pytest.raises(Rejection, match=r"is a path of Windows: .*files\.path_map"):
        map_path(announced, {"/writer": "/data", "D:": "/d"})


@pytest.mark.parametrize(
    "announced", ["C:\\Data\\..\\x.nxs", "C:/Data/../x.nxs", "C:\\Data\\a\\..\\..\\x"]
)
def test_a_path_of_windows_never_climbs(announced):
    with pytest.raises(Rejection, match=r"without '\.\.'"):
        map_path(announced, {"C:\\Data": "/data"})


def test_a_backslash_in_a_name_of_posix_is_a_backslash():
    assert map_path("/writer/a\\b.nxs", {"/writer": "/data"}) == "/data/a\\b.nxs"


@given(parts)
def test_a_mapped_path_of_windows_stays_below_its_prefix(names):
    for slash in "\\/":
        mapped = map_path("C:\\Data\\" + slash.join(names), {"c:/data": "/data"})
        # Windows knows no blanks and dots at the end of a name, and takes them all the
        # same where another system wrote them.
        assert PurePosixPath(mapped).parts == ("/", "data", *names)


@pytest.mark.parametrize(
    "announced", ["x.nxs", "", "/data/../etc/passwd", "..", "/data/x\0.nxs"]
)
def test_refused(announced):
    with pytest.raises(Rejection, match="file_name"):
        map_path(announced, {"/writer": "/data"})


@given(parts)
def test_mapped_path_stays_below_its_prefix(names):
    path = "/writer/data/" + "/".join(names)
    mapped = PurePosixPath(map_path(path, {"/writer/data": "/data"}))
    assert mapped.is_relative_to("/data")
    assert mapped.relative_to("/data").parts == tuple(names)


def test_location_is_relative_to_the_root():
    settings = LocationSettings(root="/data")
    assert locate("/data/2026/x.nxs", settings, KEY) == "2026/x.nxs"


def test_location_by_template():
    settings = LocationSettings(template="{investigation}/{visit_id}/{name}")
    assert locate("/elsewhere/x.nxs", settings, KEY) == "2026-0815/1/x.nxs"


def test_file_outside_the_storage_is_refused():
    with pytest.raises(Rejection, match=r"not below ids\.location\.root"):
        locate("/elsewhere/x.nxs", LocationSettings(root="/data"), KEY)
