"""People and proposals on real Kafka, into the embedded ICAT, as operators see it."""

import json
import time
from itertools import count

import pytest
from confluent_kafka import Producer

from .dataset_messages import create_topic

_NUMBERS = count(1)
HOUR = 3_600_000
HANDLERS = ("users", "investigations", "datasets")


@pytest.fixture(scope="module")
def client(facility):
    client = facility.client()
    yield client
    client.logout()


@pytest.fixture
def office(facility, run, request):
    """Publish what a user office says, and let the daemon take it in."""
    name = request.node.name.replace("_", "-").partition("[")[0]
    topics = {kind: f"{kind}-{name}" for kind in HANDLERS}
    config = facility.variant(
        name,
        kafka={"group_id": name},
        journal={"url": f"sqlite:///{name}.db"},
        consumers={
            kind: {"handler": kind, "topics": [topic]} for kind, topic in topics.items()
        },
    )
    for topic in topics.values():
        create_topic(facility.endpoints["kafka"], topic, partitions=2)

    def do(*records, code=0, options=(), **environ):
        producer = Producer({"bootstrap.servers": facility.endpoints["kafka"]})
        now = time.time_ns() // 10**6
        for kind, message, *details in records:
            given = {"age": 0, "partition": -1} | (details[0] if details else {})
            producer.produce(
                topics[kind],
                message if isinstance(message, bytes) else json.dumps(message),
                timestamp=now - given["age"],
                partition=given["partition"],
            )
        assert producer.flush(30) == 0
        done = run(
            "icat_ingestor",
            "-c",
            config,
            "--until-end",
            "--output",
            "json",
            *options,
            timeout=120,
            **environ,
        )
        assert done.code == code, done.err
        *lines, summary = done.lines
        return lines, summary

    return do


def person(*usernames, **changes):
    return {
        "first_name": "Nerissa",
        "last_name": "Bournemill",
        "email": "nerissa@example.org",
        "enabled": True,
        "user_list": [{"username": name} for name in usernames],
    } | changes


def proposal(*members, **changes):
    return {
        "name": f"office-{next(_NUMBERS):04}",
        "title": "Domains",
        "type": "experiment",
        "start_date": "2026-03-01T08:00:00",
        "end_date": "2026-03-02T08:00:00",
        "user_list": [{"username": name, "role": "Participant"} for name in members],
        "sample_acronyms": ["NaCl"],
    } | changes


def investigation(client, message):
    found = client.search(
        f"SELECT i FROM Investigation i WHERE i.name = '{message['name']}'"
        " INCLUDE i.investigationUsers.user, i.samples"
    )
    return found[0] if found else None


def members(found):
    return {each.user.name for each in found.investigationUsers}


def test_an_investigation_waits_for_its_users_only(facility, client, office):
    old, new = f"o{next(_NUMBERS)}", f"n{next(_NUMBERS)}"
    one = proposal(old, new)
    lines, summary = office(("users", person(old)))
    assert summary["ingested"] == 1
    lines, summary = office(("investigations", one))
    assert summary["deferred"] == 1
    (line,) = lines
    assert f"user '{new}' is not" in line["reason"]
    found = investigation(client, one)
    assert members(found) == {old}
    assert [sample.name for sample in found.samples] == ["NaCl"]
    office(("users", person(new)))
    deadline = time.monotonic() + 60
    while members(investigation(client, one)) != {old, new}:
        assert time.monotonic() < deadline, "it is not taken up again"
        office()
    events = [
        (key, body)
        for key, body, _ in facility.events()
        if body["origin"]["topic"].endswith("its-users-only")
    ]
    assert {(key.decode(), body["kind"]) for key, body in events} == {
        (old, "user"),
        (new, "user"),
        (f"{one['name']}/1", "investigation"),
    }
    (body,) = [body for _, body in events if body["kind"] == "investigation"]
    assert body["investigation"] == {
        "name": one["name"],
        "visit_id": "1",
        "id": investigation(client, one).id,
    }
    user = next(body for key, body in events if key.decode() == new)
    assert user["investigation"] is None
    assert user["user"]["name"] == new


def test_old_news_change_nothing_and_no_news_cost_nothing(client, office):
    one = proposal(title="newest")
    old = one | {"title": "old"}
    lines, _ = office(("investigations", one, {"partition": 0}))
    assert [line["outcome"] for line in lines] == ["ingested"]
    lines, _ = office(
        ("investigations", old, {"partition": 1, "age": HOUR}),
        ("investigations", one, {"partition": 0}),
    )
    assert investigation(client, one).title == "newest"
    found = {line["outcome"]: line for line in lines}
    assert found["ignored"]["reason"] == "superseded"
    assert found["unchanged"]["written"] == []


def test_what_comes_again_is_not_looked_into(facility, client, office):
    new = f"again{next(_NUMBERS)}"
    one, someone = proposal(new), person(new, new + "b", mood="good")
    records = [("users", someone), ("investigations", one)]
    office(records[0])
    first, _ = office(records[1])
    again, summary = office(*records)
    assert summary["unchanged"] == 2
    # Nothing was done for it: it was recalled.
    assert [line["steps"] for line in again] == [{}, {}]
    told = {line["origin"]["topic"].partition("-")[0]: line for line in again}
    assert told["users"]["reason"] == "fields that are not read: mood"
    assert told["users"]["objects"] == {"user": [new, new + "b"]}
    objects = told["investigations"]["objects"]
    assert objects["investigation_id"] == investigation(client, one).id
    assert objects == first[0]["objects"]
    events = {}
    for key, body, _ in facility.events():
        if body["origin"]["topic"].endswith("is-not-looked-into"):
            events.setdefault(key, []).append(body)
    assert len(events) == 3
    for before, after in events.values():
        differ = {name for name in before if before[name] != after[name]}
        assert differ == {"outcome", "origin", "time"}
        assert after["outcome"] == "unchanged"
    # A date that somebody else has said since makes it different.
    moved = {"experiment": one["name"], "start_date": "2026-03-01T20:00:00"}
    office(("datasets", {"investigation": moved}))
    lines, _ = office(("investigations", one))
    assert [line["outcome"] for line in lines] == ["ingested"]
    # And it is looked into where it may come to something else.
    lines, _ = office(
        ("investigations", one),
        ICAT_STREAM_CONSUMERS__INVESTIGATIONS__OPTIONS__EMBARGO_YEARS="9",
    )
    assert [line["outcome"] for line in lines] == ["ingested"]


