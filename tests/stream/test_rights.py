"""With the rights that docs/deployment.md asks for, and no others, all works."""

import re
from contextlib import closing
from pathlib import Path

import pytest
import scripted
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from icat_stream.config import Settings
from icat_stream.records import OutcomeKind
from icat_stream.sandbox.kafka import JavaBroker
from icat_stream.stream import (
    Action,
    ConsumerLag,
    DeadLetters,
    Replay,
    Selection,
    find_hanging,
    topic_faults,
)

from .conftest import Stage

DOCS = Path(__file__).parents[2] / "docs" / "deployment.md"
TYPES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}
USER = "ingest"


def message(name, *steps):
    return {"id": str(name), "key": f"k{name}", "do": list(steps) or ["ok"]}


def documented(**names):
    """Yield kind, name, pattern and operations of each row of the table."""
    kinds = "|".join(TYPES)
    row = rf"^\| ({kinds})(, prefixed)? \| `([^`]+)`[^|]*\| ([A-Z_, ]+) \|"
    rows = re.findall(row, DOCS.read_text(), re.MULTILINE)
    assert len(rows) >= 7
    for kind, prefixed, name, operations in rows:
        pattern = ResourcePatternType.PREFIXED if prefixed else None
        yield (
            TYPES[kind],
            names[name],
            pattern or ResourcePatternType.LITERAL,
            [AclOperation[each] for each in operations.split(", ")],
        )


@pytest.fixture
def guarded(tmp_path, topic_prefix):
    """A broker that lets nobody do anything; on its other port everybody may all."""
    broker = JavaBroker(tmp_path / "guarded", tied=True)
    broker.start()
    broker.stop()
    file = tmp_path / "guarded" / "server.properties"
    port = int(broker.bootstrap.rpartition(":")[2]) + 1
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    text = file.read_text()
    for line in ("listeners", "advertised.listeners"):
        text = re.sub(
            rf"^{line}=PLAINTEXT",
            f"{line}=SASL://127.0.0.1:{port},PLAINTEXT",
            text,
            flags=re.MULTILINE,
        )
    text = text.replace(
        "PLAINTEXT:PLAINTEXT\n", "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT\n"
    )
    text += (
        "inter.broker.listener.name=PLAINTEXT\n"
        "sasl.enabled.mechanisms=PLAIN\n"
        "listener.name.sasl.plain.sasl.jaas.config="
        f'{module} required user_{USER}="secret";\n'
        "authorizer.class.name="
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
        "super.users=User:ANONYMOUS\n"
    )
    file.write_text(text)
    broker.start()
    try:
        yield Stage(broker, topic_prefix, tmp_path), f"127.0.0.1:{port}"
    finally:
        broker.kill()


@pytest.mark.kafka
def test_the_documented_rights_are_enough(guarded, caplog):
    stage, bootstrap = guarded
    kafka = {
        "bootstrap_servers": bootstrap,
        "client": {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": USER,
            "sasl.password": "secret",
        },
    }
    stage.create(2)
    names = {
        "consumers.C.topics": stage.source,
        "events.topic": stage.events_topic,
        "outcomes.topic": stage.outcomes_topic,
        "dead_letters.topic": stage.dead_topic,
        "G.C.": f"{stage.group}.",
        "G.": f"{stage.prefix}.",
    }
    admin = AdminClient({"bootstrap.servers": stage.broker.bootstrap})
    rights = [
        AclBinding(
            kind, name, pattern, f"User:{USER}", "*", each, AclPermissionType.ALLOW
        )
        for kind, name, pattern, operations in documented(**names)
        for each in operations
    ]
    for future in admin.create_acls(rights).values():
        future.result(60)
    stage.send(
        message(1),
        message(2, "reject", "ok"),
        message(3, "need:inv"),
        message(4, "transient", "ok"),
    )
    result = stage.run(kafka=kafka)
    assert (result.exit_code, result.counts[OutcomeKind.DEFERRED]) == (0, 1)
    stage.switch("have-inv")
    settings = Settings(**stage.settings(kafka=kafka))
    replay(stage, settings)
    assert stage.run(kafka=kafka).exit_code == 0
    assert sorted(stage.events()) == ["1", "2", "3", "4"]
    stage.catch_up(kafka=kafka)
    assert len(stage.rows()) >= 4
    partitions = admin.list_topics(timeout=60).topics
    partitions = {name: len(each.partitions) for name, each in partitions.items()}
    assert list(topic_faults(settings, "c", partitions)) == []
    lag = ConsumerLag(settings, ["c"])
    assert set(lag.measure().lag.values()) == {0}
    lag.close()
    assert find_hanging(settings, "c") == []
    assert "uthoriz" not in caplog.text


def replay(stage, settings):
    with DeadLetters(settings) as letters:
        ends = letters.ends()
        assert len(list(letters.read(Selection()))) == 1
    done = []
    with closing(
        Replay(
            settings,
            consumer_of=lambda _: scripted.Scripted(stage.folder),
            on_done=done.append,
            on_problem=lambda letter, text: pytest.fail(text),
        )
    ) as tool:
        tool.run(Action.REPLAYED, Selection(), ends)
    assert sum(done) == 1
