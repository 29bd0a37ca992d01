"""What is there in the end, compared with what was announced: from outside."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from faults.announcing import SOURCE, Announced, plain
from faults.outside import Facility

Expect = Callable[[bool, str], None]


def check(facility: Facility, announced: Announced, *, sessions: bool) -> list[str]:
    """Return what is wrong in the end.

    ``sessions`` asks whether there are any left, as there are where somebody did not
    stop in order.
    """
    wrong: list[str] = []

    def expect(holds: bool, what: str) -> None:
        if not holds:
            wrong.append(what)

    names = _datasets(facility, announced, expect)
    events = [json.loads(value) for value in facility.read("icat-stream.events")]
    origins = [tuple(event["origin"].values()) for event in events]
    told = {plain(event["dataset"]["name"]) for event in events}
    expect(told >= announced.datasets, "datasets without an event")
    expect(told <= names, "events of datasets that are not there")
    letters = [
        (
            headers["icat-stream.topic"].decode(),
            int(headers["icat-stream.partition"]),
            int(headers["icat-stream.offset"]),
        )
        for headers in facility.headers("icat-stream.dead-letters")
    ]
    _once(origins, len(told), "events", expect)
    _once(letters, announced.count - len(told), "dead letters", expect)
    expect(not set(origins) & set(letters), "both an event and a dead letter")
    _journal(facility, events, letters, announced, expect)

    committed = facility.committed()
    for topic, partition, end in facility.ends(SOURCE):
        offset = committed.get((topic, partition), 0)
        expect(offset == end, f"{topic}[{partition}]: committed {offset} of {end}")
    left = facility.sessions() if sessions else 0
    expect(not left, f"{left} sessions left behind, though all have stopped in order")
    return wrong


def _datasets(facility: Facility, announced: Announced, expect: Expect) -> set[str]:
    datasets, datafiles = facility.datasets()
    names = {plain(name) for name in datasets}
    missing = announced.datasets - names
    many = names - announced.datasets - announced.either
    expect(not missing, f"datasets missing: {sorted(missing)[:5]} ({len(missing)})")
    expect(not many, f"datasets too many: {sorted(many)[:5]} ({len(many)})")
    twice = [name for name, count in datasets.items() if count > 1]
    expect(len(names) == len(datasets), "datasets under two names")
    expect(not twice, f"datasets twice: {twice[:5]}")
    expect(datafiles == len(names), f"{datafiles} datafiles of {len(names)} datasets")
    incomplete = facility.incomplete()
    expect(not incomplete, f"half datasets: {incomplete[:5]}")
    return names


def _journal(
    facility: Facility,
    events: list[dict[str, Any]],
    letters: list[tuple[Any, ...]],
    announced: Announced,
    expect: Expect,
) -> None:
    rows = facility.journal(
        "SELECT origin_topic, origin_partition, origin_offset, state, outcome"
        " FROM outcomes"
    )
    pending = [row for row in rows if row[3] != "committed"]
    expect(not pending, f"{len(pending)} journal rows are pending: {pending[:3]}")
    ends = [row[:3] for row in rows if row[4] != "deferred"]
    _once(ends, announced.count, "journal rows", expect)
    rejected = {row[:3] for row in rows if row[4] == "rejected"}
    expect(
        rejected == set(letters), "the journal's rejections are not the dead letters"
    )
    put_off = {row[:3] for row in rows if row[4] == "deferred"}
    _order(events, put_off, expect)


def _order(
    events: list[dict[str, Any]], put_off: set[tuple[Any, ...]], expect: Expect
) -> None:
    """Events of one key and one partition come in order, but for what was put off."""
    last: dict[tuple[Any, ...], int] = defaultdict(lambda: -1)
    for event in events:
        topic, partition, offset = event["origin"].values()
        if (topic, partition, offset) in put_off:
            continue
        # A file's key is its path, and each has a dataset of its own.
        key = (event["dataset"]["id"], partition)
        expect(offset > last[key], f"{topic}[{partition}]@{offset} is out of order")
        last[key] = offset


def _once(found: list[tuple[Any, ...]], wanted: int, what: str, expect: Expect) -> None:
    twice = [each for each, count in Counter(found).items() if count > 1]
    expect(not twice, f"{what} twice: {twice[:5]} ({len(twice)})")
    expect(len(set(found)) == wanted, f"{len(set(found))} {what}, not {wanted}")
