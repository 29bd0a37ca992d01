"""Two levels with datasets as units: the rows of the table of observed behaviour."""

import json
import os
import socket
import threading
import time
import urllib.parse
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import icat
import pytest
from icat.ids import DataSelection

from .conftest import Site
from .two_levels import Service, refused, service, until

pytestmark = pytest.mark.facility
RESTORE_FIRST = (
    "Before putting, getting or deleting a datafile, its dataset has to be restored,"
    " restoration requested automatically"
)


@pytest.fixture(scope="module")
def two(site: Site) -> Iterator[Service]:
    with service(site, "two") as made:
        yield made


@pytest.fixture(scope="module")
def slow(site: Site) -> Iterator[Service]:
    """Whose queue never moves."""
    queue = {"interval": "1h", "write_delay": "1h"}
    with service(site, "slow", queue=queue) as made:
        yield made


def base(two: Service, dataset: Any) -> str:
    return f"ids/EXAMPLE/240815/1/{dataset.name.replace(' ', '+')}"


def label(two: Service, dataset: Any) -> str:
    investigation = two.site.client.search("Investigation")[0]
    names = f"EXAMPLE/240815/1/{dataset.name}"
    return f"{investigation.id}/{dataset.id} ({names})"


def test_row_1_a_put_is_online_and_written_later(two: Service, slow: Service) -> None:
    assert two.ids.isTwoLevel()
    dataset = slow.dataset("waiting ü")
    assert slow.status(dataset) == "ONLINE"
    slow.put(dataset, "a.txt")
    queued = {"data": label(slow, dataset), "request": "WRITE_REQUESTED"}
    assert queued in slow.service_status()["opsQueue"]
    assert slow.status(dataset) == "ONLINE"

    dataset = two.dataset("written ü")
    two.put(dataset, "a.txt", b"a" * 3000)
    two.put(dataset, "sub/dir/b ü.txt", b"b")
    two.idle()
    assert two.status(dataset) == "ONLINE"
    folder = base(two, dataset).replace("ü", "%C3%BC")
    assert two.entries(dataset) == {
        f"{folder}/a.txt": b"a" * 3000,
        f"{folder}/sub/dir/b ü.txt": b"b",
    }


def test_row_1_each_put_puts_the_write_off(site: Site) -> None:
    queue = {"interval": 0.05, "write_delay": 1}
    with service(site, "patient", queue=queue) as patient:
        dataset = patient.dataset("d")
        begin = time.monotonic()
        while time.monotonic() < begin + 1.5:
            patient.put(dataset, f"{time.monotonic()}")
            assert not patient.zip(dataset).exists()
        patient.idle()
        assert patient.zip(dataset).exists()


def test_row_2_archived_at_once_but_gone_later(two: Service, slow: Service) -> None:
    dataset = slow.dataset("archived")
    file = slow.put(dataset, "a")
    slow.ids.archive(DataSelection([dataset]))
    assert slow.status(dataset) == "ARCHIVED"
    assert slow.here(file)
    status, answer = slow.call("GET", "getData", datafileIds=file)
    assert (status, answer["code"]) == (503, "DataNotOnlineException")
    assert answer["message"] == RESTORE_FIRST
    slow.ids.archive(DataSelection([dataset]))
    assert refused(lambda: slow.put(dataset, "b")) == RESTORE_FIRST

    with two.investigation() as whole:
        dataset, files = two.offline("gone", whole, a=b"a", b=b"b")
        selection = DataSelection([dataset])
        assert two.ids.getStatus(selection) == "ARCHIVED"
        few = DataSelection({"datafileIds": files[:1]})
        assert two.ids.getStatus(few) == "ARCHIVED"
        assert two.ids.getStatus(DataSelection([whole])) == "ARCHIVED"
        assert two.ids.getSize(selection) == 2


