"""``icat_stream transactions``: that nothing hangs, and what has to be said for it."""

import pytest

from .dataset_messages import create_topic


@pytest.fixture
def config(facility, topic_prefix):
    create_topic(facility.endpoints["kafka"], topic_prefix)

    def write(**kafka):
        return facility.variant(
            topic_prefix,
            kafka={"group_id": topic_prefix, **kafka},
            events={"topic": f"{topic_prefix}.events"},
            dead_letters={"topic": f"{topic_prefix}.dead"},
            consumers={"c": {"handler": "datasets", "topics": [topic_prefix]}},
        )

    return write


def test_where_nothing_hangs_that_is_said(run, config):
    file = config(instance_id="here")
    done = run("icat_stream", "transactions", "list", "-c", file)
    assert (done.code, done.out) == (0, "no transaction hangs\n"), done.err
    done = run("icat_stream", "transactions", "free", "-c", file)
    assert (done.code, done.out) == (0, "c: no transaction hangs\n")


def test_who_left_it_has_to_be_known(run, config):
    done = run("icat_stream", "transactions", "free", "-c", config())
    assert done.code == 2
    assert "--transactional-id" in done.err


def test_a_consumer_that_is_none_is_refused(run, config):
    done = run("icat_stream", "transactions", "list", "-c", config(), "--consumer", "x")
    assert done.code == 2
    assert "none of the consumers in the configuration: c" in done.err
