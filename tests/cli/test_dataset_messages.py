"""Dataset messages on real Kafka, into the embedded ICAT, as operators see it."""

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


@pytest.fixture(scope="module")
def client(facility):
    client = facility.client()
    prepare(client)
    yield client
    client.logout()


@pytest.fixture
def ingest(facility, run, request):
    """Publish messages and let the daemon take them in."""
    name = request.node.name.replace("_", "-").partition("[")[0]
    topic = f"datasets-{name}"

    def do(*messages, code=0, options=None, **sections):
        create_topic(facility.endpoints["kafka"], topic)
        send(facility.endpoints["kafka"], topic, *messages)
        config = facility.variant(
            name,
            kafka={"group_id": name},
            journal={"url": f"sqlite:///{name}.db"},
            consumers={
                "datasets": {
                    "handler": "datasets",
                    "topics": [topic],
                    "options": {"base": "{root}/{investigation}", **(options or {})},
                }
            },
            **{"files": {"roots": [str(facility.path / "data")], "settle": 0}}
            | sections,
        )
        done = run(
            "icat_ingestor",
            *("-c", config, "--consumer", "datasets", "--until-end"),
            *("--output", "json"),
        )
        assert done.code == code, done.err
        return done.lines

    return do


@pytest.fixture
def write(facility):
    """Write files below the data folder."""

    def do(folder, *names, content=b"content"):
        for name in names:
            path = facility.path / "data" / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return do


def test_the_known_xml_unchanged(facility, client, ingest, write):
    new_investigation(client, PROPOSAL)
    names = [f"{n}_diffraction_thumbnail.png" for n in range(4)]
    folder = f"{PROPOSAL}/Sample-cq/ref-cq_3_diffraction_thumbnail_run1/all_files"
    write(folder, *names)
    *_, summary = ingest(XML, XML, options={"timezone": "Europe/Madrid"})
    assert (summary["ingested"], summary["unchanged"]) == (1, 1)
    (dataset,) = datasets(client, PROPOSAL)
    assert dataset.name == "ref-cq_3_diffraction_thumbnail_run1"
    assert dataset.type.name == "processed"
    assert dataset.complete
    assert dataset.location == f"{facility.path}/data/{folder}"
    assert dataset.startDate.isoformat().startswith("2025-07-15T13:53:33")
    assert (dataset.sample.name, dataset.sample.type.name) == (
        "20250703_Sample-cq",
        "SAMPLE",
    )
    assert [link.instrument.name for link in dataset.datasetInstruments] == ["bl06"]
    assert {f.name: (f.location, f.fileSize) for f in dataset.datafiles} == {
        name: (f"{folder}/{name}", 7) for name in names
    }
    values = {p.type.name: p.stringValue for p in dataset.parameters}
    assert values["input_datasets"] == "Sample-cq/ref-cq_3"
    assert values["ResourcesGalleryFilePaths"].count(".png") == 4


def test_json_with_files_that_are_found(client, ingest, write):
    proposal = new_investigation(client)
    write(f"{proposal}/scan1", "a.h5", "deep/b.h5", ".hidden", ".tmp/c.h5")
    message = {
        "investigation": proposal,
        "instrument": {"name": "bl06"},
        "name": "scan1",
        "location": "scan1",
        "start_date": "2026-07-01T10:00:00+02:00",
        "parameters": [
            {"name": "exposure", "value": "0.25"},
            {"name": "measured", "value": "2026-07-01 10:00:00"},
        ],
        "beam": "high",
    }
    line, _ = ingest(message)
    assert line["reason"] == "fields that are not read: beam"
    (dataset,) = datasets(client, proposal)
    assert dataset.type.name == "acquisition"
    assert {f.name for f in dataset.datafiles} == {"a.h5", "deep/b.h5"}
    values = {p.type.name: p for p in dataset.parameters}
    assert values["exposure"].numericValue == 0.25
    assert values["exposure"].type.units == "s"
    assert values["measured"].dateTimeValue.isoformat()[:19] == "2026-07-01T10:00:00"
