"""The processes: warm, several, killed, stalled, abandoned, ended."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import h5py
import pytest

from icat_stream.nexus import NexusReader, child_pipe
from icat_stream.nexus.pool import Child, ChildPool
from icat_stream.records import FileContent, SystemUnavailable, TransientFailure

PROBE = child_pipe.pack({"do": "probe", "lifetime": 60.0})
# No root is missing, of none.
ANSWER = {"missing": []}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as made:
        made["v"] = 1
    path.chmod(0o444)
    return str(path)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Freeze a process, as a mount that does not answer freezes it."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state(pid) == "T")
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def state(pid: int) -> str:
    """One letter, or nothing for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.rpartition(")")[2].split()[0]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


def test_threads_share_the_processes(tmp_path: Path, file: str) -> None:
    with NexusReader([tmp_path], workers=2) as reader:

        def read(_: int) -> object:
            return reader.read(file, ["/v"]).values["/v"].value

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(read, range(200))) == [1] * 200
        assert 1 <= len(reader.pids) <= 2


def test_processes_start_when_needed_or_when_told(tmp_path: Path, file: str) -> None:
    with NexusReader([tmp_path], workers=3) as reader:
        assert reader.pids == frozenset()
        reader.start()
        started = reader.pids
        assert len(started) == 1
        reader.start()
        reader.read(file, ["/v"])
        reader.read(file, ["/v"])
        assert reader.pids == started
        (first,) = started
        with ThreadPoolExecutor(2) as threads:
            with stopped(first):
                # Whoever would have to wait gets one more.
                answers = [threads.submit(reader.read, file, ["/v"]) for _ in range(2)]
                until(lambda: any(answer.done() for answer in answers))
            assert [a.result().values["/v"].value for a in answers] == [1, 1]
        started = reader.pids
        assert len(started) == 2
    assert reader.pids == frozenset()
    assert [state(pid) for pid in started] == ["", ""]


def test_killed_while_reading(tmp_path: Path, file: str) -> None:
    with (
        NexusReader([tmp_path], workers=1) as reader,
        ThreadPoolExecutor(1) as thread,
    ):
        reader.read(file, ["/v"])
        (pid,) = reader.pids
        with stopped(pid):
            answer: Future[FileContent] = thread.submit(reader.read, file, ["/v"])
            time.sleep(0.1)
            assert not answer.done()
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(TransientFailure, match=r"f\.nxs: .*signal 9"):
                answer.result(20)
        assert reader.read(file, ["/v"]).values["/v"].value == 1
        assert reader.pids != {pid}


def test_killed_while_idle_is_not_noticed(tmp_path: Path, file: str) -> None:
    with NexusReader([tmp_path], workers=1) as reader:
        reader.read(file, ["/v"])
        (pid,) = reader.pids
        os.kill(pid, signal.SIGKILL)
        until(lambda: state(pid) in ("Z", ""))
        assert reader.read(file, ["/v"]).values


def test_deadline(tmp_path: Path, file: str) -> None:
    with NexusReader([tmp_path], workers=1, deadline=5.0) as reader:
        reader.read(file, ["/v"])
        (pid,) = reader.pids
        with stopped(pid):
            with pytest.raises(TransientFailure, match=r"within 5 s.*ended"):
                reader.read(file, ["/v"])
            assert state(pid) == ""
        assert reader.read(file, ["/v"]).values


def test_large_request_to_a_stalled_process(tmp_path: Path, file: str) -> None:
    """More than a pipe holds does not block the caller for ever."""
    with NexusReader([tmp_path], workers=1, deadline=5.0) as reader:
        paths = [f"/{'x' * 90}{number}" for number in range(5000)]
        assert reader.read(file, paths).values == {}
        with stopped(*reader.pids):
            with pytest.raises(TransientFailure, match="not read within"):
                reader.read(file, paths)


class Telling(Child):
    """Says whom it serves."""

    def ask(self, frame: bytes, *, deadline: float) -> dict[str, object]:
        served.append(frame)
        return super().ask(frame, deadline=deadline)


