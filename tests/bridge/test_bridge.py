"""From a STOMP broker to Kafka: nothing lost, whoever goes away."""

import logging

import pytest

from icat_stream.bridge import Bridge
from icat_stream.config import ConfigError
from icat_stream.records import SystemUnavailable
from plugins.stomp import QUEUE, Accounts, StompBroker, eventually

from .conftest import arrived, bridged, make_topic, settings_of


def test_messages_arrive_and_are_acknowledged(kafka, stomp_broker):
    bootstrap, topic = kafka
    bodies = [f'<dataset n="{n}">Größe</dataset>' for n in range(50)]
    stomp_broker.send(*bodies)
    with bridged(settings_of(*kafka, stomp_broker.address)) as bridge:
        eventually(lambda: bridge.count == 50, 30)
    assert stomp_broker.left == 0
    records = arrived(bootstrap, topic, 50)
    assert [r.value().decode() for r in records] == bodies
    assert {r.key() for r in records} == {QUEUE.encode()}
    headers = dict(records[0].headers())
    assert headers["stomp-destination"] == QUEUE.encode()
    assert headers["stomp-message-id"]


def test_what_kafka_does_not_have_is_not_acknowledged(
    own_broker, stomp_broker, topic_prefix
):
    make_topic(own_broker.bootstrap, topic_prefix)
    settings = settings_of(own_broker.bootstrap, topic_prefix, stomp_broker.address)
    with bridged(settings) as bridge:
        stomp_broker.send("first")
        eventually(lambda: bridge.count == 1)
        own_broker.freeze()
        try:
            stomp_broker.send("second", "third")
            eventually(lambda: stomp_broker.server.queue_manager._pending)
            assert (bridge.count, stomp_broker.left) == (1, 2)
        finally:
            own_broker.thaw()
        eventually(lambda: bridge.count == 3)
    found = {r.value() for r in arrived(own_broker.bootstrap, topic_prefix, 3)}
    assert found == {b"first", b"second", b"third"}


def test_a_broker_that_comes_back(kafka, stomp_broker):
    bootstrap, topic = kafka
    with bridged(settings_of(*kafka, stomp_broker.address)) as bridge:
        for number in range(3):
            stomp_broker.send(f"before {number}")
            stomp_broker.end()
            stomp_broker.start()
            stomp_broker.send(f"after {number}")
        eventually(lambda: bridge.count >= 6 and not stomp_broker.left)
    found = {r.value().decode() for r in arrived(bootstrap, topic, 6)}
    assert found == {f"{w} {n}" for w in ("before", "after") for n in range(3)}


def test_the_next_broker_where_one_is_not_there(kafka, stomp_broker):
    gone = StompBroker()
    gone.end()
    stomp_broker.send("here")
    with bridged(settings_of(*kafka, gone.address, stomp_broker.address)) as bridge:
        eventually(lambda: bridge.count == 1)


def test_one_that_kafka_never_takes_stops_nothing(kafka, stomp_broker, caplog):
    bootstrap, topic = kafka
    with caplog.at_level(logging.ERROR):
        with bridged(settings_of(*kafka, stomp_broker.address)) as bridge:
            stomp_broker.send("x" * 100_000, "fits")
            eventually(lambda: bridge.count == 1)
    (record,) = arrived(bootstrap, topic, 1)
    assert record.value() == b"fits"
    assert f"of {QUEUE} is refused by Kafka" in caplog.text
    aside = stomp_broker.store.dequeue(f"{QUEUE}.refused")
    assert aside.body == b"x" * 100_000


def test_a_login(kafka, tmp_path):
    broker = StompBroker(Accounts())
    secret = tmp_path / "secret"
    secret.write_text("a secret\n")
    more = {"username": "beamline", "password_file": secret}
    try:
        broker.send("mine", username="beamline", passcode="a secret")
        with bridged(settings_of(*kafka, broker.address, **more)) as bridge:
            eventually(lambda: bridge.count == 1)
        secret.write_text("wrong one")
        with pytest.raises(SystemUnavailable, match=r"refuses beamline: .*") as refused:
            Bridge(settings_of(*kafka, broker.address, **more), lambda: False).run()
        assert "wrong one" not in str(refused.value)
    finally:
        broker.end()


def test_a_topic_that_is_not_there(kafka_broker, stomp_broker, topic_prefix):
    settings = settings_of(
        kafka_broker.bootstrap, f"{topic_prefix}.none", stomp_broker.address
    )
    with pytest.raises(SystemUnavailable, match=r"topic .*\.none of bridge\.topics"):
        Bridge(settings, lambda: False).run()


def test_nothing_says_what_goes_where():
    with pytest.raises(ConfigError, match=r"bridge: expected brokers and topics"):
        Bridge(settings_of("127.0.0.1:9", "t"), lambda: False)
