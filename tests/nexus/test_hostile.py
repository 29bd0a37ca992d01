"""Files that are broken, in the making, or meant to hurt."""

import fcntl
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from icat_stream.nexus import Limits, NexusReader
from icat_stream.nexus.safe_open import Rules, hold
from icat_stream.records import (
    DependencyMissing,
    Failure,
    NotReady,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)
from icat_stream.sandbox.samples import write_ess_like

Aged = Callable[[Path], str]


def sealed(path: Path) -> str:
    path.chmod(0o444)
    return str(path)


def test_not_hdf5(reader: NexusReader, tmp_path: Path, aged: Aged) -> None:
    path = tmp_path / "f.nxs"
    path.write_bytes(b"no HDF5 at all" * 100)
    with pytest.raises(NotReady, match="still writable"):
        reader.read(str(path), ["/v"])
    with pytest.raises(Rejection, match=r"f\.nxs: is no HDF5 file \(1,400 bytes\)"):
        reader.read(aged(path), ["/v"])


def test_empty(reader: NexusReader, tmp_path: Path, aged: Aged) -> None:
    path = tmp_path / "f.nxs"
    path.touch()
    with pytest.raises(Rejection, match=r"f\.nxs: is empty"):
        reader.read(aged(path), ["/v"])


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_truncated(
    reader: NexusReader, tmp_path: Path, aged: Aged, libver: str
) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w", libver=libver) as file:
        file["v"] = np.arange(10_000)
    os.truncate(path, path.stat().st_size - 1000)
    with pytest.raises(NotReady, match="truncated file"):
        reader.read(aged(path), ["/v"])


def test_damaged_and_sealed(reader: NexusReader, tmp_path: Path, aged: Aged) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        file["v"] = 1
    with path.open("r+b") as raw:
        raw.seek(48)
        raw.write(b"\xff" * (path.stat().st_size - 48))
    with pytest.raises(NotReady, match="damaged, or still being written"):
        reader.read(aged(path), ["/v"])
    with pytest.raises(Rejection, match="the file is damaged"):
        reader.read(sealed(path), ["/v"])


def test_filter_that_is_not_installed(reader: NexusReader, tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        packed = hdf5plugin.LZ4()
        file.create_dataset("v", data=np.zeros(9), chunks=(9,), **packed)
    assert reader.read(sealed(path), ["/v"]).values["/v"].value == (0.0,) * 9
    # Another number in its place, of a filter that nobody has.
    ours, nobodys = ((n).to_bytes(2, "little") for n in (32_004, 65_000))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(ours, nobodys))
    found = reader.read(sealed(path), ["/v"])
    with pytest.raises(
        Rejection,
        match=r"/v is packed by the HDF5 filter with the number 65000, .*"
        r"icat-stream\[filters\], or set HDF5_PLUGIN_PATH",
    ):
        found.values["/v"]


@pytest.mark.parametrize("swmr", [False, True])
def test_open_by_a_writer(
    reader: NexusReader, tmp_path: Path, aged: Aged, swmr: bool
) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w", libver="latest") as file:
        file["v"] = 1
        if swmr:
            file.swmr_mode = True
        file.flush()
        with pytest.raises(NotReady, match="already open"):
            reader.read(aged(path), ["/v"])
    assert reader.read(aged(path), ["/v"]).values["/v"].value == 1


