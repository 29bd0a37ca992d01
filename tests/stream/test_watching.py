"""What waits in Kafka, seen from beside the loop."""

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from icat_stream.config import Settings
from icat_stream.records import Coordinates, SystemUnavailable
from icat_stream.stream import Action, ConsumerLag, DeadLetters
from icat_stream.stream.dead_letters.markers import marker

pytestmark = pytest.mark.kafka


def settings(bootstrap, prefix, **kafka):
    return Settings(
        facility="EXAMPLE",
        kafka={"bootstrap_servers": bootstrap, "group_id": prefix, **kafka},
        dead_letters={"topic": f"{prefix}.dead"},
        consumers={"one": {"handler": "file_written", "topics": [f"{prefix}.source"]}},
    )


def create(bootstrap, *topics):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(
        [NewTopic(t, num_partitions=2, replication_factor=1) for t in topics]
    ).values():
        future.result(60)


def send(bootstrap, topic, *records, partition=0):
    producer = Producer({"bootstrap.servers": bootstrap})
    for key, value, headers in records:
        producer.produce(
            topic, key=key, value=value, headers=headers, partition=partition
        )
    assert producer.flush(60) == 0


def read(bootstrap, topic, count):
    client = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader"})
    client.assign([TopicPartition(topic, 0, 0)])
    found = []
    while len(found) < count:
        messages = client.consume(count - len(found), 60)
        assert messages
        found += messages
    client.close()
    return found


def mark(dead, offset, timestamp):
    at = Coordinates(dead, 0, offset)
    return (*marker(at, timestamp, Action.REPLAYED), [])


def test_lag_is_what_is_not_committed(kafka_broker, topic_prefix):
    bootstrap = kafka_broker.bootstrap
    source = f"{topic_prefix}.source"
    create(bootstrap, source)
    send(bootstrap, source, *[(None, b"x", [])] * 7)
    send(bootstrap, source, *[(None, b"x", [])] * 3, partition=1)
    watch = ConsumerLag(settings(bootstrap, topic_prefix), ["one"])
    assert watch.measure().lag == {("one", source): 10}
    member = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"{topic_prefix}.one"}
    )
    member.commit(offsets=[TopicPartition(source, 0, 5)], asynchronous=False)
    member.close()
    assert watch.measure().lag == {("one", source): 5}
    watch.close()
    # Without an offset it begins at the end: nothing waits for it.
    other = ConsumerLag(
        settings(bootstrap, f"{topic_prefix}.x", start="latest"), ["one"]
    )
    assert other.measure().lag == {}
    other.close()


def test_what_stands_behind_somebodys_open_transaction_is_seen(
    kafka_broker, topic_prefix
):
    bootstrap = kafka_broker.bootstrap
    source = f"{topic_prefix}.source"
    create(bootstrap, source)
    writer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": f"{topic_prefix}.writer"}
    )
    writer.init_transactions(60)
    writer.begin_transaction()
    writer.produce(source, b"open", partition=1)
    writer.flush(60)
    send(bootstrap, source, *[(None, b"x", [])] * 3, partition=1)
    watch = ConsumerLag(settings(bootstrap, topic_prefix), ["one"])
    first = watch.measure()
    assert first.lag == {("one", source): 4}
    assert first.undecided[source, 1][1] == 0
    [(seconds, offset)] = watch.measure().undecided.values()
    assert seconds > first.undecided[source, 1][0]
    assert offset == 0
    writer.abort_transaction(60)
    # Kafka answers before all of its marks are written.
    while watch.measure().undecided:
        pass
    watch.close()


def test_dead_letters_until_somebody_deals_with_them(kafka_broker, topic_prefix):
    bootstrap = kafka_broker.bootstrap
    dead = f"{topic_prefix}.dead"
    create(bootstrap, dead)
    ours = [("icat-stream.group", f"{topic_prefix}.one".encode())]
    foreign = [("icat-stream.group", b"somebody.else")]
    watch = ConsumerLag(settings(bootstrap, topic_prefix), ["one"])
    assert watch.measure().dead_letters == 0
    send(bootstrap, dead, *[(None, b"x", ours)] * 3, (None, b"x", foreign))
    assert watch.measure().dead_letters == 3
    times = [message.timestamp()[1] for message in read(bootstrap, dead, 4)]
    # The topic of the markers comes with the first of them.
    create(bootstrap, f"{dead}.state")
    other_time = mark(dead, 1, times[1] + 1)
    send(bootstrap, f"{dead}.state", other_time, partition=1)
    assert watch.measure().dead_letters == 3
    send(bootstrap, f"{dead}.state", mark(dead, 1, times[1]), partition=1)
    assert watch.measure().dead_letters == 2
    # One that begins to look now sees the same.
    other = ConsumerLag(settings(bootstrap, topic_prefix), ["one"])
    assert other.measure().dead_letters == 2
    other.close()
    # Of what the topic's retention has removed nobody needs to know.
    admin = AdminClient({"bootstrap.servers": bootstrap})
    [removed] = admin.delete_records([TopicPartition(dead, 0, 2)]).values()
    removed.result(60)
    assert watch.measure().dead_letters == 1
    watch.close()


def test_no_kafka_is_said():
    watch = ConsumerLag(settings("127.0.0.1:9", "nobody"), ["one"])
    with pytest.raises(SystemUnavailable, match=r"Kafka at 127\.0\.0\.1:9"):
        watch.measure()
    watch.close()


def test_any_number_of_dead_letters_is_counted(kafka_broker, topic_prefix):
    bootstrap = kafka_broker.bootstrap
    dead = f"{topic_prefix}.dead"
    create(bootstrap, dead)
    ours = [("icat-stream.group", f"{topic_prefix}.one".encode())]
    for _ in range(6):
        send(bootstrap, dead, *[(None, b"x", ours)] * 20_000)
    watch = ConsumerLag(settings(bootstrap, topic_prefix), ["one"])
    assert watch.measure().dead_letters == 120_000
    watch.close()


def test_a_topic_made_a_moment_ago_can_be_looked_at(kafka_broker, topic_prefix):
    """It is listed before its partitions have leaders."""
    bootstrap = kafka_broker.bootstrap
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for number in range(5):
        given = settings(bootstrap, f"{topic_prefix}.{number}")
        with DeadLetters(given) as letters:
            assert letters.ends() == {}
            topics = [NewTopic(given.dead_letters.topic, 12, 1)]
            [made] = admin.create_topics(topics).values()
            while not (ends := letters.ends()):
                pass
            assert set(ends.values()) == {0}
            made.result(60)