served: list[bytes] = []


def test_each_waits_its_turn_for_as_long_as_it_takes(tmp_path: Path) -> None:
    """The deadline is that of a reading, not of the many before it."""
    served.clear()
    with (
        ChildPool(lambda: Telling(settings(tmp_path)), size=1, max_stuck=1) as pool,
        ThreadPoolExecutor(64) as threads,
    ):
        pool.ask(probe(-1), deadline=20)
        with stopped(*pool.pids):
            first = threads.submit(pool.ask, probe(0), deadline=20)
            until(lambda: served == [probe(-1), probe(0)])
            others = []
            for number in range(1, 64):
                others.append(threads.submit(pool.ask, probe(number), deadline=1))
                until(lambda: len(pool._turns) == len(others))
            time.sleep(1.2)
            assert not any(other.done() for other in others)
        assert first.result(20) == ANSWER
        assert [other.result(20) for other in others] == [ANSWER] * 63
    assert served == [probe(number) for number in range(-1, 64)]


def probe(name: int) -> bytes:
    return child_pipe.pack({"do": "probe", "lifetime": 60.0, "name": name})


def test_checksums_keep_nobody_from_reading(tmp_path: Path, file: str) -> None:
    with (
        NexusReader([tmp_path], workers=1) as reader,
        ThreadPoolExecutor(1) as thread,
    ):
        reader.start()
        stat = reader.read(file, []).stat
        reading = reader.pids
        expected = reader.checksum(stat, "sha256")
        (hashing,) = reader.pids - reading
        with stopped(hashing):
            checksum = thread.submit(reader.checksum, stat, "sha256")
            assert reader.read(file, ["/v"]).values["/v"].value == 1
            assert not checksum.done()
        assert checksum.result(20) == expected
    assert state(hashing) == ""


def settings(root: Path) -> dict[str, object]:
    return {
        "rules": {"roots": [str(root)], "settle": 2, "settle_deadline": 60},
        "limits": {},
        "path_map": {},
    }


def test_a_request_outlives_a_killed_parent_for_a_while_only(tmp_path: Path) -> None:
    """What ends it is its own timer, as nobody else is left."""
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 2**30)
    path.chmod(0o444)
    request = {
        "do": "checksum",
        "path": str(path),
        "size": 2**30,
        "mtime_ns": path.stat().st_mtime_ns,
        "algorithm": "sha256",
        "lifetime": 0.05,
    }
    child = Child(settings(tmp_path))
    with pytest.raises(child_pipe.PipeClosed):
        child.ask(child_pipe.pack(request), deadline=20)
    assert child.last_words() == f"signal {int(signal.SIGALRM)}"
    assert child.end()


def test_who_gives_signs_of_life_may_take_longer_than_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow"
    slow.write_text(
        f"#!{sys.executable}\n"
        "import time\n"
        "from icat_stream.nexus import child_pipe\n"
        "child_pipe.receive(0)\n"
        "child_pipe.send(1, child_pipe.pack({'ready': 0}))\n"
        "child_pipe.receive(0)\n"
        "for _ in range(10):\n"
        "    time.sleep(0.5)\n"
        "    child_pipe.send(1, child_pipe.pack({'alive': True}))\n"
        "child_pipe.send(1, child_pipe.pack({'checksum': 'done'}))\n"
        "child_pipe.receive(0)\n"
    )
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    child = Child(settings(tmp_path))
    assert child.ask(PROBE, deadline=4) == {"checksum": "done"}
    assert child.end()


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """One of 1 TB, so that its checksum is never done."""
    path = tmp_path / "endless"
    path.touch()
    os.truncate(path, 10**12)
    path.chmod(0o444)
    return path