@pytest.mark.parametrize("call", ["getData", "put", "delete", "getLink"])
def test_row_3_access_to_offline_data_restores_it(two: Service, call: str) -> None:
    dataset, [file] = two.offline(f"row 3 {call}")
    chosen = DataSelection({"datafileIds": [file]})
    calls = {
        "getData": lambda: two.ids.getData(chosen),
        "put": lambda: two.put(dataset, "b"),
        "delete": lambda: two.ids.delete(chosen),
        "getLink": lambda: two.ids.getLink(file, "root"),
    }
    message = refused(calls[call])
    assert message.endswith("restoration requested automatically")
    assert message.startswith("Before linking" if call == "getLink" else "Before put")
    until(lambda: two.status(dataset) == "ONLINE")
    assert two.get(datafileIds=file) == b"a"
    found = two.site.client.search(f"Datafile <-> Dataset [id={dataset.id}]")
    assert [f.name for f in found] == ["a"]
    calls[call]()


def test_row_3_restoring_at_once_and_write_refused(slow: Service) -> None:
    dataset, [file] = slow.registered("row 3", a=b"a")
    (slow.main / slow.location(file)).unlink()
    assert slow.status(dataset) == "ARCHIVED"
    status, answer = slow.call("POST", "write", datasetIds=dataset.id)
    assert (status, answer["message"]) == (
        503,
        "Requested data is not online, write request refused",
    )
    assert slow.queued(dataset) == []
    assert refused(lambda: slow.ids.getData(DataSelection([dataset]))) == RESTORE_FIRST
    assert slow.queued(dataset) == ["RESTORE_REQUESTED"]
    assert slow.status(dataset) == "RESTORING"
    assert refused(lambda: slow.ids.getData(DataSelection([dataset]))) == RESTORE_FIRST


def test_row_3_half_a_restore_is_not_given_up_for_a_write(slow: Service) -> None:
    dataset, [_, lost] = slow.registered("row 3, half", a=b"a", b=b"b")
    (slow.main / slow.location(lost)).unlink()
    slow.ids.restore(DataSelection([dataset]))
    assert "write request refused" in refused(
        lambda: slow.ids.write(DataSelection([dataset]))
    )
    assert slow.queued(dataset) == ["RESTORE_REQUESTED"]


def test_row_4_restore_of_what_is_online_does_nothing(slow: Service) -> None:
    dataset, [file] = slow.registered("row 4", a=b"a")
    empty = slow.dataset("row 4, empty")
    slow.ids.restore(DataSelection([dataset, empty]))
    assert slow.queued(dataset) == slow.queued(empty) == []
    assert slow.status(dataset, empty) == "ONLINE"
    assert slow.get(datafileIds=file) == b"a"


def test_row_5_prepared_data_is_got_online(two: Service) -> None:
    dataset, files = two.offline("row 5", a=b"a", b=b"bb")
    id_ = two.ids.prepareData(DataSelection([dataset]))
    assert two.call("GET", "getSize", preparedId=id_, sessionId=None) == (200, b"3")
    until(lambda: two.ids.isPrepared(id_))
    content = two.get(preparedId=id_, sessionId=None)
    assert content[:2] == b"PK"
    two.archive(dataset)
    # Asking is enough to get it online again.
    assert not two.ids.isPrepared(id_)
    until(lambda: two.ids.isPrepared(id_))
    two.archive(dataset)
    status, answer = two.call("GET", "getData", preparedId=id_, sessionId=None)
    assert (status, answer["message"]) == (503, RESTORE_FIRST)
    until(lambda: two.status(dataset) == "ONLINE")
    again = two.ids.prepareData(DataSelection([dataset]))
    assert two.ids.isPrepared(again)
    status, answer = two.call("GET", "getDatafileIds", preparedId=again)
    found = json.loads(answer)
    assert (found["zip"], found["compress"]) == (True, False)
    assert sorted(found["ids"]) == sorted(files)


def test_row_5_being_prepared(slow: Service) -> None:
    dataset, [file] = slow.registered("row 5", a=b"a")
    (slow.main / slow.location(file)).unlink()
    id_ = slow.ids.prepareData(DataSelection([dataset]))
    assert slow.queued(dataset) == ["RESTORE_REQUESTED"]
    assert not slow.ids.isPrepared(id_)
    assert slow.call("GET", "getStatus", preparedId=id_) == (200, b"RESTORING")


