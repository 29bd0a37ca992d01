"""What follows datasets, all at once, on real Kafka and the embedded ICAT."""

import json

import pytest

from .dataset_messages import (
    PROPOSAL,
    XML,
    create_topic,
    datasets,
    new_investigation,
    prepare,
    send,
)
from .test_early_datasets import read

PNG = b"\x89PNG\r\n\x1a\n" + bytes(10)
RAW = {"name": "ref-cq_3", "location": "Sample-cq/ref-cq_3"}
LINKS = (
    "input_datasetIds output_datasetIds output_datasetNames output_datasets"
    " __full_input_datasetIds __full_output_datasetIds"
    " __full_input_datasetNames __full_output_datasetNames"
).split()


@pytest.fixture(scope="module")
def client(facility):
    client = facility.client()
    prepare(client)
    of = client.search("Facility")[0]
    for name in LINKS:
        client.new(
            "ParameterType",
            name=name,
            units="",
            valueType="STRING",
            applicableToDataset=True,
            facility=of,
        ).create()
    client.new("Application", name="pipeline", version="1.0", facility=of).create()
    yield client
    client.logout()


@pytest.mark.parametrize("order", ["raw-first", "processed-first"])
def test_the_known_xml_and_its_raw_dataset(facility, client, run, order):
    proposal = new_investigation(client)
    kafka, topic = facility.endpoints["kafka"], f"lineage-{order}"
    folders = (
        f"{proposal}/{RAW['location']}",
        f"{proposal}/Sample-cq/ref-cq_3_diffraction_thumbnail_run1/all_files",
    )
    for folder in folders:
        for number in range(4):
            file = f"{number}_diffraction_thumbnail.png"
            path = facility.path / "data" / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"a" * (number + 1))
    pictures = facility.path / "data" / proposal / "gallery"
    pictures.mkdir()
    for number in range(4):
        (pictures / f"{number}_diffraction_thumbnail.png").write_bytes(PNG)
    messages = {
        "raw": RAW
        | {
            "investigation": proposal,
            "instrument": "bl06",
            "start_date": "2025-07-15T13:00:00Z",
            "end_date": "2025-07-15T13:00:01Z",
            "datafiles": [{"location": "0_diffraction_thumbnail.png"}],
        },
        "processed": XML.replace(PROPOSAL, proposal),
    }
    events = f"{topic}.events"
    for each in (topic, events):
        create_topic(kafka, each)
    config = facility.variant(
        topic,
        kafka={"group_id": topic},
        files={
            "roots": [str(facility.path / "data")],
            "settle": 0,
            "path_map": {"/icat/gallery": str(pictures)},
        },
        journal={"url": f"sqlite:///{topic}.db"},
        events={"topic": events},
        dead_letters={"topic": f"{topic}.dead"},
        consumers={
            "datasets": {
                "handler": "datasets",
                "topics": [topic],
                "options": {"base": "{root}/{investigation}"},
            },
            "lineage": {
                "handler": "lineage",
                "topics": [events],
                "options": {"application": "pipeline"},
            },
            "gallery": {"handler": "gallery", "topics": [events]},
            "statistics": {
                "handler": "statistics",
                "topics": [events],
                "options": {"gather": 0},
            },
        },
    )
    command = ("icat_ingestor", "-c", config, "--until-end", "--output", "json")
    for message in sorted(messages, reverse=order == "raw-first"):
        send(kafka, topic, messages[message])
        # Once for the message, once for its events, once for those of the links.
        for _ in range(3):
            done = run(*command, timeout=120)
            assert done.code == 0, done.err
            assert done.lines[-1]["rejected"] == 0, done.lines
    found = {dataset.name: dataset for dataset in datasets(client, proposal)}
    raw = found.pop(RAW["name"])
    (processed,) = found.values()
    values = {p.type.name: p.stringValue for p in raw.parameters}
    assert values == {
        "output_datasetIds": str(processed.id),
        "output_datasetNames": processed.name,
        "output_datasets": processed.location,
        "__full_output_datasetIds": str(processed.id),
        "__full_output_datasetNames": processed.name,
    }
    values = {p.type.name: p.stringValue for p in processed.parameters}
    assert values["input_datasetIds"] == str(raw.id)
    assert values["__full_input_datasetNames"] == raw.name
    assert (raw.fileCount, raw.fileSize) == (1, 1)
    # Its four pictures have the names of its files, and are counted with them.
    size = 10 + 4 * len(PNG)
    assert (processed.fileCount, processed.fileSize) == (8, size)
    files = client.search(
        f"SELECT f FROM Datafile f WHERE f.dataset.id = {processed.id}"
    )
    assert {f.name: f.location for f in files if f.name.startswith("gallery/")} == {
        f"gallery/{n}_diffraction_thumbnail.png": (
            f"{proposal}/gallery/{n}_diffraction_thumbnail.png"
        )
        for n in range(4)
    }
    jobs = client.search(
        "SELECT d.dataset.id FROM DataCollectionDataset d"
        f" WHERE d.dataset.id IN ({raw.id}, {processed.id})"
    )
    assert sorted(jobs) == sorted([raw.id, processed.id])
    # The topic is at rest: two announcements, and what links and pictures changed.
    bodies = [json.loads(record.value()) for record in read(facility, events)]
    told = [(body.get("cause"), body["dataset"]["id"]) for body in bodies]
    expected = [(c, d.id) for c in (None, "lineage") for d in (raw, processed)]
    expected.append(("gallery", processed.id))
    assert sorted(told, key=str) == sorted(expected, key=str)
    *_, summary = run(*command, timeout=120).lines
    assert summary["announced"] == 0
    # The same again changes nothing.
    for message in messages.values():
        send(kafka, topic, message)
    for _ in range(2):
        *lines, summary = run(*command, timeout=120).lines
        assert summary["unchanged"] == summary["announced"] > 0, lines
