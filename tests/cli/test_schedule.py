"""The schedule asks integrations, on real Kafka and the embedded ICAT."""

import json
from datetime import UTC, datetime, timedelta

from .dataset_messages import create_topic, new_investigation, prepare
from .test_checksums import PATIENCE


def test_what_was_released_is_recounted_once(facility, run):
    name = "schedule"
    for topic in (name, f"{name}.events"):
        create_topic(facility.endpoints["kafka"], topic)
    client = facility.client()
    prepare(client)
    proposals = {new_investigation(client): days for days in (-1, 2, 300)}
    now = datetime.now(UTC)
    for proposal, days in proposals.items():
        (made,) = client.search(
            f"Investigation i INCLUDE i.type, i.facility [name = '{proposal}']"
        )
        made.releaseDate = now - timedelta(days=days)
        made.doi = "10.5072/schedule"
        made.update()
    client.logout()
    hidden, recent, old = proposals
    check = {"every": "1h", "operations": ["recount"]}
    check |= {"doi": "present", "release": {"at_most": "30d"}}
    config = facility.variant(
        name,
        kafka={"group_id": name},
        journal={"url": f"sqlite:///{name}.db"},
        events={"topic": f"{name}.events"},
        dead_letters={"topic": f"{name}.dead"},
        consumers={
            "statistics": {"handler": "statistics", "topics": [f"{name}.events"]}
        },
        schedule={
            "released": check,
            "opened": check | {"release": {"at_most": "last_run"}, "enabled": False},
            "unasked": check | {"operations": ["recount", "mint-proposal"]},
        },
    )
    tool = ("icat_stream", "schedule")
    listed = run(*tool, "list", "-c", config, "--output", "json").lines
    opened, released, unasked = listed
    assert (released["name"], released["last"]) == ("released", "never")
    assert (released["undone"], unasked["undone"]) == ([], ["mint-proposal"])
    nobody = run(*tool, "run", "-c", config, "unasked")
    assert nobody.code == 2
    assert "no enabled consumer does mint-proposal" in nobody.err
    assert (opened["enabled"], opened["next"]) == (False, "never")
    dry = run(*tool, "run", "-c", config, "released", "--dry-run")
    assert dry.out == f"{recent}/1\n", dry.err
    # All that is open, the first time; then what has opened since.
    dry = run(*tool, "run", "-c", config, "opened", "--dry-run")
    assert {f"{recent}/1", f"{old}/1"} <= set(dry.out.split())
    assert f"{hidden}/1" not in dry.out
    unknown = run(*tool, "run", "-c", config, "mint")
    assert (unknown.code, "none of the checks" in unknown.err) == (2, True)

    done = run(*tool, "run", "-c", config, "released")
    assert done.out == "released: 1 investigations\n", done.err
    assert run(*tool, "run", "-c", config, "opened").code == 0
    dry = run(*tool, "run", "-c", config, "opened", "--dry-run")
    assert dry.out == ""
    command = ("icat_ingestor", "-c", config, "--until-end", "--output", "json")
    *lines, _ = run(*command, timeout=PATIENCE).lines
    asked = [line["objects"]["investigation"] for line in lines]
    assert asked.count(f"{recent}/1") == 2
    assert asked.count(f"{old}/1") == 1
    assert f"{hidden}/1" not in asked
    told = run("icat_stream", "journal", "list", "-c", config, "--output", "json").lines
    (row,) = (each for each in told if "schedule released" in each["reason"])
    assert "asked for recount of 1 investigations" in row["reason"]
    assert json.dumps(row["objects"]).count(f"{recent}/1") == 1
