"""The search index on a real OpenSearch, behind a proxy that disturbs it."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from catalogue.plans import FACILITY
from icat_stream.catalogue import Catalogue
from icat_stream.config import ConfigError, JournalSettings, PolicySettings, Settings
from icat_stream.integrations import (
    Document,
    ExportConsumer,
    IndexRebuild,
    IntegrationContext,
    SearchIndex,
)
from icat_stream.integrations.search_server import SearchServer, SearchServerOptions
from icat_stream.journal import Journal
from icat_stream.records import (
    Dataset,
    OutcomeKind,
    Parameter,
    Plan,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)

from .search_proxy import LOGIN, SearchProxy

_OFFSETS = count(1)
_NAME = "search"


@pytest.fixture
def proxy(opensearch) -> Iterator[SearchProxy]:
    proxy = SearchProxy(opensearch)
    yield proxy
    proxy.close()


@pytest.fixture
def options(proxy) -> dict[str, Any]:
    return {
        "urls": [proxy.url],
        "alias": f"t{uuid.uuid4().hex[:8]}",
        "username": LOGIN[0],
        "password": LOGIN[1],
        "replicas": 0,
    }


@pytest.fixture
def direct(opensearch) -> SearchServer:
    """Past the proxy."""
    return SearchServer("test", SearchServerOptions(urls=[opensearch]))


@pytest.fixture
def journals(tmp_path) -> Iterator[Callable[[str], Journal]]:
    made = []

    def journals(name: str) -> Journal:
        journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/{name}.db"))
        journal.create()
        made.append(journal)
        return journal

    yield journals
    for journal in made:
        journal.close()


@pytest.fixture
def make(options, journals, client, settings) -> Iterator[Any]:
    catalogue = Catalogue(settings, FACILITY, PolicySettings())
    made = []

    def make(journal: str = "journal", **changes: Any) -> ExportConsumer:
        opened = journals(journal)
        context = IntegrationContext(
            name=_NAME,
            settings=Settings(
                facility=FACILITY,
                consumers={_NAME: {"integration": "search_index", "topics": ["t"]}},
            ),
            stated=opened.stated(FACILITY),
            options={**options, **changes},
        )
        consumer = ExportConsumer(
            integration=SearchIndex(context),
            catalogue=catalogue,
            exports=opened.exports,
            systems={},
            facility=FACILITY,
            max_bytes=1_000_000,
        )
        made.append(consumer)
        return consumer

    yield make
    for consumer in made:
        consumer.leave_lane()
        consumer.integration.close()


@pytest.fixture
def ingest(lane, investigation):
    def ingest(name: str, **details: Any) -> int:
        dataset = Dataset(
            investigation=investigation,
            name=name,
            type="raw",
            existing="update",
            **details,
        )
        applied = lane.apply(Plan(facility=FACILITY, datasets=(dataset,)))
        return applied.datasets[0].id

    return ingest


@pytest.fixture
def event(investigation, record):
    def event(number: int, kind: str = "dataset"):
        key = {"name": investigation.name, "visit_id": investigation.visit_id}
        body = {
            "version": 1,
            "kind": kind,
            "outcome": "ingested",
            "facility": FACILITY,
            "investigation": {**key, "id": number},
            "origin": {"topic": "t", "partition": 0, "offset": 7},
            "time": "2026-11-21T08:00:00.000+00:00",
        }
        if kind == "dataset":
            body["dataset"] = {"name": "d", "id": number}
        return record(json.dumps(body).encode(), offset=next(_OFFSETS))

    return event


def found(consumer: ExportConsumer, query: str, **limits: Any) -> list[dict[str, Any]]:
    consumer.integration.refresh()
    return consumer.integration.search(query, **limits)[1]


def named(consumer: ExportConsumer, query: str, number: int) -> list[str]:
    """Names under which an object is found; an index made anew has those of others."""
    those = found(consumer, query, most=10_000)
    return [each["name"] for each in those if each["id"] == number]


def test_what_people_look_for_is_found(make, ingest, event, client, investigation):
    consumer = make()
    parameters = (
        Parameter(name="wavelength", units="angstrom", value=1.8),
        Parameter(name="title", units="", value="a rare phase of magnetite"),
    )
    number = ingest("run 7", location="/data/run_7", parameters=parameters)
    other = ingest("run 8")
    (visit,) = client.search(
        f"SELECT i FROM Investigation i WHERE i.name = '{investigation.name}'"
        f" AND i.visitId = '{investigation.visit_id}' INCLUDE i.facility, i.type"
    )
    # As long as ICAT has it, and with what some other systems cannot keep.
    visit.title = "Würfel \\0 of <iron> " + "x" * 230
    visit.summary = "A summary. " * 360
    visit.update()
    for record in (event(number), event(other), event(visit.id, "investigation")):
        assert consumer.handle(record).kind is OutcomeKind.INGESTED

    (dataset,) = found(consumer, "magnetite")
    assert dataset["id"] == number
    assert dataset["location"] == "/data/run_7"
    assert dataset["investigation"]["name"] == investigation.name
    assert {"name": "wavelength", "units": "angstrom", "number": 1.8} in (
        dataset["parameters"]
    )
    assert [each["id"] for each in found(consumer, '"run 7"')] == [number]
    assert {each["id"] for each in found(consumer, "run -7")} == {other}
    assert found(consumer, "run 7 8") == []
    (whole,) = found(consumer, "würfel", kind="investigation")
    assert whole["title"] == visit.title
    assert found(consumer, "würfel", kind="dataset") == []
    # Whatever is typed is looked for, and is no command.
    for odd in ('"', "((", "a AND", "name:x", "\\", "*", "~9", "\0"):
        found(consumer, odd)


def test_a_disk_that_is_full_is_waited_for(make, ingest, event, options, direct):
    consumer = make()
    consumer.handle(event(ingest("a")))
    later = event(ingest("b"))
    block = {"index.blocks.read_only_allow_delete": True}
    direct.call("PUT", f"/{options['alias']}/_settings", block)
    with pytest.raises(SystemUnavailable, match="free its disk"):
        consumer.handle(later)
    with pytest.raises(SystemUnavailable, match="read_only_allow_delete is set"):
        consumer.probe(_NAME)
    block = {"index.blocks.read_only_allow_delete": None}
    direct.call("PUT", f"/{options['alias']}/_settings", block)
    consumer.probe(_NAME)
    assert consumer.handle(later).kind is OutcomeKind.INGESTED


@pytest.mark.parametrize(
    ("status", "error", "failure"),
    [
        (429, {"type": "circuit_breaking_exception", "reason": "x"}, TransientFailure),
        (429, {"type": "cluster_block_exception", "reason": "x"}, SystemUnavailable),
        (503, "Service Unavailable", SystemUnavailable),
        (500, {"type": "exception", "reason": "x"}, TransientFailure),
        (403, {"type": "security_exception", "reason": "x"}, SystemUnavailable),
        (413, "Request Entity Too Large", Rejection),
    ],
)
def test_what_an_answer_means(make, ingest, event, proxy, status, error, failure):
    consumer = make()
    consumer.handle(event(ingest("first")))
    proxy.answer = (status, error)
    record = event(ingest("a"))
    with pytest.raises(failure) as caught:
        consumer.handle(record)
    assert str(status) in caught.value.reason
    assert LOGIN[1] not in caught.value.reason
    proxy.answer = None
    assert consumer.handle(record).kind is OutcomeKind.INGESTED


def test_an_answer_that_was_lost(make, ingest, event, proxy):
    consumer = make()
    record = event(ingest("a"))
    consumer.handle(event(ingest("first")))
    proxy.lose_answers = 1
    with pytest.raises(SystemUnavailable, match="cannot be reached"):
        consumer.handle(record)
    assert consumer.handle(record).kind is OutcomeKind.INGESTED
    assert [each["name"] for each in found(consumer, "a")] == ["a"]


def test_fields_that_somebody_has_changed_stop_it(make, ingest, event, options, direct):
    consumer = make()
    consumer.handle(event(ingest("a")))
    alias = options["alias"]
    direct.call("PUT", f"/{alias}/_mapping", {"properties": {"more": {"type": "long"}}})
    for each in (consumer, make()):
        with pytest.raises(SystemUnavailable, match="reindex search"):
            each.probe(_NAME)
    with pytest.raises(SystemUnavailable, match="are not those of this"):
        make().handle(event(ingest("b")))


def test_an_index_in_the_place_of_the_alias_stops_it(
    make, ingest, event, options, direct
):
    direct.call("PUT", f"/{options['alias']}")
    with pytest.raises(SystemUnavailable, match="is an index, expected an alias"):
        make().handle(event(ingest("a")))


def test_a_deleted_document_does_not_come_back(make, ingest, event, client):
    consumer = make()
    number = ingest("a")
    consumer.handle(event(number))
    (content,) = found(consumer, "a")
    client.delete(client.get("Dataset", number))
    consumer.handle(event(number))
    # Of a process that was very slow.
    late = Document(key=f"dataset-{number}", content=content, version=1)
    (answer,) = consumer.integration.write([late])
    assert isinstance(answer, SystemUnavailable)
    assert found(consumer, "a") == []
    assert consumer.handle(event(number)).kind is OutcomeKind.UNCHANGED


def test_a_database_that_was_lost_is_noticed(make, ingest, event, client):
    number = ingest("a")
    consumer = make()
    for name in ("b", "c"):
        consumer.handle(event(number))
        dataset = client.get("Dataset d INCLUDE d.type, d.investigation", number)
        dataset.name = name
        dataset.update()
    # Its versions begin anew, so the index would keep an older state.
    forgetful = make("another")
    with pytest.raises(SystemUnavailable, match="integrations reindex search"):
        forgetful.handle(event(number))
    reindex(forgetful)
    assert named(forgetful, "c", number) == ["c"]
    assert forgetful.handle(event(number)).kind is OutcomeKind.INGESTED


def test_an_index_is_made_anew_while_it_is_written(
    make, ingest, event, client, options, direct, proxy
):
    consumer, another = make(), make()
    numbers = [ingest(f"d{n}") for n in range(6)]
    gone, changed, kept = numbers[:3]
    for number in numbers:
        consumer.handle(event(number))

    def meanwhile(what: str, _: int) -> None:
        if what == "read":
            # The new index is full, and not in use yet.
            client.delete(client.get("Dataset", gone))
            dataset = client.get("Dataset d INCLUDE d.type, d.investigation", changed)
            dataset.name = "changed"
            dataset.update()
            numbers.append(ingest("new"))
            for number in (gone, changed, numbers[-1]):
                another.handle(event(number))

    name = reindex(consumer, meanwhile)
    assert name == f"{options['alias']}-000002"
    indices = direct.call("GET", f"/{options['alias']}-*")
    assert set(indices) == {name}
    there = {
        each["name"]
        for each in consumer.integration.search("*", kind="dataset", most=10_000)[1]
        if each["id"] in numbers
    }
    assert there == {"d2", "d3", "d4", "d5", "changed", "new"}
    # What was written before goes on being written.
    client.delete(client.get("Dataset", kept))
    assert another.handle(event(kept)).kind is OutcomeKind.INGESTED
    assert named(another, "d2", kept) == []


def test_one_that_is_slow_while_the_index_changes(make, ingest, event, client, proxy):
    consumer, slow = make(), make()
    number = ingest("run a")
    consumer.handle(event(number))
    dataset = client.get("Dataset d INCLUDE d.type, d.investigation", number)
    dataset.name = "run b"
    dataset.update()
    go_on = proxy.held = threading.Event()

    def handle() -> None:
        slow.handle(event(number))
        slow.leave_lane()

    thread = threading.Thread(target=handle)
    thread.start()
    try:
        assert proxy.arrived.wait(30)
        reindex(consumer)
    finally:
        go_on.set()
        thread.join(60)
    assert named(consumer, "run", number) == ["run b"]
    assert consumer.handle(event(number)).kind is not OutcomeKind.REJECTED


def test_who_lets_everybody_in_is_warned(make, proxy):
    assert make().warnings() == []
    proxy.guarded = False
    (warning,) = make().warnings()
    assert "answers without credentials" in warning


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"password_file": "/x"}, "password or password_file"),
        ({"username": None}, "username"),
        ({"alias": "_odd"}, "alias"),
        ({"urls": []}, "urls"),
        ({"ca_file": "relative.pem"}, "absolute"),
    ],
)
def test_wrong_options_are_named(make, wrong, problem):
    with pytest.raises(ConfigError, match=problem):
        make(**wrong)


def reindex(consumer: ExportConsumer, progress: Any = lambda what, count: None) -> str:
    session = consumer._catalogue.session()
    made = IndexRebuild(consumer.integration, session, consumer._exports, progress)
    name = made.run()
    assert made.refused == []
    return name
