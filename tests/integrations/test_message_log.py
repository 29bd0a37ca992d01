"""The message log on a real OpenSearch: what is kept of an outcome, for how long."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from icat_stream.integrations.message_log import MAPPING
from icat_stream.records import OutcomeKind, SystemUnavailable
from icat_stream.stream.outcome_messages import outcome_message

from .search_system import MessageLogSystem, told

DAY_MS = 86_400_000


@pytest.fixture
def system(opensearch):
    system = MessageLogSystem(opensearch)
    yield system
    system.close()


@pytest.fixture
def outcome(record):
    def outcome(row):
        message = outcome_message(row)
        made = record(message.value, offset=row.at.offset)
        return made._replace(headers=tuple(message.headers))

    return outcome


@pytest.fixture
def logged(system):
    """Return all documents, by the offset of the record that they are about."""

    def logged():
        system.server.call("POST", f"/{system.alias}/_refresh", missing={})
        found = system.server.call(
            "GET", f"/{system.alias}/_search", missing={}, size=100
        )
        hits = found.get("hits", {}).get("hits", [])
        return {hit["_source"]["offset"]: hit for hit in hits}

    return logged


def test_a_document_says_what_became_of_a_record_and_no_more(make, outcome, logged):
    row = told(
        objects={
            "investigation": "2026-1/1",
            "dataset": "scan",
            "dataset_id": 12,
            "file": "scan.nxs",
            "user": "db/nbour",
            "of our own": {"a": 1},
        },
        outcome="rejected",
        error_class="rejection",
        text="entry/title: is missing",
        message_type="wrdn",
        steps={"plan": 0.25, "apply": 0.5},
        attempts=2,
        key="2026-1",
        payload=b"hush",
        record_key=b"hush",
        headers=(("token", b"hush"),),
    )
    assert make().handle(outcome(row)).kind is OutcomeKind.INGESTED
    (hit,) = logged().values()
    published = datetime.fromtimestamp(row.at.time / 1000, UTC)
    assert hit["_index"].endswith(f"-{published:%Y.%m}")
    content = hit["_source"]
    assert datetime.fromisoformat(content.pop("published")) == published
    assert content.pop("told").startswith("2026-11-21T08:00")
    assert content == {
        "facility": "Muster",
        "consumer": "file_written",
        "topic": "files",
        "partition": 0,
        "offset": row.at.offset,
        "outcome": "rejected",
        "error_class": "rejection",
        "reason": "entry/title: is missing",
        "message_type": "wrdn",
        "size": 7,
        "attempts": 2,
        "seconds": 0.75,
        "program": "1.0",
        "investigation": ["2026-1/1"],
        "dataset": ["scan"],
        "dataset_id": 12,
        "file": ["scan.nxs"],
    }


def test_reasons_that_may_quote_a_person_are_left_out(system, make, outcome, logged):
    text = "email: expected name@domain (found: 'ptolemy at example')"
    row = told(group="icat-stream.people", text=text, objects={"user": "ptolemy"})
    make().handle(outcome(row))
    assert "ptolemy" not in str(logged()[row.at.offset]["_source"])
    # A facility says of its own ones that they do not.
    more = told(group="icat-stream.people", text="too late")
    make({**system.options, "reasons_of": ["people"]}).handle(outcome(more))
    assert logged()[more.at.offset]["_source"]["reason"] == "too late"


def test_what_became_of_outcomes_and_others_is_not_logged(system, make, outcome):
    consumer = make()
    for row, reason in (
        (told(topic="icat-stream.outcomes"), "what became of an outcome"),
        (told(group="another.file_written"), "an outcome of another program's"),
    ):
        found = consumer.handle(outcome(row))
        assert (found.kind, found.reason) == (OutcomeKind.IGNORED, reason)
    assert system.calls == 0


def test_months_go_when_they_are_too_old(system, make, outcome, logged):
    now = time.time_ns() // 1_000_000
    old = told(time=now - 400 * DAY_MS)
    young = told(time=now)
    options = {**system.options, "keep": "500d"}
    for row in (old, young):
        assert make(options).handle(outcome(row)).kind is OutcomeKind.INGESTED
    assert set(logged()) == {old.at.offset, young.at.offset}
    other = f"{system.alias}-of-somebody-else"
    system.server.call("PUT", f"/{other}", {"aliases": {system.alias: {}}})
    later = told(time=now)
    make().handle(outcome(later))
    assert set(logged()) == {young.at.offset, later.at.offset}
    assert system.server.call("GET", f"/{other}")
    # Read again from the topic, it does not come back.
    found = make().handle(outcome(old))
    assert found.kind is OutcomeKind.IGNORED
    assert "older than options.keep" in found.reason
    assert old.at.offset not in logged()


def test_an_index_of_an_earlier_version_gets_its_new_fields(
    system, make, outcome, logged
):
    row = told(text="why")
    published = datetime.fromtimestamp(row.at.time / 1000, UTC)
    fields = {n: k for n, k in MAPPING["properties"].items() if n != "reason"}
    system.server.call(
        "PUT",
        f"/{system.alias}-{published:%Y.%m}",
        {
            "aliases": {system.alias: {}},
            "mappings": {"dynamic": "strict", "properties": fields},
        },
    )
    assert make().handle(outcome(row)).kind is OutcomeKind.INGESTED
    assert logged()[row.at.offset]["_source"]["reason"] == "why"


def test_fields_that_somebody_made_otherwise_stop_it(system, make, outcome):
    row = told()
    published = datetime.fromtimestamp(row.at.time / 1000, UTC)
    index = f"{system.alias}-{published:%Y.%m}"
    wrong = {"properties": {"offset": {"type": "keyword"}}}
    system.server.call("PUT", f"/{index}", {"mappings": wrong})
    consumer = make()
    for act in (lambda: consumer.handle(outcome(row)), consumer.ping):
        with pytest.raises(SystemUnavailable, match=f"delete {index}") as caught:
            act()
        assert not caught.value.probe_tells
    # As it says, and it goes on.
    system.server.call("DELETE", f"/{index}")
    consumer.ping()
    assert consumer.handle(outcome(row)).kind is OutcomeKind.INGESTED


def test_an_index_that_is_deleted_while_it_is_in_use_is_made_again(
    system, make, outcome, logged
):
    consumer = make()
    first, second = told(), told()
    consumer.handle(outcome(first))
    system.server.call("DELETE", f"/{logged()[first.at.offset]['_index']}")
    assert consumer.handle(outcome(second)).kind is OutcomeKind.INGESTED
    index = logged()[second.at.offset]["_index"]
    found = system.server.call("GET", f"/{index}")[index]["mappings"]
    assert found == MAPPING


def test_an_answer_that_is_lost_and_two_that_begin(system, make, outcome, logged):
    rows = [told() for _ in range(20)]
    consumers = [make(), make()]
    with ThreadPoolExecutor(2) as pool:
        halves = [rows[:10], rows[10:]]
        list(
            pool.map(
                lambda mine: [mine[0].handle(outcome(row)) for row in mine[1]],
                zip(consumers, halves, strict=True),
            )
        )
    assert set(logged()) == {row.at.offset for row in rows}
    system.proxy.lose_answers = 1
    row = told()
    with pytest.raises(SystemUnavailable):
        consumers[0].handle(outcome(row))
    assert consumers[0].handle(outcome(row)).kind is OutcomeKind.UNCHANGED
    assert row.at.offset in logged()


def test_those_that_wait_are_written_at_once(system, make, outcome, logged):
    consumer = make()
    records = [outcome(told()) for _ in range(30)]
    records += [records[0]]
    for one in records:
        consumer.key(one)
    kinds = [consumer.handle(one).kind for one in records]
    assert kinds.count(OutcomeKind.INGESTED) == 30
    assert system.calls == 2
    assert len(logged()) == 30


def test_a_dry_run_shows_documents(system, make, outcome):
    found = make(dry_run=True).handle(outcome(told(objects={"dataset": "scan"})))
    (document,) = found.documents
    assert document["content"]["dataset"] == ["scan"]
    assert system.calls == 0


def test_a_long_id_is_shortened(make, outcome, logged):
    row = told(topic="t" * 249, group=f"icat-stream.{'g' * 240}")
    assert make().handle(outcome(row)).kind is OutcomeKind.INGESTED
    other = replace(row, at=row.at._replace(offset=row.at.offset + 1))
    assert make().handle(outcome(other)).kind is OutcomeKind.INGESTED
