"""The data service is away, full, slow, or breaks off in the middle of a file."""

import filecmp
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from icat.ids import DataSelection

from faults.announcing import SOURCE, plain
from faults.outside import kill
from faults.waiting import wait_until
from icat_stream.sandbox.announcer import Announcer, write_files
from plugins.proxy import Proxy


@pytest.fixture
def proxy(two_levels):
    parts = urlsplit(two_levels.endpoints["ids"])
    proxy = Proxy((parts.hostname, parts.port))
    yield proxy
    proxy.close()


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.timeout(900)
def test_each_upload_once_and_whole(two_levels, proxy, tmp_path):
    facility = two_levels
    path = urlsplit(facility.endpoints["ids"]).path
    written = tmp_path / "written"
    facility.configure(
        ids={
            "url": f"http://127.0.0.1:{proxy.port}{path}",
            "mode": "put",
            "timeout": "10s",
        },
        files={"roots": [str(written)], "settle": "300ms"},
        retries={"delays": ["1s", "3s", "10s"]},
    )
    announcer = Announcer(facility.endpoints["kafka"], SOURCE)
    files = write_files(written, layout="both")
    sources: dict[str, Path] = {}

    def announce(count=3):
        for _ in range(count):
            file = next(files)
            sources[plain(file.path)] = file.path
            announcer.announce(file)
        announcer.flush()

    def done():
        return facility.done() >= len(sources)

    def said(text):
        return text in (facility.folder / "daemon.log").read_text()

    daemon = facility.start()
    announce()
    wait_until(done, "uploads before anything happens")

    proxy.set("refuse")
    announce()
    wait_until(
        lambda: said("pausing, ids is unavailable"), "it notices that IDS is off"
    )
    proxy.set("full")
    wait_until(lambda: said("No space left on device"), "it notices that IDS is full")
    for mode in ("cut", "no answer"):
        announce()
        proxy.set(mode)
        wait_until(lambda: proxy.hits > 3, f"uploads in mode {mode}")
    proxy.set("slow")
    announce()
    hits = proxy.hits
    wait_until(lambda: proxy.hits > hits, "a slow upload has begun")
    kill(daemon)
    daemon = facility.start()
    proxy.set("pass")
    announce()
    wait_until(done, "all is there in the end")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0

    assert facility.run_until_end()["deferred"] == 0
    assert len(facility.read("icat-stream.events")) == len(sources)
    assert facility.read("icat-stream.dead-letters") == []
    check(facility, sources, tmp_path)


def check(facility, sources, folder):
    client = facility.client(ids=True)
    datasets = client.search("SELECT d FROM Dataset d INCLUDE d.datafiles")
    assert {plain(d.name) for d in datasets} == set(sources)
    assert len(datasets) == len(sources)
    for dataset in datasets:
        assert dataset.complete, dataset.name
        (datafile,) = dataset.datafiles
        found = folder / "found"
        with client.getData(DataSelection([datafile])) as data:
            found.write_bytes(data.read())
        source = sources[plain(dataset.name)]
        assert filecmp.cmp(found, source, shallow=False), dataset.name
    client.logout()
    archive = facility.folder / "archive"

    def archived():
        return sum(path.is_file() for path in archive.rglob("*")) >= len(sources)

    wait_until(archived, "a copy of each in the archive")
