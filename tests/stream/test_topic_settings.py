"""Topics of what waits: made as their sources are, checked at start and mended."""

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

pytestmark = pytest.mark.kafka

DAY_MS = 86_400_000
LARGE = 4 * 2**20


def message(name, *steps, pad=0):
    return {"id": name, "key": "k", "do": list(steps) or ["ok"], "pad": "x" * pad}


def configs(stage, topic):
    admin = AdminClient({"bootstrap.servers": stage.broker.bootstrap})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    [future] = admin.describe_configs([resource]).values()
    return {entry.name: entry.value for entry in future.result().values()}


def partitions(stage, topic):
    admin = AdminClient({"bootstrap.servers": stage.broker.bootstrap})
    return len(admin.list_topics(topic, timeout=60).topics[topic].partitions)


def test_they_are_made_to_fit(stage):
    stage.create(partitions=3)
    stage.run(retries={"delays": ["1h"], "park_for": "2d"})
    retry, parked = (f"{stage.group}.{name}" for name in ("retry.0", "parked"))
    assert [partitions(stage, each) for each in (retry, parked)] == [3, 3]
    assert int(configs(stage, retry)["retention.ms"]) > DAY_MS
    table = configs(stage, parked)
    assert table["cleanup.policy"] == "compact"
    assert int(table["segment.ms"]) <= 3_600_000
    assert int(table["delete.retention.ms"]) >= DAY_MS


def test_outcomes_are_kept_for_as_long_as_is_configured(stage):
    stage.create()
    stage.run(outcomes={"retention": "40d"}, journal={"payload_limit": "2MiB"})
    made = configs(stage, stage.outcomes_topic)
    assert int(made["retention.ms"]) == 40 * DAY_MS
    assert int(made["max.message.bytes"]) > 2 * 2**20
    stage.configure(stage.outcomes_topic, **{"retention.ms": "60000"})
    stage.run()
    assert int(configs(stage, stage.outcomes_topic)["retention.ms"]) == 30 * DAY_MS
    # More is as good.
    stage.run(outcomes={"retention": "1d"})
    assert int(configs(stage, stage.outcomes_topic)["retention.ms"]) == 30 * DAY_MS


def test_what_does_not_fit_is_mended_and_a_large_record_can_wait(stage):
    stage.create(partitions=1, **{"max.message.bytes": str(LARGE)})
    retry, parked = (f"{stage.group}.{name}" for name in ("retry.0", "parked"))
    stage.create_topic(retry, **{"retention.ms": "1000"})
    stage.create_topic(parked)
    stage.create_topic(stage.events_topic, **{"max.message.bytes": str(LARGE)})
    loop = stage.start(retries={"delays": ["1h"]})
    stage.wait(lambda: loop.status().joined)
    stage.send(message("large", "need:inv", pad=3 * 2**20))
    stage.wait(lambda: loop.status().parked == 1)
    stage.switch("have-inv")
    stage.wait(lambda: stage.events() == ["large"])
    stage.stop(loop)
    assert stage.dead_letters() == []
    assert int(configs(stage, retry)["retention.ms"]) > 3_600_000
    assert configs(stage, retry)["max.message.bytes"] == str(LARGE)
    assert configs(stage, parked)["cleanup.policy"] == "compact"


def test_where_that_is_forbidden_it_is_said(stage, caplog):
    stage.create(partitions=2)
    for name in (stage.events_topic, stage.outcomes_topic, stage.dead_topic):
        stage.create_topic(name)
    for name in ("retry.0", "retry.1", "parked"):
        stage.create_topic(f"{stage.group}.{name}")
    stage.send(message("1"))
    assert stage.run(kafka={"create_topics": False}).exit_code == 0
    assert f"topic {stage.group}.parked should have cleanup.policy=compact" in (
        caplog.text
    )
    assert "fewer than the 2 partitions" in caplog.text