def test_row_6_service_status(slow: Service) -> None:
    dataset = slow.dataset("row 6")
    slow.put(dataset, "a")
    found = slow.service_status()
    assert set(found) == {"opsQueue", "lockCount", "locks", "failures"}
    assert {"data": label(slow, dataset), "request": "WRITE_REQUESTED"} in found[
        "opsQueue"
    ]
    session = slow.site.login("db", "jdoe").sessionId
    status, answer = slow.call("GET", "getServiceStatus", sessionId=session)
    assert (status, answer["message"]) == (
        403,
        "db/jdoe is not included in the ids rootUserNames set.",
    )
    prefix = "class org.icatproject.IcatException_Exception "
    for wrong, message in (
        (None, "Session Id cannot be null or empty."),
        ("abc", "Unable to find user by sessionid: abc"),
    ):
        status, answer = slow.call("GET", "getServiceStatus", sessionId=wrong)
        assert (status, answer["message"]) == (403, prefix + message)


@pytest.mark.parametrize(
    ("calls", "request_", "status"),
    [
        ("archive restore", "RESTORE", "RESTORING"),
        ("archive archive", "ARCHIVE", "ARCHIVED"),
        ("archive write", "WRITE_THEN_ARCHIVE", "ARCHIVED"),
        ("write restore", "WRITE", "ONLINE"),
        ("write archive restore", "WRITE", "ONLINE"),
        ("write archive", "WRITE_THEN_ARCHIVE", "ARCHIVED"),
        ("archive restore archive", "ARCHIVE", "ARCHIVED"),
        ("archive restore write", "WRITE", "ONLINE"),
        ("write write", "WRITE", "ONLINE"),
        ("archive write write archive", "WRITE_THEN_ARCHIVE", "ARCHIVED"),
    ],
)
def test_row_7_requests_merge(
    slow: Service, calls: str, request_: str, status: str
) -> None:
    dataset, _ = slow.registered(f"row 7 {calls}", a=b"a")
    for call in calls.split():
        getattr(slow.ids, call)(DataSelection([dataset]))
    assert slow.queued(dataset) == [f"{request_}_REQUESTED"]
    assert slow.status(dataset) == status


def test_row_7_written_and_then_archived(two: Service) -> None:
    dataset, [file] = two.registered("row 7", a=b"a")
    two.archive(dataset)
    # Nobody had written it before: that is done first, or it would be lost.
    assert not two.here(file)
    assert two.entries(dataset) == {f"{base(two, dataset)}/a": b"a"}


@pytest.mark.parametrize("call", ["archive", "restore", "write", "reset"])
def test_row_8_who_may_and_what_is_refused(slow: Service, call: str) -> None:
    dataset, _ = slow.registered(f"row 8 {call}", a=b"a")
    nobody = slow.site.login("db", "jdoe").sessionId
    stranger = str(uuid.uuid4())
    for parameters, status, message in (
        ({}, 204, ""),
        ({"datasetIds": 987654321}, 404, "Dataset[id:987654321] not found."),
        ({"datasetIds": "abc"}, 400, "The datasetIds parameter 'abc' is not a valid"),
        ({"datasetIds": dataset.id, "sessionId": stranger}, 403, "Unable to find user"),
        ({"datasetIds": dataset.id, "sessionId": "abc"}, 400, "'abc' is not a valid"),
        ({"datasetIds": dataset.id, "sessionId": None}, 400, "'null' is not a valid"),
        (
            {"datasetIds": dataset.id, "sessionId": nobody},
            403,
            "READ access to this Dataset is not allowed.",
        ),
        ({"datasetIds": dataset.id}, 204, ""),
    ):
        found, answer = slow.call("POST", call, **parameters)
        assert found == status
        assert message in (answer["message"] if answer else "")
    assert slow.call("GET", call, datasetIds=dataset.id)[0] == 501


def failed(two: Service, name: str) -> tuple[Any, int]:
    """Return a dataset whose restore failed, and its datafile."""
    dataset, [file] = two.offline(name)
    two.zip(dataset).rename(two.zip(dataset).with_suffix(".away"))
    two.ids.restore(DataSelection([dataset]))
    until(lambda: dataset.id in two.service_status()["failures"])
    return dataset, file