def test_what_was_deleted_in_icat_is_found_again(client, office):
    new = f"jotest/gone{next(_NUMBERS)}"
    one, someone = proposal(), ("users", person(new))
    office(("investigations", one), someone)
    client.delete(investigation(client, one))
    client.delete(
        client.assertedSearch(f"SELECT u FROM User u WHERE u.name='{new}'")[0]
    )
    lines, _ = office(("investigations", one), someone, options=["--refresh"])
    assert [line["outcome"] for line in lines] == ["ingested", "ingested"]
    assert investigation(client, one).title == one["title"]
    assert client.search(f"SELECT u.name FROM User u WHERE u.name = '{new}'") == [new]
    lines, _ = office(("investigations", one), someone, options=["--refresh"])
    assert [line["outcome"] for line in lines] == ["unchanged", "unchanged"]


def test_a_reschedule_brings_new_dates_if_nothing_newer_is_there(client, office):
    one = proposal()
    office(("investigations", one))
    outcomes = []
    for hour, partition, age in ((20, 0, 0), (20, 0, 0), (10, 1, HOUR)):
        moved = {"experiment": one["name"], "start_date": f"2026-03-01T{hour}:00:00"}
        details = {"partition": partition, "age": age}
        lines, _ = office(("datasets", {"investigation": moved}, details))
        outcomes += [(line["outcome"], line["reason"]) for line in lines]
    assert outcomes == [("ingested", ""), ("unchanged", ""), ("ignored", "superseded")]
    found = investigation(client, one)
    assert (found.startDate.hour, found.title) == (20, "Domains")
    lines, _ = office(("investigations", one))
    assert [line["outcome"] for line in lines] == ["ingested"]
    assert investigation(client, one).startDate.hour == 8


def test_an_investigation_spans_the_stays_of_all_who_come(facility, run, client):
    name = f"stays-{next(_NUMBERS):04}"
    topic = f"{name}-proposals"
    config = facility.variant(
        name,
        kafka={"group_id": name},
        journal={"url": f"sqlite:///{name}.db"},
        consumers={
            "proposals": {
                "handler": "investigations",
                "topics": [topic],
                "options": {
                    "maps": ["user-office-proposal", "user-office-visit"],
                    "investigation_type": "experiment",
                },
            }
        },
    )
    create_topic(facility.endpoints["kafka"], topic, partitions=2)
    stated = {"proposalPk": 1, "shortCode": name, "title": "T", "submitted": True}
    producer = Producer({"bootstrap.servers": facility.endpoints["kafka"]})

    def stay(start, end):
        return {
            "startAt": f"2026-03-0{start}T08:00:00Z",
            "endAt": f"2026-03-0{end}T08:00:00Z",
            "visitorId": "v",
            "proposal": stated,
        }

    for event, message in (
        ("PROPOSAL_CREATED", stated),
        ("VISIT_CREATED", stay(3, 7)),
        ("PROPOSAL_UPDATED", stated),
        ("VISIT_CREATED", stay(2, 4)),
        ("VISIT_CREATED", stay(3, 5)),
        ("PROPOSAL_UPDATED", stated),
    ):
        producer.produce(
            topic, json.dumps(message), key=name, headers={"type": event.encode()}
        )
    assert producer.flush(30) == 0
    done = run("icat_ingestor", "-c", config, "--until-end", timeout=120)
    assert done.code == 0, done.err
    (found,) = client.search(f"SELECT i FROM Investigation i WHERE i.name = '{name}'")
    assert (found.startDate.day, found.endDate.day) == (2, 7)
    assert (found.releaseDate.year, found.releaseDate.day) == (2029, 7)


def test_what_is_bad_is_a_dead_letter_that_names_the_field(client, office):
    lines, summary = office(
        ("users", b"{"),
        ("users", b'{"first_name": "a", "first_name": "b"}'),
        ("users", person("x" * 256)),
        ("users", person("a", email="nobody")),
        ("investigations", proposal(instrument={"name": "NOWHERE"})),
        ("investigations", proposal(end_date="2020-01-01")),
        ("investigations", proposal(user_list=[{"username": "a", "role": "Boss"}])),
        ("investigations", proposal(sample_acronyms=["a", "A"])),
        ("investigations", proposal(name="n" * 256)),
        (
            "investigations",
            b'<!DOCTYPE x [<!ENTITY a "b">]><investigation>&a;</investigation>',
        ),
    )
    reasons = [line["reason"] for line in lines if line["outcome"] == "rejected"]
    (kept,) = (line["reason"] for line in lines if line["outcome"] == "ingested")
    assert kept == "email: expected name@domain (found: 'nobody'): left out"
    assert summary["ingested"] == 1, summary
    assert len(reasons) == 9, reasons
    for words in (
        "JSON: line 1",
        "instrument 'NOWHERE' is not in the catalogue",
        "is before startDate",
        "role: expected one of",
        "samples: 2 of one name",
        "256 characters",
    ):
        assert any(words in reason for reason in reasons), (words, reasons)
