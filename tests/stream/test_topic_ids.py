"""Kafka's ids of topics, asked of a real broker."""

import pytest
from confluent_kafka.admin import AdminClient

from icat_stream.config import KafkaSettings
from icat_stream.records import TransientFailure
from icat_stream.stream import TopicIds


def test_a_topic_made_anew_is_another_one(stage):
    stage.create(1)
    ids = TopicIds(KafkaSettings(bootstrap_servers=stage.broker.bootstrap))
    old = ids(stage.source)
    assert old
    assert ids(stage.source, renewed=True) == old
    admin = AdminClient({"bootstrap.servers": stage.broker.bootstrap})
    admin.delete_topics([stage.source])[stage.source].result()
    stage.wait(lambda: stage.source not in admin.list_topics(timeout=30).topics)
    stage.create(1)
    stage.wait(lambda: ids(stage.source, renewed=True) not in ("", old))


def test_without_kafka_it_is_tried_again(monkeypatch):
    monkeypatch.setattr("icat_stream.stream.topic_ids._REQUEST_S", 0.2)
    ids = TopicIds(KafkaSettings(bootstrap_servers="127.0.0.1:9"))
    with pytest.raises(TransientFailure, match="id of topic users"):
        ids("users")