def bring_back(two: Service, dataset: Any) -> None:
    two.zip(dataset).with_suffix(".away").rename(two.zip(dataset))


def test_row_9_a_failed_restore_is_told_until_it_is_reset(two: Service) -> None:
    dataset, file = failed(two, "row 9")
    try:
        investigation = two.site.client.search("Investigation")[0]
        for chosen in (
            {"datasetIds": dataset.id},
            {"datafileIds": file},
            {"investigationIds": investigation.id},
        ):
            status, answer = two.call("GET", "getStatus", **chosen)
            assert (status, answer) == (
                500,
                {"code": "InternalException", "message": "Restore failed"},
            )
        assert two.ids.getSize(DataSelection([dataset])) == 1
        id_ = two.ids.prepareData(DataSelection([dataset]))
        until(lambda: two.call("GET", "isPrepared", preparedId=id_)[0] == 500)
        status, answer = two.call("GET", "isPrepared", preparedId=id_)
        assert answer["message"] == "Restore failed"
        assert two.call("GET", "getData", datafileIds=file)[0] == 503
        two.idle()
    finally:
        bring_back(two, dataset)
    assert two.call("GET", "isPrepared", preparedId=id_)[0] == 500
    assert two.call("POST", "reset", preparedId=id_)[0] == 204
    assert dataset.id not in two.service_status()["failures"]
    until(lambda: two.call("GET", "isPrepared", preparedId=id_) == (200, b"true"))
    assert two.get(datafileIds=file) == b"a"


def test_row_9_a_good_restore_clears_the_flag(two: Service) -> None:
    dataset, file = failed(two, "row 9, good")
    bring_back(two, dataset)
    two.ids.restore(DataSelection([dataset]))
    until(lambda: dataset.id not in two.service_status()["failures"])
    assert two.get(datafileIds=file) == b"a"


def change(two: Service, dataset: Any, how: str, file: int) -> None:
    path = two.zip(dataset)
    entries = two.entries(dataset)
    if how == "garbage":
        path.write_bytes(b"no zip at all" * 100)
        return
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-30])
        return
    if how == "a flipped bit":
        content = bytearray(path.read_bytes())
        content[content.index(b"STORED")] ^= 1
        path.write_bytes(content)
        return
    name = next(iter(entries))
    if how == "other content":
        entries[name] = b"OTHERS"
    elif how == "missing":
        del entries[name]
    elif how == "spurious":
        entries[name + "2"] = b"x"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)


@pytest.fixture(scope="module")
def plain(site: Site) -> Iterator[Service]:
    """Whose zips are not compressed, so that tests find the bytes in them."""
    with service(site, "plain", compress_archive=False) as made:
        yield made


@pytest.mark.parametrize(
    "how",
    ["garbage", "truncated", "a flipped bit", "other content", "missing", "spurious"],
)
def test_row_10_a_restore_checks_names_sizes_and_checksums(
    plain: Service, how: str
) -> None:
    dataset, [file] = plain.offline(f"row 10 {how}", a=b"STORED")
    change(plain, dataset, how, file)
    plain.ids.restore(DataSelection([dataset]))
    until(lambda: dataset.id in plain.service_status()["failures"])
    assert not plain.here(file)
    assert not any((plain.main / ".incoming").iterdir())


def test_row_10_a_renamed_dataset_is_restored(two: Service) -> None:
    dataset, [file] = two.offline("row 10, old name")
    dataset.name = "row 10, new name"
    dataset.update()
    refused(lambda: two.ids.getData(DataSelection([dataset])))
    until(lambda: two.status(dataset) == "ONLINE")
    assert two.get(datafileIds=file) == b"a"