def reading(pid: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(entry) == str(path):
                    return True
    return False


def test_a_checksum_that_stalls_is_given_up(tmp_path: Path, endless: Path) -> None:
    with (
        NexusReader([tmp_path], workers=1, deadline=4) as reader,
        ThreadPoolExecutor(1) as thread,
    ):
        stat = reader.read(str(endless), []).stat
        known = reader.pids
        checksum = thread.submit(reader.checksum, stat, "sha256")
        until(lambda: bool(reader.pids - known))
        (pid,) = reader.pids - known
        until(lambda: reading(pid, endless))
        with stopped(pid):
            with pytest.raises(TransientFailure, match=r"endless: not read within"):
                checksum.result(30)
            assert state(pid) == ""


def test_what_is_uploaded_from_a_file_that_stalls_is_given_up(
    tmp_path: Path, endless: Path
) -> None:
    with NexusReader([tmp_path], workers=1, deadline=4) as reader:
        stat = reader.read(str(endless), []).stat
        known = reader.pids
        content = reader.content(stat)
        assert not any(next(content))
        (pid,) = reader.pids - known
        with stopped(pid):
            # What it has sent already still comes.
            with pytest.raises(TransientFailure, match=r"endless: not read within"):
                for _ in content:
                    pass
            assert state(pid) == ""


def test_content_that_nobody_wants_any_more_ends_its_process(
    tmp_path: Path, endless: Path
) -> None:
    with NexusReader([tmp_path], workers=1) as reader:
        stat = reader.read(str(endless), []).stat
        known = reader.pids
        content = reader.content(stat)
        next(content)
        content.close()
        assert reader.pids == known
        next(reader.content(stat))


def test_closing_ends_a_checksum(tmp_path: Path, endless: Path) -> None:
    reader = NexusReader([tmp_path], workers=1)
    stat = reader.read(str(endless), []).stat
    known = reader.pids
    with ThreadPoolExecutor(2) as threads:
        answers = [
            threads.submit(reader.checksum, stat, name)
            for name in ("sha256", "xxh3_64")
        ]
        until(lambda: bool(reader.pids - known))
        (pid,) = reader.pids - known
        until(lambda: reading(pid, endless))
        reader.close()
        for answer in answers:
            with pytest.raises(TransientFailure):
                answer.result(20)
    until(lambda: state(pid) == "")


def test_a_checksum_ends_with_its_parent(tmp_path: Path, endless: Path) -> None:
    script = (
        "import sys, pathlib, threading, icat_stream.nexus as n\n"
        "reader = n.NexusReader([pathlib.Path(sys.argv[1])], deadline=3600)\n"
        "stat = reader.read(sys.argv[2], []).stat\n"
        "known = reader.pids\n"
        "work = threading.Thread(target=reader.checksum, args=(stat, 'sha256'))\n"
        "work.start()\n"
        "while reader.pids == known: pass\n"
        "print(*(reader.pids - known), flush=True)\n"
        "work.join()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(endless)],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        until(lambda: reading(pid, endless))
        parent.kill()
    until(lambda: state(pid) not in ("R", "S", "D"))


class Unkillable(Child):
    """Stands for a process that sits in the kernel: SIGKILL takes no effect yet."""

    def kill(self) -> None:
        pass


def test_stuck_processes_are_abandoned_up_to_a_number(tmp_path: Path) -> None:
    with ChildPool(lambda: Unkillable(settings(tmp_path)), size=2, max_stuck=1) as pool:
        assert pool.ask(PROBE, deadline=20) == ANSWER
        (pid,) = pool.pids
        with stopped(pid):
            with pytest.raises(TransientFailure, match="abandoned"):
                pool.ask(PROBE, deadline=0.1)
            with pytest.raises(SystemUnavailable, match=rf"pid {pid}\b") as down:
                pool.ask(PROBE, deadline=0.1)
            assert down.value.system == "files"
            assert pool.pids == {pid}
            os.kill(pid, signal.SIGKILL)  # the mount answers again
            until(lambda: state(pid) in ("Z", ""))
        assert pool.ask(PROBE, deadline=20) == ANSWER
        assert pid not in pool.pids


class Leaking(Child):
    """Has memory for one request only."""

    def ask(self, frame: bytes, *, deadline: float) -> dict[str, object]:
        answer = super().ask(frame, deadline=deadline)
        return answer | {"out_of_memory": True} if self.served > 1 else answer


def test_what_does_not_fit_any_more_fits_a_fresh_process(tmp_path: Path) -> None:
    with ChildPool(lambda: Leaking(settings(tmp_path)), size=1, max_stuck=1) as pool:
        assert pool.ask(PROBE, deadline=20) == ANSWER
        before = pool.pids
        assert pool.ask(PROBE, deadline=20) == ANSWER
        assert pool.pids.isdisjoint(before)
        assert len(pool.pids) == 1


def test_closing_ends_what_is_under_way(tmp_path: Path, file: str) -> None:
    reader = NexusReader([tmp_path], workers=1)
    reader.read(file, ["/v"])
    (pid,) = reader.pids
    with stopped(pid), ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(reader.read, file, ["/v"]) for _ in range(2)]
        time.sleep(0.1)
        reader.close()
        for answer in answers:
            with pytest.raises(TransientFailure):
                answer.result(20)
    until(lambda: state(pid) == "")
    with pytest.raises(TransientFailure, match="stopping"):
        reader.read(file, ["/v"])
    reader.close()


def test_signals_meant_for_the_parent_are_ignored(tmp_path: Path, file: str) -> None:
    with NexusReader([tmp_path], workers=1) as reader:
        reader.read(file, ["/v"])
        (pid,) = reader.pids
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        assert reader.read(file, ["/v"]).values
        assert reader.pids == {pid}
        # Ctrl-C goes to the terminal's process group, which it is not in.
        assert os.getpgid(pid) != os.getpgid(0)


def test_processes_inherit_nothing(tmp_path: Path, file: str) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        with NexusReader([tmp_path], workers=1) as reader:
            reader.read(file, ["/v"])
            folder = Path(f"/proc/{next(iter(reader.pids))}/fd")
            open_files = {os.readlink(entry) for entry in folder.iterdir()}
    finally:
        ours = os.readlink(f"/proc/self/fd/{writing}")
        os.close(reading)
        os.close(writing)
    assert ours not in open_files
    assert not any("socket" in name or "f.nxs" in name for name in open_files)


def test_they_end_with_their_parent(tmp_path: Path, file: str) -> None:
    script = (
        "import sys, pathlib, icat_stream.nexus as n\n"
        "reader = n.NexusReader([pathlib.Path(sys.argv[1])])\n"
        "stat = reader.read(sys.argv[2], ['/v']).stat\n"
        "reader.checksum(stat, 'sha256')\n"
        "print(*reader.pids, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    until(lambda: not any(state(pid) in ("R", "S", "D") for pid in pids))


def test_a_process_that_cannot_start(
    tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with NexusReader([tmp_path], workers=1) as reader:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(SystemUnavailable, match=r"not start \(exit code 1"):
            reader.read(file, ["/v"])
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(SystemUnavailable, match="cannot start a process"):
            reader.read(file, ["/v"])
        monkeypatch.undo()
        assert reader.read(file, ["/v"]).values


def test_importing_the_room_imports_no_hdf5() -> None:
    script = (
        "import sys, icat_stream.nexus, icat_stream.sandbox.samples\n"
        "sys.exit(any(name in sys.modules for name in ('h5py', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_misuse_is_told_at_once(tmp_path: Path, file: str) -> None:
    for roots in ([], [Path("relative")]):
        with pytest.raises(ValueError, match="expected absolute folders"):
            NexusReader(roots)
    with NexusReader([tmp_path]) as reader:
        with pytest.raises(ValueError, match="20000 paths asked for"):
            reader.read(file, [str(number) for number in range(20_000)])
        assert reader.pids == frozenset()


def test_waiting_threads_all_hear_of_the_end(tmp_path: Path, file: str) -> None:
    reader = NexusReader([tmp_path], workers=1, deadline=30)
    reader.read(file, ["/v"])
    with stopped(*reader.pids), ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(reader.read, file, ["/v"]) for _ in range(6)]
        threading.Timer(0.1, reader.close).start()
        failures = [answer.exception(20) for answer in answers]
    assert all(isinstance(failure, TransientFailure) for failure in failures)
