"""A mounted folder does not answer, and who reads it hangs in the kernel."""

import signal
from dataclasses import replace

import pytest

from faults.announcing import plain
from faults.stalling import mirrored
from faults.waiting import wait_until
from icat_stream.sandbox.announcer import Announcer, write_files


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.timeout(900)
def test_others_go_on_and_nothing_is_lost(facility):
    local = facility.folder / "data"
    remote, mounted = facility.folder / "remote", local / "mounted"
    remote.mkdir()
    facility.configure(
        files={
            "path_map": {str(remote): str(mounted)},
            "deadline": "2s",
            # One record tries so often in about half a minute.
            "max_stuck": 8,
        },
        retries={"delays": ["1s", "3s", "10s"]},
    )
    announcer = Announcer(facility.endpoints["kafka"])
    files = write_files(local, layout="both")
    names = []

    def announce(folder):
        written = next(files)
        names.append(plain(written.path))
        if folder is remote:
            path = remote / written.path.relative_to(local)
            path.parent.mkdir(parents=True, exist_ok=True)
            written = replace(written, path=written.path.rename(path))
        announcer.announce(written)
        announcer.flush()
        return names[-1]

    def taken_in():
        return sorted(plain(name) for name in facility.datasets()[0].elements())

    def said(text):
        return text in (facility.folder / "daemon.log").read_text()

    with mirrored(remote, mounted) as mirror:
        daemon = facility.start()
        announce(local)
        announce(remote)
        wait_until(lambda: taken_in() == sorted(names), "files before it stalls")

        mirror.stall()
        announce(remote)
        wait_until(lambda: said("abandoned"), "nobody waits for the one that hangs")
        others = {announce(local) for _ in range(3)}
        wait_until(lambda: others <= set(taken_in()), "the others go on")
        assert mirror.stalled > 0
        announce(remote)
        wait_until(lambda: said("hang in the kernel"), "too many hang")
        assert daemon.poll() is None
        mirror.answer()
        wait_until(lambda: taken_in() == sorted(names), "all once it answers")

        mirror.stall()
        announce(remote)
        wait_until(lambda: mirror.stalled > 0, "one hangs again")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
        mirror.answer()
        facility.run_until_end()
    assert taken_in() == sorted(names)
    assert len(facility.read("icat-stream.events")) == len(names)
    assert facility.read("icat-stream.dead-letters") == []