def test_row_11_a_failed_write_is_flagged(two: Service) -> None:
    dataset = two.dataset("row 11")
    blocked = two.zip(dataset)
    (blocked / "in the way").mkdir(parents=True)
    file = two.put(dataset, "a", b"a")
    until(lambda: dataset.id in two.service_status()["failures"])
    assert two.queued(dataset) == []
    assert two.status(dataset) == "ONLINE"
    assert two.get(datafileIds=file) == b"a"
    # To archive it now would lose it: it is written first, which fails again.
    two.archive(dataset)
    assert two.here(file)
    (blocked / "in the way").rmdir()
    blocked.rmdir()
    two.ids.reset(DataSelection([dataset]))
    until(lambda: blocked.is_file())
    two.idle()
    assert dataset.id not in two.service_status()["failures"]
    two.archive(dataset)
    assert not two.here(file)


def test_row_11_a_write_never_ruins_the_copy(two: Service) -> None:
    dataset = two.dataset("row 11, copy")
    gone, kept = (two.put(dataset, n, n.encode()) for n in "ab")
    two.idle()
    before = two.entries(dataset)
    path = two.main / two.location(gone)
    content = path.read_bytes()
    path.unlink()
    assert two.status(dataset) == "ONLINE"
    assert two.get(datafileIds=kept) == b"b"
    two.ids.write(DataSelection([dataset]))
    until(lambda: dataset.id in two.service_status()["failures"])
    assert two.entries(dataset) == before
    path.write_bytes(b"!" * len(content))
    two.ids.reset(DataSelection([dataset]))
    two.idle()
    assert dataset.id in two.service_status()["failures"]
    assert two.entries(dataset) == before


def test_row_12_delete_rewrites_the_zip(two: Service) -> None:
    dataset = two.dataset("row 12")
    first, second = (two.put(dataset, n, n.encode()) for n in "ab")
    two.idle()
    two.ids.delete(DataSelection({"datafileIds": [first]}))
    two.idle()
    assert list(two.entries(dataset)) == [f"{base(two, dataset)}/b"]
    two.ids.delete(DataSelection({"datafileIds": [second]}))
    two.idle()
    assert not two.zip(dataset).exists()
    assert two.status(dataset) == "ONLINE"


class SlowReader:
    """Reads the head of an answer and then stands still."""

    def __init__(self, two: Service, **parameters: Any) -> None:
        parts = urllib.parse.urlsplit(two.url)
        parameters["sessionId"] = two.site.client.sessionId
        query = urllib.parse.urlencode(parameters)
        self.socket = socket.create_connection((parts.hostname, parts.port))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = f"GET /ids/getData?{query} HTTP/1.1\r\nHost: x\r\n\r\n"
        self.socket.sendall(request.encode())
        self.begin = self.socket.recv(1000)
        assert self.begin.startswith(b"HTTP/1.1 200 ")

    def close(self) -> None:
        self.socket.close()


def test_row_13_a_reader_holds_the_data_and_lets_go(two: Service) -> None:
    dataset = two.dataset("row 13")
    big = two.put(dataset, "big", os.urandom(2**24))
    small = two.put(dataset, "small")
    two.idle()
    reader = SlowReader(two, datafileIds=big)
    lock = {"id": dataset.id, "type": "SHARED", "count": 1}
    assert lock in two.service_status()["locks"]
    assert two.get(datafileIds=small) == b"x"
    chosen = DataSelection({"datafileIds": [small]})
    assert refused(lambda: two.ids.delete(chosen)) == "Data is busy"
    two.put(dataset, "another")
    two.ids.archive(DataSelection([dataset]))
    assert two.status(dataset) == "ARCHIVED"
    assert refused(lambda: two.ids.getData(chosen)) == RESTORE_FIRST
    two.ids.archive(DataSelection([dataset]))
    # Written it can be meanwhile, but not archived.
    until(lambda: two.queued(dataset) == ["ARCHIVE_REQUESTED"])
    assert two.here(big, small)
    reader.close()
    two.idle()
    assert not two.here(big)
    assert not two.here(small)
    assert lock not in two.service_status()["locks"]


