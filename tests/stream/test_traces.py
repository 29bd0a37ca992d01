"""One trace from the record to the transaction."""

import json

import pytest

pytestmark = pytest.mark.kafka

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def message(name, key="k", *steps):
    return {"id": str(name), "key": key, "do": list(steps) or ["ok"]}


def test_spans_continue_the_trace_of_the_record_and_hand_it_on(stage):
    stage.create(partitions=1)
    stage.send(message(1), headers=[("traceparent", PARENT.encode())])
    stage.send(message(2, "k", "reject"), headers=[("tracestate", None)])
    code, _ = stage.ended(stage.spawn(until_end=True, traces=True))
    assert code == 0
    spans = [json.loads(line) for line in stage.lines("spans")]
    [first, second] = [s for s in spans if s["name"] == f"process {stage.source}"]
    assert first["context"]["trace_id"] == f"0x{TRACE}"
    assert first["parent_id"] == "0xb7ad6b7169203331"
    assert first["kind"] == "SpanKind.CONSUMER"
    attributes = first["attributes"]
    assert attributes["messaging.system"] == "kafka"
    assert attributes["messaging.operation.name"] == "process"
    assert attributes["messaging.destination.name"] == stage.source
    assert attributes["messaging.destination.partition.id"] == "0"
    assert attributes["messaging.kafka.offset"] == 0
    assert attributes["messaging.consumer.group.name"] == stage.group
    assert second["status"]["status_code"] == "ERROR"
    assert second["attributes"]["error.type"] == "Rejection"
    commits = [s for s in spans if s["name"] == f"commit {stage.group}"]
    linked = {link["context"]["span_id"] for s in commits for link in s["links"]}
    assert linked == {first["context"]["span_id"], second["context"]["span_id"]}
    [event] = stage.read(stage.events_topic)
    given = dict(event.headers())["traceparent"].decode()
    assert given == f"00-{TRACE}-{first['context']['span_id'][2:]}-01"
    [letter] = stage.dead_letters()
    assert second["context"]["span_id"][2:] in str(dict(letter.headers()))
    assert [row["trace_id"] for row in stage.rows()] == [
        TRACE,
        second["context"]["trace_id"][2:],
    ]


def test_without_tracing_the_trace_is_still_handed_on(stage):
    stage.create(partitions=1)
    stage.send(message(1), headers=[("traceparent", PARENT.encode())])
    stage.run()
    [event] = stage.read(stage.events_topic)
    assert dict(event.headers())["traceparent"] == PARENT.encode()
    [row] = stage.rows()
    assert row["trace_id"] == TRACE