@pytest.mark.parametrize("variable", [None, "TRUE"])
def test_no_lock_is_taken(
    tmp_path: Path, aged: Aged, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("HDF5_USE_FILE_LOCKING", variable)
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w", libver="earliest") as file:
        file["v"] = 1
    with path.open("rb") as locked, NexusReader([tmp_path], workers=1) as reader:
        # A shared lock, which is what HDF5 takes for reading, would fail here.
        fcntl.flock(locked, fcntl.LOCK_EX)
        assert reader.read(aged(path), ["/v"]).values["/v"].value == 1


def test_sizes_are_known_before_reading(reader: NexusReader, tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(2**31 - 1)
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5d.create(file.id, b"title", kind, space)
        file.create_dataset("huge", shape=(2**43,), dtype="u1", chunks=(2**16,))
        file.create_dataset("chunk", (10,), "f8", maxshape=(None,), chunks=(2**28,))
        file["plain"] = 1
    assert path.stat().st_size < 10_000
    for asked, what in (
        ("/title", "/title holds a text of 2,147,483,647 bytes"),
        ("/huge", r"/huge has 8,796,093,022,208 elements \(8,796,093,022,208 bytes\)"),
        ("/chunk", "/chunk comes in chunks of 2,147,483,648 bytes"),
    ):
        found = reader.read(sealed(path), ["/plain", asked])
        assert found.values["/plain"].value == 1
        with pytest.raises(Rejection, match=what):
            found.values.get(asked)


def test_memory_limit(tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        file["long"] = "x" * 60 * 1024**2  # of variable length: unknown until read
        file["v"] = 1
    limits = Limits(memory=40 * 1024**2)
    with NexusReader([tmp_path], limits=limits, workers=1) as reader:
        assert reader.read(sealed(path), ["/v"]).values
        with pytest.raises(Rejection, match="takes more than 40 MiB of memory"):
            reader.read(sealed(path), ["/long"])
        assert reader.read(sealed(path), ["/v"]).values


def test_soft_links_in_a_circle(reader: NexusReader, tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        file["a"] = h5py.SoftLink("/b")
        file["b"] = h5py.SoftLink("/a")
        file["wide"] = h5py.SoftLink("/group/x" + "/x" * 2000)
        file["group/x"] = h5py.SoftLink(".")
        file["group/loop"] = file["group"]
        file["group/v"] = 1
    for asked in ("/a", "/b/c", "/a@x", "/wide"):
        found = reader.read(sealed(path), [asked])
        with pytest.raises(Rejection, match="more than 16 links"):
            found.values[asked]
        with pytest.raises(Rejection, match="more than 16 links"):
            reader.read(sealed(path), [], settled_when=asked.partition("@")[0])
    deep = "/group" + "/loop" * 50 + "/v"
    assert reader.read(str(path), [deep]).values[deep].value == 1


def test_external_links_are_looked_at_not_followed(
    reader: NexusReader, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "data").mkdir()
    for name in ("near.h5", "far.h5"):
        with h5py.File(tmp_path / "data" / name, "w") as file:
            file["v"] = 1
        sealed(tmp_path / "data" / name)
    inside = (tmp_path / "data" / "far.h5").relative_to(tmp_path_factory.getbasetemp())
    path = tmp_path / "f.nxs"
    layout = h5py.VirtualLayout((2,), "i4")
    layout[:] = h5py.VirtualSource("data/near.h5", "w", (2,))
    with h5py.File(path, "w", libver="latest") as file:
        file["d/near"] = h5py.ExternalLink("data/near.h5", "/v")
        file["d/far"] = h5py.ExternalLink(f"/writer/{inside}", "/v")
        file["d/soft"] = h5py.SoftLink("/d/near")
        file["d/own"] = 5
        file.create_virtual_dataset("d/virtual", layout)
        rows = h5py.h5s.create_simple((1, 2), (h5py.h5s.UNLIMITED, 2))
        each = h5py.h5s.create_simple((1, 2), (h5py.h5s.UNLIMITED, 2))
        each.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), (1, 1), (1, 2))
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_virtual(
            each, b"data/%b.h5", b"w", h5py.h5s.create_simple((1, 2))
        )
        kind = h5py.h5t.NATIVE_INT32
        h5py.h5d.create(file.id, b"pattern", kind, rows, properties)
        file["trap"] = h5py.ExternalLink("nothing.h5", "/v")
    asked = ["/d/*", "/d/near/deeper"]
    assert reader.read(sealed(path), asked).links == ()
    found = reader.read(str(path), asked, links=True)
    assert {link.at: Path(link.stat.path).name for link in found.links} == {
        "/d/near": "near.h5",
        "/d/far": "far.h5",
        "/d/soft": "near.h5",
        "/d/virtual": "near.h5",
    }
    assert found.links[0].stat.size > 0
    assert found.values["/d/*"].value == 5
    with pytest.raises(Rejection, match="/pattern names its sources by a pattern"):
        reader.read(str(path), ["/pattern"]).values["/pattern"]


def test_external_links_to_what_must_not_be_opened(
    reader: NexusReader, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "leaving").symlink_to("/etc/passwd")
    path = tmp_path / "f.nxs"
    up = "../" * 12
    with h5py.File(path, "w") as file:
        file["fifo"] = h5py.ExternalLink("fifo", "/v")
        file["out"] = h5py.ExternalLink("/etc/passwd", "/v")
        file["up"] = h5py.ExternalLink(f"{up}etc/passwd", "/v")
        file["nowhere"] = h5py.ExternalLink("/net/dead/x.h5", "/v")
        file["leaving"] = h5py.ExternalLink("leaving", "/v")
        file["missing"] = h5py.ExternalLink("later.h5", "/v")
        file["nul"] = h5py.ExternalLink("x" * 5000, "/v")
        file.create_dataset("raw", (1,), "f8", external=[("/etc/passwd", 0, 8)])
        file["v"] = 1
    for asked, what in (
        ("/fifo/v", "/fifo refers to .*fifo: is a FIFO"),
        ("/out", "/out refers to /etc/passwd, outside .* not looked at"),
        ("/up", "/up refers to /etc/passwd, outside .* not looked at"),
        # Would it be looked at, it were missing.
        ("/nowhere", "/nowhere refers to /net/dead/x.h5, outside .* not looked at"),
        ("/leaving", "/leaving refers to .*leads to /etc/passwd, outside"),
        ("/nul", "/nul refers to .*longer than a path may be"),
    ):
        (link,) = reader.read(sealed(path), [asked], links=True).links
        assert isinstance(link.failure, Rejection)
        assert re.search(what, str(link.failure))
    found = reader.read(sealed(path), ["/raw"])
    assert "/raw" not in found.values
    assert "/raw keeps its values in another file" in found.notes["/raw"]
    (link,) = reader.read(sealed(path), ["/missing"], links=True).links
    assert isinstance(link.failure, NotReady)
    assert re.search(r"/missing refers to .*later\.h5: missing", str(link.failure))
    assert reader.read(str(path), ["/v"]).values["/v"].value == 1


def test_external_links_by_either_name_of_a_root(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    path = tmp_path / "real" / "f.nxs"
    with h5py.File(path, "w") as file:
        file["near"] = h5py.ExternalLink("f.nxs", "/")
        file["named"] = h5py.ExternalLink(str(tmp_path / "root" / "f.nxs"), "/")
        file["real"] = h5py.ExternalLink(str(path), "/")
        file["unmounted"] = h5py.ExternalLink(str(tmp_path / "gone" / "x.h5"), "/")
        file["v"] = 1
    sealed(path)
    roots = [tmp_path / "root", tmp_path / "gone"]
    with NexusReader(roots, workers=1) as reader:
        found = reader.read(str(tmp_path / "root" / "f.nxs"), ["/*"], links=True)
    links = {link.at: link for link in found.links}
    for at in ("/near", "/named", "/real"):
        assert links[at].stat == found.stat
    failure = links["/unmounted"].failure
    assert isinstance(failure, DependencyMissing)
    assert "/unmounted refers to" in failure.reason
    assert found.values["/v"].value == 1


def test_announced_things_that_are_no_files(
    reader: NexusReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    listening = subprocess.run(
        [
            sys.executable,
            "-c",
            "import socket; socket.socket(socket.AF_UNIX).bind('socket')",
        ],
        check=True,
    )
    assert listening.returncode == 0
    for name, what in (
        ("fifo", "is a FIFO"),
        ("folder", "is a directory"),
        ("socket", "is a socket"),
        ("loop", "lead in a circle"),
        ("n" * 300, "longer than a path may be"),
    ):
        with pytest.raises(Rejection, match=what):
            reader.read(str(tmp_path / name), ["/v"])
    with NexusReader([Path("/dev")], workers=1) as of_devices:
        with pytest.raises(Rejection, match="is a device"):
            of_devices.read("/dev/zero", ["/v"])


def test_paths_that_lead_out(reader: NexusReader, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(shutil.copy(write_ess_like_at(tmp_path), folder))
        (tmp_path / "link").symlink_to(outside)
        (tmp_path / "folder").symlink_to("/etc")
        for path, what in (
            (tmp_path / "link", f"leads to {outside}, outside"),
            (tmp_path / "folder" / "passwd", "leads to /etc/passwd, outside"),
            (outside, "is outside the allowed folders"),
            (f"{tmp_path}/../../etc/passwd", "holds '..'"),
            ("etc/passwd", "is relative"),
            ("", "is relative"),
            (f"{tmp_path}/a\0b", "holds a NUL"),
            (f"{tmp_path}x/f", "is outside|missing"),
        ):
            with pytest.raises((Rejection, NotReady), match=what):
                reader.read(str(path), [])
        (tmp_path / "inside").symlink_to(tmp_path / "f.hdf")
        found = reader.read(f"/{tmp_path}/.//inside", [])
        assert found.stat.path == str(tmp_path / "f.hdf")


def write_ess_like_at(folder: Path) -> Path:
    return write_ess_like(folder / "f.hdf", proposal="P", run=1).path


@settings(
    max_examples=150,
    deadline=None,
)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["..", ".", "", "etc", "passwd", "tmp", "proc", "self"]),
            st.text(max_size=5),
        ),
        max_size=8,
    ).map("/".join),
    st.booleans(),
)
@example("\udcff", True)
@example("proc/self/root/etc/passwd", False)
def test_no_text_leads_out(
    reader: NexusReader, tmp_path: Path, text: str, inside: bool
) -> None:
    with pytest.raises((Rejection, NotReady)):
        reader.read(f"{tmp_path}/none/{text}" if inside else f"/{text}", [])


def test_missing_file_and_missing_root(tmp_path: Path) -> None:
    root = tmp_path / "mounted"
    with NexusReader([root], workers=1, settle_deadline=7) as reader:
        with pytest.raises(SystemUnavailable, match="is it mounted") as gone:
            reader.read(str(root / "f.nxs"), ["/v"])
        assert gone.value.system == "files"
        with pytest.raises(SystemUnavailable, match="mounted"):
            reader.ping()
        root.mkdir()
        reader.ping()
        with pytest.raises(NotReady, match=r"f\.nxs: missing") as missing:
            reader.read(str(root / "f.nxs"), ["/v"])
        assert missing.value.deadline == 7


def test_one_missing_root_of_several(tmp_path: Path) -> None:
    here, gone = tmp_path / "here", tmp_path / "gone"
    here.mkdir()
    with NexusReader([here, gone], workers=1) as reader:
        with pytest.raises(NotReady):
            reader.read(str(here / "f.nxs"), [])
        with pytest.raises(DependencyMissing, match="is it mounted") as missing:
            reader.read(str(gone / "f.nxs"), [])
        assert missing.value.missing == (f"folder:{gone}",)
        with pytest.raises(DependencyMissing):
            reader.folder(str(gone / "run 7"))
        with pytest.raises(SystemUnavailable, match=str(gone)):
            reader.ping()
        reader.ping_any()
        assert reader.missing_roots() == [str(gone)]
        gone.mkdir()
        reader.ping()
        with pytest.raises(NotReady):
            reader.read(str(gone / "f.nxs"), [])


def test_replaced_or_changed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    rules = Rules(roots=[str(tmp_path)], settle=2, settle_deadline=60)

    def written(text: str) -> None:
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").chmod(0o444)
        (tmp_path / "new").rename(path)

    written("first")
    with hold(str(path), rules) as held:
        held.check_unchanged(rules)
        written("other")
        with held.readable(rules) as name:
            assert Path(name).read_text() == "first"
        with pytest.raises(NotReady, match="replaced or removed"):
            held.check_unchanged(rules)
    with hold(str(path), rules) as held:
        path.chmod(0o644)
        path.write_text("longer than it was")
        with pytest.raises(NotReady, match=r"changed while it was read \(5 to 18"):
            held.check_unchanged(rules)
        path.unlink()
        with pytest.raises(NotReady, match="replaced or removed"):
            held.check_unchanged(rules)


def test_a_file_of_the_future_is_settled_once_it_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ahead.nxs"
    path.write_bytes(b"")
    hour = time.time() + 3600
    os.utime(path, (hour, hour))
    with NexusReader([tmp_path], settle=0.2, workers=1) as reader:
        with pytest.raises(NotReady, match="still writable"):
            reader.read(str(path), [])
        path.write_bytes(b"more")
        os.utime(path, (hour, hour))
        time.sleep(0.3)
        with pytest.raises(NotReady, match="still writable"):
            reader.read(str(path), [])
        time.sleep(0.3)
        reader.read(str(path), [])


def test_settled_by_age_or_by_mode(tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    path.write_text("x")
    with NexusReader([tmp_path], settle=30, workers=1) as reader:
        for age, mode, ready in (
            (0, 0o644, False),
            (0, 0o464, False),
            (0, 0o446, False),
            (0, 0o444, True),
            (29, 0o644, False),
            (40, 0o644, True),
            (-3600, 0o644, False),
            (-3600, 0o444, True),
        ):
            path.chmod(mode)
            os.utime(path, (time.time() - age,) * 2)
            if ready:
                assert reader.read(str(path), []).stat.mode == mode
                continue
            with pytest.raises(NotReady) as early:
                reader.read(str(path), [])
            assert 0 < early.value.retry_in <= 30


@pytest.mark.parametrize("seed", range(4))
def test_bytes_at_random(seed: int, tmp_path: Path) -> None:
    """Whatever is in a file, it is read or it is a failure that is foreseen."""
    rng = random.Random(seed)
    original = write_ess_like_at(tmp_path).read_bytes()
    path = tmp_path / "mutant.hdf"
    asked = ["{entry}/*", "{entry}/*/*", "{entry}/*/*/*", "/@default"]
    outcomes: dict[Any, int] = {}
    reasons: list[str] = []
    with NexusReader([tmp_path], workers=1, deadline=10) as reader:
        for _ in range(60):
            mutant = bytearray(original)
            for _ in range(rng.choice([1, 3, 30])):
                start = rng.randrange(len(mutant))
                mutant[start : start + rng.choice([1, 4])] = rng.randbytes(1)
            path.unlink(missing_ok=True)
            path.write_bytes(mutant)
            try:
                reader.read(sealed(path), asked)
                outcome: Any = "read"
            except Failure as failure:
                reasons.append(failure.reason)
                outcome = type(failure)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert all(str(path) in reason for reason in reasons)
    assert outcomes.get(Rejection, 0) > 5, outcomes
    assert outcomes.get(TransientFailure, 0) < 10, outcomes