def test_row_13_what_is_restored_is_busy(site: Site) -> None:
    with service(
        site,
        "tape",
        archive_storage={"plugin": "storages:SlowArchive", "root": "tape"},
    ) as tape:
        dataset, [file] = tape.offline("row 13, busy")
        tape.ids.restore(DataSelection([dataset]))
        lock = {"id": dataset.id, "type": "EXCLUSIVE", "count": 1}
        until(lambda: lock in tape.service_status()["locks"])
        chosen = DataSelection({"datafileIds": [file]})
        assert refused(lambda: tape.ids.getData(chosen)) == "Data is busy"
        (tape.site.folder.run / "tape" / "go").touch()
        until(lambda: tape.status(dataset) == "ONLINE")


def test_row_14_a_put_while_it_is_written_is_written_too(two: Service) -> None:
    dataset = two.dataset("row 14")
    stop = threading.Event()
    names = []

    def keep_writing() -> None:
        while not stop.is_set():
            two.ids.write(DataSelection([dataset]))

    two.put(dataset, "first")
    thread = threading.Thread(target=keep_writing)
    thread.start()
    try:
        for number in range(40):
            two.put(dataset, f"{number}", os.urandom(10))
            names.append(f"{base(two, dataset)}/{number}")
    finally:
        stop.set()
        thread.join()
    two.idle()
    assert set(names) < set(two.entries(dataset))


def test_row_15_everything_survives_a_restart(site: Site) -> None:
    still = {"interval": "1h", "write_delay": 0}
    brisk = {"interval": 0.05, "write_delay": 0.2}
    with service(site, "again") as made:
        offline, [file] = made.offline("row 15, restored")
        bad, _ = failed(made, "row 15, failed")
        made.stop()
        made.start(queue=still)
        archived, [old] = made.registered("row 15, archived", a=b"a")
        gone, _ = made.registered("row 15, gone", a=b"a")
        written = made.dataset("row 15, written")
        made.put(written, "a")
        made.ids.archive(DataSelection([archived]))
        made.ids.write(DataSelection([gone]))
        made.ids.restore(DataSelection([offline]))
        site.client.delete(gone)
        prepared = made.ids.prepareData(DataSelection([archived, offline]))
        before = made.service_status()
        assert before["failures"] == [bad.id]
        made.stop()
        made.start()
        assert made.service_status() == before
        assert not made.ids.isPrepared(prepared)
        made.ids.archive(DataSelection([archived]))
        made.stop()
        made.start(queue=brisk)
        made.idle()
        assert made.entries(written)
        assert made.get(datafileIds=file) == b"a"
        assert not made.here(old)
        assert made.service_status()["failures"] == [bad.id]


def test_row_16_the_oldest_go_when_room_is_short(site: Site) -> None:
    size = 100_000
    with service(site, "full") as full:
        datasets = []
        for number in range(11):
            dataset = full.dataset(f"row 16 {number}")
            file = full.put(dataset, "a", os.urandom(size))
            # One small new file does not make a dataset new.
            full.put(dataset, "b")
            path = full.main / full.location(file)
            os.utime(path, (number * 1000, number * 1000))
            datasets.append((dataset, file))
        full.idle()
        # The oldest is read, so it is wanted.
        full.get(datafileIds=datasets[0][1])
        # What nobody can have catalogued is in nobody's way.
        strange = os.fsencode(full.main) + b"/caf\xe9"
        with open(strange, "wb"):
            os.utime(strange, (0, 0))
        full.stop()
        full.start(watermarks={"high": 10 * size, "low": 5 * size + 50})
        until(lambda: sum(map(full.here, (f for _, f in datasets))) <= 5)
        full.idle()
        here = [n for n, (_, file) in enumerate(datasets) if full.here(file)]
        assert here == [0, 7, 8, 9, 10]
        assert full.status(datasets[1][0]) == "ARCHIVED"


