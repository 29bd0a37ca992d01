"""A stage for loops: topics of a real broker, and what went in and came out."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from icat_stream.app.journal_writer import JournalWriter
from icat_stream.config import Settings
from icat_stream.journal import Journal
from icat_stream.records import Outcome, Record
from icat_stream.sandbox.kafka import JavaBroker
from icat_stream.stream import Loop, RunResult, TopicIds
from plugins.kafka import SharedBroker

sys.path.insert(0, str(Path(__file__).parent))
import scripted

RUNNER = Path(__file__).with_name("runner.py")
PATIENCE = 180.0


class Stage:
    def __init__(
        self, broker: JavaBroker | SharedBroker, prefix: str, folder: Path
    ) -> None:
        self.broker = broker
        self.prefix = prefix
        self.folder = folder
        self.source = f"{prefix}.source"
        self.events_topic = f"{prefix}.events"
        self.outcomes_topic = f"{prefix}.outcomes"
        self.dead_topic = f"{prefix}.dead"
        self.group = f"{prefix}.c"
        self.outcomes: list[tuple[Record, Outcome]] = []
        self._journals: list[Journal] = []
        self._writers: list[JournalWriter] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._loops: list[tuple[Loop, threading.Thread, list[RunResult]]] = []
        self._client = {"bootstrap.servers": broker.bootstrap, "log_level": 0}

    def settings(self, **sections: Any) -> dict[str, Any]:
        base: dict[str, Any] = {
            "facility": "TEST",
            "kafka": {
                "bootstrap_servers": self.broker.bootstrap,
                "group_id": self.prefix,
                "partitions": 2,
            },
            "journal": {"url": f"sqlite:///{self.folder}/journal.db"},
            "events": {"topic": self.events_topic},
            "outcomes": {"topic": self.outcomes_topic},
            "dead_letters": {"topic": self.dead_topic},
            "retries": {"delays": ["200ms", "300ms"]},
            "consumers": {"c": {"handler": "x", "topics": [self.source]}},
        }
        for name, section in sections.items():
            base[name] = {**base.get(name, {}), **section}
        return base

    def create(self, partitions: int = 3, **config: str) -> None:
        self.create_topic(self.source, partitions, **config)

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> None:
        topic = NewTopic(name, partitions, 1, config=config)
        admin = AdminClient(self._client)
        for future in admin.create_topics([topic]).values():
            future.result()

    def configure(self, topic: str, **config: str) -> None:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = ConfigResource(
            ResourceType.TOPIC, topic, incremental_configs=entries
        )
        admin = AdminClient(self._client)
        futures = admin.incremental_alter_configs([resource])
        for future in futures.values():
            future.result()

    def add_partition(self) -> None:
        admin = AdminClient(self._client)
        known = admin.list_topics(self.source, timeout=PATIENCE).topics[self.source]
        more = NewPartitions(self.source, len(known.partitions) + 1)
        for future in admin.create_partitions([more]).values():
            future.result()

    def send(
        self,
        *messages: Any,
        topic: str | None = None,
        transactional: bool = False,
        **kwargs: Any,
    ) -> None:
        options = {
            **self._client,
            "message.max.bytes": 10_000_000,
            "linger.ms": 0,
            # What is sent anew, after an error, would come after what follows it.
            "enable.idempotence": True,
        }
        if transactional:
            options["transactional.id"] = f"{self.prefix}.sender"
        producer = Producer(options)
        if transactional:
            producer.init_transactions(PATIENCE)
            producer.begin_transaction()
        # What is produced while a topic is looked up comes after what follows it; and
        # after a broker was away, librdkafka may not see for minutes that it is back.
        name = topic or self.source
        self.wait(lambda: _has_leaders(producer, name))
        for message in messages:
            raw = isinstance(message, bytes)
            producer.produce(
                topic or self.source,
                value=message if raw else json.dumps(message).encode(),
                key=None if raw else str(message["key"]).encode(),
                **kwargs,
            )
        if transactional:
            producer.commit_transaction(PATIENCE)
        assert producer.flush(PATIENCE) == 0

    @contextmanager
    def open_transaction(self, *offsets: TopicPartition) -> Iterator[None]:
        """Offsets of the group in a transaction that is committed at the end."""
        producer = Producer(
            {**self._client, "transactional.id": f"{self.prefix}.other"}
        )
        member = Consumer(
            {**self._client, "group.id": self.group, "enable.auto.commit": False}
        )
        try:
            producer.init_transactions(PATIENCE)
            producer.begin_transaction()
            metadata = member.consumer_group_metadata()
            producer.send_offsets_to_transaction(list(offsets), metadata, PATIENCE)
            yield
            producer.commit_transaction(PATIENCE)
        finally:
            member.close()

    def delete_records(self, below: int) -> None:
        admin = AdminClient(self._client)
        place = TopicPartition(self.source, 0, below)
        for future in admin.delete_records([place]).values():
            future.result()

    def read(self, topic: str) -> list[Message]:
        """All that a read_committed reader sees."""
        client = Consumer(
            {
                **self._client,
                "group.id": "reader",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        try:
            known = client.list_topics(timeout=PATIENCE).topics
            if topic not in known:
                return []
            left = set(known[topic].partitions)
            client.assign([TopicPartition(topic, number, 0) for number in left])
            found = []
            while left:
                message = client.poll(PATIENCE)
                assert message is not None, f"{topic} has no end"
                if message.error():
                    left.discard(message.partition())
                else:
                    found.append(message)
            return found
        finally:
            client.close()

    def events(self) -> list[str]:
        return [json.loads(m.value())["id"] for m in self.read(self.events_topic)]

    def dead_letters(self) -> list[Message]:
        return self.read(self.dead_topic)

    def committed(self, topic: str | None = None) -> dict[int, int]:
        topic = topic or self.source
        client = Consumer({**self._client, "group.id": self.group})
        try:
            number = len(
                client.list_topics(topic, timeout=PATIENCE).topics[topic].partitions
            )
            places = [TopicPartition(topic, n) for n in range(number)]
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    found = client.committed(places, 5.0)
                    return {place.partition: place.offset for place in found}
                except KafkaException:
                    # Who asked a broker that died may wait for its answer for ever.
                    assert time.monotonic() < end
                    time.sleep(0.1)
        finally:
            client.close()

    def writer(self, **sections: Any) -> JournalWriter:
        """Start who writes the journal."""
        settings = Settings(**self.settings(**sections))
        journal = Journal(settings.journal)
        self._journals.append(journal)
        writer = JournalWriter(settings, journal, TopicIds(settings.kafka))
        self._writers.append(writer)
        writer.start()
        return writer

    def catch_up(self, **sections: Any) -> None:
        """Have a journal written up to what is committed."""
        writer = self.writer(**sections)
        assert writer.catch_up(PATIENCE) == ""
        writer.stop(PATIENCE)

    def rows(self, where: str = "1") -> list[sqlite3.Row]:
        self.catch_up()
        connection = sqlite3.connect(self.folder / "journal.db")
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(
                f'SELECT * FROM outcomes WHERE {where} ORDER BY topic, "offset"'
            ).fetchall()
        finally:
            connection.close()

    def lines(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    def switch(self, name: str, on: bool | str = True) -> None:
        file = self.folder / name
        if on:
            file.write_text(on if isinstance(on, str) else "")
        else:
            file.unlink()

    def loop(
        self, until_end: bool = True, secret: bool = False, **sections: Any
    ) -> Loop:
        settings = Settings(**self.settings(**sections))
        kind = scripted.Secret if secret else scripted.Scripted
        return Loop(
            "c",
            kind(self.folder),
            settings,
            until_end=until_end,
            on_outcome=lambda *both: self.outcomes.append(both),
        )

    def run(self, **kwargs: Any) -> RunResult:
        """Run a loop to the end, here."""
        return self.loop(**kwargs).run()

    def start(self, **kwargs: Any) -> Loop:
        """Run a loop in a thread."""
        loop = self.loop(until_end=False, **kwargs)
        results: list[RunResult] = []
        thread = threading.Thread(target=lambda: results.append(loop.run()))
        thread.start()
        self._loops.append((loop, thread, results))
        return loop

    def stop(self, loop: Loop) -> RunResult:
        loop.stop()
        return self.join(loop)

    def join(self, loop: Loop) -> RunResult:
        for other, thread, results in self._loops:
            if other is loop:
                thread.join(PATIENCE)
                assert not thread.is_alive()
                return results[0]
        raise AssertionError("never started")

    def spawn(
        self,
        *,
        fault: str = "",
        until_end: bool = False,
        consumer: str = "Scripted",
        traces: bool = False,
        **sections: Any,
    ) -> subprocess.Popen[bytes]:
        """Run a loop in a process."""
        options = {
            "settings": self.settings(**sections),
            "folder": str(self.folder),
            "until_end": until_end,
            "consumer": consumer,
            "traces": traces,
        }
        number = len(self._processes)
        with (self.folder / f"stderr-{number}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(RUNNER), json.dumps(options)],
                stdout=subprocess.PIPE,
                stderr=log,
                env={"ICAT_STREAM_FAULT": fault, "PATH": "/usr/bin:/bin"},
            )
        self._processes.append(process)
        return process

    def ended(self, process: subprocess.Popen[bytes]) -> tuple[int, dict[str, Any]]:
        out, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, json.loads(out) if out else {}

    def log(self, number: int) -> str:
        """What a process has said."""
        return (self.folder / f"stderr-{number}").read_text()

    def is_assigned(self, number: int) -> bool:
        """Whether a process has a partition of the source."""
        return f"assigned {self.source}" in self.log(number)

    def wait(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "it did not come to that"
            time.sleep(0.05)

    def close(self) -> None:
        for loop, thread, _ in self._loops:
            loop.stop()
            thread.join(PATIENCE)
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for writer in self._writers:
            writer.stop(PATIENCE)
        for journal in self._journals:
            journal.close()


def _has_leaders(producer: Producer, topic: str) -> bool:
    known = producer.list_topics(topic, timeout=PATIENCE).topics[topic].partitions
    return bool(known) and all(each.leader >= 0 for each in known.values())


@pytest.fixture
def stage(
    kafka_broker: SharedBroker, topic_prefix: str, tmp_path: Path
) -> Iterator[Stage]:
    stage = Stage(kafka_broker, topic_prefix, tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def lone_stage(
    own_broker: JavaBroker, topic_prefix: str, tmp_path: Path
) -> Iterator[Stage]:
    """A stage whose broker is nobody else's."""
    stage = Stage(own_broker, topic_prefix, tmp_path)
    yield stage
    stage.close()
