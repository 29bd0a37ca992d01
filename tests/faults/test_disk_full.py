"""What the daemon writes itself cannot be written, and can again.

A limit on the size of the process's files stands for the full disk: it can be put on a
process that runs, and needs no file system of its own.
"""

import json
import re
import signal
import urllib.error
import urllib.request

import pytest

from faults.disturbing import children_of, limit_files
from faults.waiting import wait_until


def limit(daemon, size):
    for pid in (daemon.pid, *children_of(daemon.pid)):
        limit_files(pid, size)


def has_no_journal(log):
    """Whether the daemon says so when it is asked: its log cannot be written."""
    url = re.findall(r"health: (\S+)", log)[-1]
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            page = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            page = json.load(error)
    return page["journal"]["down"] and page["journal"]["lag"] >= 20


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("keeps", [False, True], ids=["journal and log", "messages"])
def test_it_goes_on_by_itself(facility, keeps):
    facility.configure(
        retries={"delays": ["1s", "1s", "1s"]},
        files={"keep_message": {"enabled": keeps}},
        health={"listen": "127.0.0.1:0"},
    )
    log = facility.folder / "own.log"
    daemon = facility.start(ICAT_STREAM_TELEMETRY__LOG_FILE=str(log))
    facility.announce(5)
    wait_until(lambda: facility.done() == 5, "records before anything happens")
    said = log.read_text()
    if keeps:
        # The journal still works: it is the kept messages that cannot be written.
        for pid in children_of(daemon.pid):
            limit_files(pid, 1)
        facility.announce(20)
        wait_until(lambda: "files is unavailable" in log.read_text(), "it notices")
    else:
        limit(daemon, 1)
        facility.announce(20)
        wait_until(lambda: has_no_journal(said), "it notices, and handles them")
    assert daemon.poll() is None
    limit(daemon, None)
    wait_until(lambda: facility.done() == 25, "all is there in the end")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0
    datasets, datafiles = facility.datasets()
    assert len(datasets) == 25
    assert datafiles == (50 if keeps else 25)
    assert max(datasets.values()) == 1
    assert len(facility.read("icat-stream.events")) == 25
    assert facility.read("icat-stream.dead-letters") == []
