"""Statistics, lineage and gallery beside a daemon that is killed: all of it is right.

``DATASETS`` and ``KILLS`` make it larger.
"""

import json
import os
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from .test_newest_snapshots import Run, running

DATASETS = int(os.environ.get("DATASETS", "24"))
KILLS = int(os.environ.get("KILLS", "1"))
INVESTIGATIONS = max(2, DATASETS // 100)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)
FIGURES = ("__fileCount", "__volume", "__datasetCount")
LINKS = (
    "input_datasets input_datasetIds output_datasetIds output_datasetNames"
    " output_datasets __full_input_datasetIds __full_output_datasetIds"
    " __full_input_datasetNames __full_output_datasetNames"
).split()


def inputs_of(number: int) -> list[int]:
    """Return of which datasets of its investigation one is made."""
    chance = random.Random(number)
    earlier = list(range(number % INVESTIGATIONS, number, INVESTIGATIONS))
    if not earlier or chance.random() < 0.4:
        return []
    return sorted(chance.sample(earlier[-8:], min(len(earlier[-8:]), 2)))


def has_picture(number: int) -> bool:
    return number % 8 == 0


def message(number: int, folder: Path) -> bytes:
    start = BEGIN + timedelta(minutes=number)
    parameters = []
    if inputs := inputs_of(number):
        value = ", ".join(f"{folder}/d{each:05}" for each in inputs)
        parameters.append({"name": "input_datasets", "value": value})
    if has_picture(number):
        value = f"{folder}/picture.png"
        parameters.append({"name": "ResourcesGalleryFilePaths", "value": value})
    return json.dumps(
        {
            "investigation": f"2026-{number % INVESTIGATIONS:04}",
            "instrument": "LUMEN",
            "name": f"d{number:05}",
            "location": f"{folder}/d{number:05}",
            "start_date": start.isoformat(),
            "end_date": (start + timedelta(minutes=1)).isoformat(),
            "parameters": parameters,
            "datafiles": [
                {"location": f"{n}.dat", "size": 100 * number + n} for n in range(2)
            ],
        }
    ).encode()


def write(number: int, folder: Path) -> None:
    """Write a dataset's files, as large as its message says."""
    there = folder / f"d{number:05}"
    there.mkdir()
    for n in range(2):
        with (there / f"{n}.dat").open("wb") as file:
            file.truncate(100 * number + n)


def prepare(client: Any) -> None:
    """Create investigations, and the types of what is written."""
    facility = client.search("Facility")[0]
    kind = client.search("InvestigationType")[0]
    new = client.new
    for name in (*FIGURES, *LINKS, "ResourcesGalleryFilePaths"):
        new(
            "ParameterType",
            name=name,
            units="",
            valueType="STRING",
            facility=facility,
            applicableToDataset=True,
            applicableToInvestigation=True,
        ).create()
    there = {each.name for each in client.search("DatasetType")}
    for name in {"acquisition", "processed", "raw"} - there:
        new("DatasetType", name=name, facility=facility).create()
    new("Application", name="pipeline", version="1.0", facility=facility).create()
    instrument = client.search("Instrument")[0]
    investigations = [
        new(
            "Investigation",
            name=f"2026-{number:04}",
            visitId="1",
            title="A test",
            facility=facility,
            type=kind,
            investigationInstruments=[
                new("InvestigationInstrument", instrument=instrument)
            ],
        )
        for number in range(INVESTIGATIONS)
    ]
    client.createMany(investigations)


def consumers(topic: str, events: str) -> dict[str, Any]:
    figures = ("files", "volume", "datasets")
    others = (
        "seconds samples acquisition_datasets acquisition_files acquisition_volume"
        " processed_datasets processed_files processed_volume"
    ).split()
    names = dict.fromkeys(others) | dict(zip(figures, FIGURES, strict=True))
    return {
        "datasets": {"handler": "datasets", "topics": [topic], "lanes": 4},
        "statistics": {
            "handler": "statistics",
            "topics": [events],
            "options": {"parameters": ["investigation"], "names": names, "gather": 0.5},
        },
        "lineage": {
            "handler": "lineage",
            "topics": [events],
            "options": {"inputs": "input_datasets", "application": "pipeline"},
        },
        "gallery": {
            "handler": "gallery",
            "topics": [events],
            "options": {"paths": "ResourcesGalleryFilePaths"},
        },
    }


def rest(run: Run) -> None:
    """Run until nothing more follows from anything."""
    for _ in range(10):
        summary = run.run_until_end()
        assert summary["rejected"] == 0
        if summary["ingested"] == 0:
            return
    pytest.fail("the events topic does not come to rest")


def closure(direct: dict[int, set[int]]) -> dict[int, set[int]]:
    """Return all that can be reached from each, in any number of steps."""
    found = {}
    for begin in direct:
        reached: set[int] = set()
        left = list(direct[begin])
        while left:
            if (one := left.pop()) not in reached:
                reached.add(one)
                left += direct[one]
        found[begin] = reached
    return found


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.timeout(14_400)
def test_figures_links_pictures_and_jobs_are_right(
    kafka_broker, topic_prefix, tmp_path
):
    folder = tmp_path / "killed"
    topic, bootstrap = f"{topic_prefix}-datasets", kafka_broker.bootstrap
    admin = AdminClient({"bootstrap.servers": bootstrap})
    events = f"{topic}-{folder.name}-events"
    for done in admin.create_topics(
        [NewTopic(each, 2, 1) for each in (topic, events)]
    ).values():
        done.result(60)
    with running(folder, topic, bootstrap, consumers=consumers(topic, events)) as run:
        prepare(run.client)
        (folder / "picture.png").write_bytes(PICTURE)
        producer = Producer({"bootstrap.servers": bootstrap})
        order = list(range(DATASETS))
        chance = random.Random(3)
        chance.shuffle(order)
        for number in order:
            write(number, folder)
            producer.produce(topic, message(number, folder), key=str(number))
            producer.poll(0)
        assert producer.flush(60) == 0
        for _ in range(KILLS):
            run.kill_while_it_works(chance.randrange(1, max(2, DATASETS // KILLS)))
        rest(run)
        check(run)


def check(run: Run) -> None:
    numbers = {
        int(name[1:]): (number, investigation)
        for number, name, investigation in run.pages(
            "SELECT d.id, d.name, i.name FROM Dataset d JOIN d.investigation i", "d"
        )
    }
    assert sorted(numbers) == list(range(DATASETS))
    ids = {number: found[0] for number, found in numbers.items()}

    files: dict[str, list[int]] = defaultdict(list)
    for investigation, size in run.pages(
        "SELECT i.name, f.fileSize FROM Datafile f JOIN f.dataset d"
        " JOIN d.investigation i",
        "f",
    ):
        files[investigation].append(size)
    pictures = sum(map(has_picture, range(DATASETS)))
    assert sum(map(len, files.values())) == 2 * DATASETS + pictures
    datasets = Counter(investigation for _, investigation in numbers.values())
    stated: dict[str, dict[str, str]] = defaultdict(dict)
    for investigation, name, value in run.pages(
        "SELECT i.name, t.name, p.stringValue FROM InvestigationParameter p"
        " JOIN p.investigation i JOIN p.type t",
        "p",
    ):
        stated[investigation][name] = value
    assert stated == {
        name: {
            "__fileCount": str(len(sizes)),
            "__volume": str(sum(sizes)),
            "__datasetCount": str(datasets[name]),
        }
        for name, sizes in files.items()
    }

    links: dict[int, dict[str, set[int]]] = defaultdict(dict)
    for number, name, value in run.pages(
        "SELECT d.id, t.name, p.stringValue FROM DatasetParameter p"
        " JOIN p.dataset d JOIN p.type t WHERE t.name LIKE '%datasetIds'",
        "p",
    ):
        links[number][name] = set(map(int, value.split()))
    above = {number: set(inputs_of(number)) for number in range(DATASETS)}
    below: dict[int, set[int]] = {number: set() for number in range(DATASETS)}
    for number, inputs in above.items():
        for each in inputs:
            below[each].add(number)
    expected = {
        "input_datasetIds": above,
        "output_datasetIds": below,
        "__full_input_datasetIds": closure(above),
        "__full_output_datasetIds": closure(below),
    }
    for name, linked in expected.items():
        wrong = {
            number: (links[ids[number]].get(name), others)
            for number, others in linked.items()
            if links[ids[number]].get(name, set()) != {ids[each] for each in others}
        }
        assert not wrong, name

    jobs = list(run.pages("SELECT j.arguments FROM Job j", "j"))
    processed = [ids[number] for number, inputs in above.items() if inputs]
    assert sorted(jobs) == sorted(f"icat-stream dataset {each}" for each in processed)
