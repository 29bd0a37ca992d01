"""Servers, networks and proxies on a bad day, and two lanes at once."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

import pytest

from icat_stream.catalogue import Catalogue, CatalogueSession, FacilityMissing
from icat_stream.catalogue.fault_memory import FaultMemory
from icat_stream.config import IcatSettings, PolicySettings
from icat_stream.records import (
    InvestigationKey,
    LoginRefused,
    OutcomeKind,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)

from .conftest import Server
from .plans import FACILITY, full, held, plan


@pytest.fixture
def faulty(server: Server) -> Iterator[Server]:
    yield server
    server.mend()


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "html"])
@pytest.mark.parametrize("prepared", [False, True], ids=["sample", "dataset"])
def test_a_write_without_an_answer_is_read_back(
    lane: CatalogueSession,
    client: Any,
    investigation: InvestigationKey,
    faulty: Server,
    kind: str,
    prepared: bool,
) -> None:
    if prepared:
        lane.apply(plan(full(investigation, name="before")))
    faulty.fault(kind, match="create")
    assert lane.apply(plan(full(investigation))).kind is OutcomeKind.INGESTED
    assert lane.apply(plan(full(investigation))).kind is OutcomeKind.UNCHANGED
    names = [dataset.name for dataset in held(client, investigation)]
    assert names == (["before", "run 7"] if prepared else ["run 7"])


@pytest.mark.parametrize("kind", ["exists", "exists_after"])
@pytest.mark.parametrize("prepared", [False, True], ids=["sample", "dataset"])
def test_what_is_said_to_exist_and_is_not_found_is_tried_again(
    lane: CatalogueSession,
    client: Any,
    investigation: InvestigationKey,
    faulty: Server,
    kind: str,
    prepared: bool,
) -> None:
    if prepared:
        lane.apply(plan(full(investigation, name="before")))
    faulty.fault(kind, match="create", count=None)
    if kind == "exists":
        with pytest.raises(TransientFailure, match="something else"):
            lane.apply(plan(full(investigation)))
        faulty.fault("clear")
    # What was written nevertheless looks as if somebody else had been quicker.
    lane.apply(plan(full(investigation)))
    assert lane.apply(plan(full(investigation))).kind is OutcomeKind.UNCHANGED
    names = [dataset.name for dataset in held(client, investigation)]
    assert names == (["before", "run 7"] if prepared else ["run 7"])


def test_a_completion_without_an_answer_is_read_back(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey, faulty: Server
) -> None:
    whole = full(investigation)
    lane.apply(plan(replace(whole, datafiles=(), parameters=(), complete=False)))
    faulty.fault("drop_after", match="createMany")
    faulty.fault("drop_after", match="update")
    assert lane.apply(plan(whole)).kind is OutcomeKind.INGESTED
    (dataset,) = held(client, investigation)
    assert (len(dataset.datafiles), len(dataset.parameters)) == (2, 3)
    assert dataset.complete is True


def test_a_server_that_takes_too_long_is_asked_again_later(
    lane_with: Callable[..., CatalogueSession],
    settings: IcatSettings,
    client: Any,
    investigation: InvestigationKey,
    faulty: Server,
) -> None:
    lane = lane_with(settings.model_copy(update={"timeout": 0.5}))
    lane.apply(plan(full(investigation, name="before")))
    faulty.fault("latency", seconds=1.5, match="create")
    with pytest.raises(TransientFailure, match=r"no answer to a write.*read back"):
        lane.apply(plan(full(investigation)))
    time.sleep(1.5)
    lane.apply(plan(full(investigation)))
    assert [d.name for d in held(client, investigation)] == ["before", "run 7"]


def test_an_expired_session_is_renewed(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey, faulty: Server
) -> None:
    lane.ping()
    before = lane.session_id
    faulty.fault("expire_sessions")
    # A refresh revives the other client's session.
    client.refresh()
    assert lane.apply(plan(full(investigation))).kind is OutcomeKind.INGESTED
    assert lane.session_id != before


def test_a_server_that_is_away_and_comes_back(
    lane: CatalogueSession, investigation: InvestigationKey, faulty: Server
) -> None:
    lane.ping()
    faulty.fault("refuse")
    for call in (lane.ping, lambda: lane.apply(plan(full(investigation)))):
        with pytest.raises(SystemUnavailable, match="cannot be reached") as raised:
            call()
        assert raised.value.system == "icat"
    faulty.mend()
    assert lane.apply(plan(full(investigation))).kind is OutcomeKind.INGESTED


def test_a_kept_connection_that_the_server_closed_is_no_trouble(
    lane: CatalogueSession, investigation: InvestigationKey, faulty: Server
) -> None:
    lane.apply(plan(full(investigation, name="before")))
    faulty.fault("refuse", seconds=0)
    time.sleep(0.2)
    assert lane.apply(plan(full(investigation))).written == (
        f"Dataset {investigation}/run 7 created with 2 datafiles and 3 parameters",
    )


def test_a_server_without_its_database_is_unavailable(
    lane: CatalogueSession, investigation: InvestigationKey, faulty: Server
) -> None:
    lane.ping()
    faulty.fault("database", count=None)
    with pytest.raises(SystemUnavailable, match="cannot search"):
        lane.apply(plan(full(investigation)))


def test_one_internal_error_is_transient(
    lane: CatalogueSession, investigation: InvestigationKey, faulty: Server
) -> None:
    lane.apply(plan(full(investigation, name="before")))
    for _ in range(3):
        faulty.fault("database", match="create")
        with pytest.raises(TransientFailure, match="Communications link failure"):
            lane.apply(plan(full(investigation)))
    assert lane.apply(plan(full(investigation))).kind is OutcomeKind.INGESTED


@pytest.mark.parametrize("status", [503, 404])
def test_a_proxy_without_its_server_is_unavailable(
    lane: CatalogueSession, investigation: InvestigationKey, faulty: Server, status: int
) -> None:
    lane.ping()
    faulty.fault("html", status=status, count=None)
    with pytest.raises(SystemUnavailable, match="not there"):
        lane.apply(plan(full(investigation)))


def creates(server: Server) -> int:
    return server.calls().get("create", 0)


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (413, Rejection, "takes no request with a body this large"),
        (414, Rejection, "takes no request with an address this large"),
        (431, Rejection, "takes no request with header fields this large"),
        (401, LoginRefused, "does not let us through"),
        (403, LoginRefused, "does not let us through"),
        (407, LoginRefused, "does not let us through"),
    ],
)
@pytest.mark.parametrize("call", ["create", "GET entityManager"])
def test_what_a_proxy_refuses_is_sent_once(
    lane: CatalogueSession,
    investigation: InvestigationKey,
    faulty: Server,
    status: int,
    error: type[Exception],
    says: str,
    call: str,
) -> None:
    lane.apply(plan(full(investigation, name="before")))
    before = faulty.calls().get(call, 0)
    faulty.fault("html", status=status, match=call, count=None)
    ask = {
        "create": lambda: lane.apply(plan(full(investigation))),
        "GET entityManager": lambda: lane.investigations(investigation.name),
    }[call]
    with pytest.raises(error, match=f"HTTP {status}.*{says}"):
        ask()
    assert faulty.calls()[call] == before + 1


@pytest.mark.parametrize("status", [502, 504])
def test_what_a_proxy_gave_up_is_looked_for_before_it_is_sent_again(
    lane_with: Callable[..., CatalogueSession],
    settings: IcatSettings,
    client: Any,
    investigation: InvestigationKey,
    faulty: Server,
    status: int,
) -> None:
    lane = lane_with(settings.model_copy(update={"timeout": 0.7}))
    lane.apply(plan(full(investigation, name="before")))
    before = creates(faulty)
    faulty.fault("html", status=status, match="create")
    for _ in range(3):
        with pytest.raises(TransientFailure, match=rf"no answer.*{status}.*not sent"):
            lane.apply(plan(full(investigation)))
    assert creates(faulty) == before + 1
    deadline = time.monotonic() + 30
    while len(held(client, investigation)) < 2:
        assert time.monotonic() < deadline
        with contextlib.suppress(TransientFailure):
            lane.apply(plan(full(investigation)))
    assert creates(faulty) == before + 2


def test_what_a_proxy_gave_up_is_found_done(
    lane: CatalogueSession,
    settings: IcatSettings,
    investigation: InvestigationKey,
    faulty: Server,
) -> None:
    lane.apply(plan(full(investigation, name="before")))
    faulty.fault("html", status=504, match="create")
    with pytest.raises(TransientFailure, match="not sent again"):
        lane.apply(plan(full(investigation)))
    # The server behind the proxy was at it all the time.
    other = Catalogue(settings, FACILITY, PolicySettings()).new_session()
    other.apply(plan(full(investigation)))
    other.close()
    assert lane.apply(plan(full(investigation))).kind is OutcomeKind.UNCHANGED


def test_eight_lanes_at_the_same_dataset_make_one(
    lane_with: Callable[..., CatalogueSession],
    client: Any,
    investigation: InvestigationKey,
) -> None:
    lanes = [lane_with() for _ in range(8)]
    barrier = threading.Barrier(len(lanes))

    def apply(lane: CatalogueSession) -> Any:
        lane.ping()
        barrier.wait()
        return lane.apply(plan(full(investigation)))

    with ThreadPoolExecutor(len(lanes)) as pool:
        applied = list(pool.map(apply, lanes))
    (dataset,) = held(client, investigation)
    assert {a.datasets[0].id for a in applied} == {dataset.id}
    assert len(dataset.datafiles) == 2
    created = [line for a in applied for line in a.written if "Dataset" in line]
    assert len(created) == 1


def test_a_wrong_password_is_told(server: Server) -> None:
    settings = IcatSettings(url=server.url, username="root", password="wr0ng")
    catalogue = Catalogue(settings, FACILITY, PolicySettings())
    with pytest.raises(LoginRefused, match="simple/root") as raised:
        catalogue.open()
    assert "wr0ng" not in str(raised.value)


def test_a_missing_password_file_is_told(server: Server, tmp_path: Any) -> None:
    settings = IcatSettings(url=server.url, password_file=tmp_path / "none")
    with pytest.raises(LoginRefused, match="password_file"):
        Catalogue(settings, FACILITY, PolicySettings()).open()


def test_a_facility_that_is_not_there_is_named(
    client: Any, settings: IcatSettings
) -> None:
    with pytest.raises(FacilityMissing, match=r"'Nirgends'.*Muster"):
        Catalogue(settings, "Nirgends", PolicySettings()).open()


def test_nobody_listens() -> None:
    settings = IcatSettings(url="http://127.0.0.1:9")
    with pytest.raises(SystemUnavailable, match="cannot be reached"):
        Catalogue(settings, FACILITY, PolicySettings()).open()


class Stubborn(BaseHTTPRequestHandler):
    """Passes all on to a server, but refuses datasets in its name."""

    target = ""
    message = ""
    kind = "INTERNAL"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_DELETE(self) -> None:
        self._pass_on(None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b'type="i:dataset"' not in body:
            self._pass_on(body)
            return
        fault = (
            '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
            "<S:Fault><faultcode>S:Server</faultcode><faultstring>-</faultstring>"
            "<detail><IcatException><message>"
            f"{self.message % time.monotonic_ns()}</message><type>{self.kind}</type>"
            "</IcatException></detail></S:Fault></S:Body></S:Envelope>"
        )
        self._answer(500, "text/xml", fault.encode())

    def _pass_on(self, body: bytes | None) -> None:
        request = Request(
            self.target + self.path, body, dict(self.headers), method=self.command
        )
        with urlopen(request, timeout=10) as found:
            content = found.read()
            self._answer(found.status, found.headers["Content-Type"], content)

    def _answer(self, status: int, kind: str | None, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind or "text/plain")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def stubborn(server: Server) -> Iterator[type[Stubborn]]:
    handler = type("Handler", (Stubborn,), {"target": server.url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        handler.url = f"http://127.0.0.1:{proxy.server_port}"
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
        thread.start()
        yield handler
        proxy.shutdown()
        thread.join()


SESSION_ID = "5f0c1d2e-aaaa-4bbb-8ccc-0123456789AB"


@pytest.mark.parametrize(
    ("kind", "message", "last"),
    [
        ("INTERNAL", "Duplicate entry '%d-a' for key", Rejection),
        ("INTERNAL", "Deadlock found in %d; try restarting", TransientFailure),
        ("SESSION", f"Session {SESSION_ID} is gone (%d)", TransientFailure),
        ("NO_SUCH_OBJECT_FOUND", "Sample[id:%d] not found.", TransientFailure),
        ("", "no idea %d", TransientFailure),
    ],
    ids=["the record's fault", "the moment's fault", "session", "not found", "untyped"],
)
def test_a_fault_that_comes_again(
    stubborn: Any,
    settings: IcatSettings,
    investigation: InvestigationKey,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    message: str,
    last: type[Exception],
) -> None:
    monkeypatch.setattr("icat_stream.catalogue.fault_memory._STAGE_S", 1e-6)
    stubborn.kind, stubborn.message = kind, message
    settings = settings.model_copy(update={"url": stubborn.url})
    lane = Catalogue(settings, FACILITY, PolicySettings()).new_session()
    for error in (TransientFailure, last):
        with pytest.raises(error, match=kind or "fault") as raised:
            lane.apply(plan(full(investigation)))
        assert SESSION_ID not in f"{raised.value} {raised.value.__cause__}"
    lane.close()


@pytest.mark.parametrize("stage", [1e-6, 20.0])
def test_a_database_that_fails_over_is_no_records_fault(
    stubborn: Any,
    settings: IcatSettings,
    investigation: InvestigationKey,
    monkeypatch: pytest.MonkeyPatch,
    stage: float,
) -> None:
    monkeypatch.setattr("icat_stream.catalogue.fault_memory._STAGE_S", stage)
    stubborn.kind = "INTERNAL"
    stubborn.message = "cannot execute INSERT in a read-only transaction (%d)"
    settings = settings.model_copy(update={"url": stubborn.url})
    lane = Catalogue(settings, FACILITY, PolicySettings()).new_session()
    names = [f"run {number}" for number in range(6)]
    for name in [name for _ in range(4) for name in names]:
        with pytest.raises(TransientFailure, match="read-only transaction"):
            lane.apply(plan(full(investigation, name=name)))
    lane.close()


def test_a_fault_is_a_records_own_in_a_later_stage_and_alone() -> None:
    memory = FaultMemory()
    assert not memory.is_permanent("a", "broken", now=0.0)
    assert not memory.is_permanent("a", "broken", now=10.0)
    assert memory.is_permanent("a", "broken", now=40.0)
    assert not memory.is_permanent("a", "otherwise broken", now=41.0)
    assert not memory.is_permanent("b", "otherwise broken", now=42.0)
    assert not memory.is_permanent("a", "otherwise broken", now=80.0)