def test_row_17_a_link_lives_as_long_as_it_should(site: Site) -> None:
    with service(site, "linked", links={"lifetime": 2}) as linked:
        _, [file] = linked.registered("row 17", a=b"linked")
        path = linked.main / linked.location(file)
        os.utime(path, (1, 1))
        link = linked.ids.getLink(file, "nobody")
        made = time.monotonic()
        assert os.path.samefile(link, path)
        # However old the file is, the link is new.
        while time.monotonic() < made + 1:
            assert os.path.exists(link)
        until(lambda: not os.path.exists(link))
        assert path.read_bytes() == b"linked"
        for user in ("no such user", "nosuchuser", "../root", ""):
            with pytest.raises(icat.IDSBadRequestError):
                linked.ids.getLink(file, user)
        assert not list((linked.path / "state" / "links").iterdir())


def test_row_17_links_of_a_user_are_bounded(site: Site) -> None:
    with service(site, "many links", links={"user_count": 2}) as linked:
        _, [file] = linked.registered("many links", a=b"linked")
        made = [linked.ids.getLink(file, "nobody") for _ in range(2)]
        with pytest.raises(icat.IDSInsufficientStorageError, match=r"has 2 links"):
            linked.ids.getLink(file, "nobody")
        # Nothing of the third is left.
        assert {str(path) for path in (linked.path / "state/links").iterdir()} == set(
            map(str, made)
        )


def test_row_17_a_link_outlives_the_archiving(two: Service) -> None:
    dataset = two.dataset("row 17")
    file = two.put(dataset, "a", b"linked")
    link = two.ids.getLink(file, "root")
    two.archive(dataset)
    assert not two.here(file)
    with open(link, "rb") as opened:
        assert opened.read() == b"linked"


def test_a_file_of_two_entries_stays_for_the_other(two: Service) -> None:
    _, [file] = two.registered("shared, first", a=b"a")
    second = two.dataset("shared, second")
    entry = two.site.client.new(
        "Datafile", name="a", dataset=second, location=two.location(file), fileSize=1
    )
    entry.create()
    two.ids.archive(DataSelection([second]))
    until(lambda: second.id in two.service_status()["failures"])
    assert two.get(datafileIds=file) == b"a"
    two.ids.delete(DataSelection([entry]))
    until(lambda: second.id not in two.service_status()["failures"])
    assert two.get(datafileIds=file) == b"a"


def test_what_is_blocked_holds_nobody_up(site: Site) -> None:
    queue = {"interval": 0.1, "write_delay": 0, "workers": 2}
    with service(site, "narrow", queue=queue) as narrow:
        blocked = [narrow.dataset(f"blocked {number}") for number in range(3)]
        files = [narrow.put(dataset, "big", os.urandom(2**24)) for dataset in blocked]
        narrow.idle()
        readers = [SlowReader(narrow, datafileIds=file) for file in files]
        narrow.ids.archive(DataSelection(blocked))
        for number in range(20):
            narrow.put(narrow.dataset(f"free {number}"), "a")
        until(lambda: narrow.queue() == ["ARCHIVE_REQUESTED"] * 3)
        for reader in readers:
            reader.close()
        narrow.idle()


def test_a_dataset_is_not_written_while_files_arrive(two: Service) -> None:
    dataset = two.dataset("arriving")
    first = two.put(dataset, "first")
    two.idle()
    before = two.zip(dataset).read_bytes()
    parts = urllib.parse.urlsplit(two.url)
    nexus = two.site.client.search("DatafileFormat")[0]
    query = urllib.parse.urlencode(
        {
            "sessionId": two.site.client.sessionId,
            "name": "slow",
            "datasetId": dataset.id,
            "datafileFormatId": nexus.id,
        }
    )
    head = f"PUT /ids/put?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port)) as upload:
        upload.sendall(head.encode() + b"a")
        lock = {"id": dataset.id, "type": "SHARED", "count": 1}
        until(lambda: lock in two.service_status()["locks"])
        two.ids.write(DataSelection([dataset]))
        other = two.dataset("arriving, other")
        two.put(other, "a")
        until(lambda: two.zip(other).exists())
        assert two.queued(dataset) == ["WRITE_REQUESTED"]
        assert two.zip(dataset).read_bytes() == before
        upload.sendall(b"b")
        assert upload.recv(100).startswith(b"HTTP/1.1 201 ")
    two.idle()
    assert sorted(two.entries(dataset).values()) == [b"ab", b"x"]
    assert two.here(first)
