"""From which machines the members of our groups come."""

from collections.abc import Sequence

from confluent_kafka import KafkaException

from icat_stream.config import Settings

from . import kafka_clients
from .topics import group_of

_REQUEST_S = 10.0


def other_hosts(settings: Settings, names: Sequence[str]) -> set[str]:
    """Return the other machines from which members of the consumers' groups come.

    None also where the cluster does not answer, or tells no members.
    """
    admin = kafka_clients.admin(settings.kafka)
    groups = [group_of(settings, name) for name in names]
    found: set[str] = set()
    try:
        # A cluster that is away is not asked about groups: when it comes back,
        # librdkafka (2.16) ends the whole process by an assertion in
        # rd_kafka_enq_once_del_source_return.
        admin.list_topics(timeout=_REQUEST_S)
        asked = admin.describe_consumer_groups(groups, request_timeout=_REQUEST_S)
        for answer in asked.values():
            ids = {member.client_id for member in answer.result().members}
            found |= {each for each in ids if each.startswith(kafka_clients.MARK)}
    except KafkaException:
        return set()
    return {
        each.removeprefix(kafka_clients.MARK)
        for each in found - {kafka_clients.CLIENT_ID}
    }
