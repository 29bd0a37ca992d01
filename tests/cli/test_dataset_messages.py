"""Dataset messages on real Kafka, into the embedded ICAT, as operators see it."""

import pytest
from sqlalchemy import text

from plugins.postgres import superuser

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

    def do(*messages, code=0, options=None, environment=None, **sections):
        environment = environment or {}
        create_topic(facility.endpoints["kafka"], topic)
        send(facility.endpoints["kafka"], topic, *messages)
        config = facility.variant(
            name,
            kafka={"group_id": name, "instance_id": name},
            consumers={
                "datasets": {
                    "handler": "datasets",
                    "topics": [topic],
                    "options": {"base": "{root}/{investigation}", **(options or {})},
                }
            },
            **{
                "files": {"roots": [str(facility.path / "data")], "settle": 0},
                "journal": {"url": f"sqlite:///{name}.db"},
            }
            | sections,
        )
        arguments = ("-c", config, "--until-end", "--output", "json")
        done = run("icat_ingestor", *arguments, **environment)
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


def journalled(url):
    with superuser(url) as connection:
        query = "SELECT outcome, message_format, objects FROM outcomes"
        query += " ORDER BY origin_offset"
        return connection.execute(text(query)).all()


@pytest.mark.postgres
def test_the_known_xml_unchanged(facility, client, ingest, write, empty_postgres):
    new_investigation(client, PROPOSAL)
    names = [f"{n}_diffraction_thumbnail.png" for n in range(4)]
    folder = f"{PROPOSAL}/Sample-cq/ref-cq_3_diffraction_thumbnail_run1/all_files"
    write(folder, *names)
    journal = {"url": empty_postgres}
    zone = {"timezone": "Europe/Madrid"}
    *_, summary = ingest(XML, XML, options=zone, journal=journal)
    assert (summary["ingested"], summary["unchanged"]) == (1, 1)
    rows = journalled(empty_postgres)
    assert [row[:2] for row in rows] == [("ingested", "xml"), ("unchanged", "xml")]
    assert PROPOSAL in str(rows[0].objects)
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


def processed(proposal, version, *files):
    return {
        "investigation": proposal,
        "instrument": "bl06",
        "name": "reduced",
        "location": "reduced",
        "parameters": [
            {"name": "input_datasets", "value": "raw/1"},
            {"name": "processing version", "value": version},
        ],
        "datafiles": [{"location": file} for file in files],
    }


@pytest.mark.parametrize("step", ["replacement-created", "replacement-deleted"])
def test_a_replacement_survives_a_kill(facility, client, ingest, write, step):
    proposal = new_investigation(client)
    write(f"{proposal}/reduced", "a", "b")
    ingest(processed(proposal, "1.9", "a"))
    ingest(
        processed(proposal, "1.10", "b"),
        code=-9,
        environment={"ICAT_STREAM_FAULT": step},
    )
    # Whole is what is there: the old one, or the new one still beside its name.
    found = {d.name: [f.name for f in d.datafiles] for d in datasets(client, proposal)}
    assert all(found.values())
    if step == "replacement-created":
        assert found["reduced"] == ["a"]
    *_, summary = ingest(processed(proposal, "1.10", "b"), processed(proposal, "1.2"))
    assert (summary["ingested"], summary["unchanged"], summary["ignored"]) == (1, 1, 1)
    (dataset,) = datasets(client, proposal)
    assert (dataset.name, [f.name for f in dataset.datafiles]) == ("reduced", ["b"])


def test_further_messages_about_datasets(facility, client, ingest, write):
    proposal = new_investigation(client)
    write(f"{proposal}/s", "a", "b")
    first = {"investigation": proposal, "instrument": "bl06", "name": "s"}
    first |= {"location": "s", "datafiles": ["a"]}
    location = f"{facility.path}/data/{proposal}/s"
    update = {"proposal": proposal, "beamline": "bl06", "datasetPaths": [location]}
    update |= {"metadataName": "scanType", "metadataValue": "fine"}
    files = {"investigation": proposal, "location": location, "datafiles": ["b"]}
    files = {"datafiles": files}
    again = update | {"metadataValue": "coarse"}
    *_, summary = ingest(first, update, files, again, again)
    assert (summary["ingested"], summary["unchanged"]) == (4, 1)
    (dataset,) = datasets(client, proposal)
    assert {f.name for f in dataset.datafiles} == {"a", "b"}
    assert [p.stringValue for p in dataset.parameters] == ["coarse"]
    assert dataset.complete


def test_raw_twice_by_policy(client, ingest, write):
    proposal = new_investigation(client)
    write(f"{proposal}/s", "a", "b")
    message = {"investigation": proposal, "instrument": "bl06", "name": "s"}
    message |= {"location": "s"}
    one, other = message | {"datafiles": ["a"]}, message | {"datafiles": ["b"]}
    other |= {"start_date": "2026-07-01"}
    one |= {"start_date": "2026-06-01"}
    _, rejected, _ = ingest(one, other)
    assert rejected["outcome"] == "rejected"
    assert "differs: Dataset" in rejected["reason"]
    ingest(other, other, policies={"existing_datasets": "new_name"})
    names = [d.name for d in datasets(client, proposal)]
    assert len(names) == 2
    assert names[1].startswith("s-")


def test_bad_messages_are_dead_letters_and_the_daemon_goes_on(client, ingest, write):
    proposal = new_investigation(client)
    write(f"{proposal}/s", "a")
    good = {"investigation": proposal, "instrument": "bl06", "name": "s"}
    good |= {"location": "s", "datafiles": ["a"]}
    laughs = b'<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><d>&b;</d>'
    xxe = b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><d>&x;</d>'
    bad = {
        "the value begins with": b"\x00\x01\x02",
        "XML: has a document type declaration": laughs,
        "XML: has a document": xxe,
        "JSON: is nested": b'{"a":' * 5000,
        "JSON: NaN": b'{"name": NaN}',
        "datafiles: 30001 are listed": good | {"datafiles": ["a"] * 30_001},
        "location: '/etc/passwd' is outside": good | {"location": "/etc/passwd"},
        "name": good | {"name": "x" * 256},
        "Sample": good | {"name": "t", "sample": {"name": "y" * 256}},
        "parameter types scanTyp (no units), exposure [mm] (there is exposure [s]) are"
        " not in the catalogue: create them, applicable to Dataset, or set": good
        | {
            "parameters": [
                {"name": "scanTyp", "value": "x"},
                {"name": "exposure", "value": 1, "units": "mm"},
            ]
        },
        "instrument: 'bl99'": good | {"instrument": "bl99"},
        "the record has no value": b"",
    }
    *lines, summary = ingest(*bad.values(), good)
    assert (summary["rejected"], summary["ingested"]) == (len(bad), 1)
    reasons = {line["origin"]["offset"]: line["reason"] for line in lines}
    for offset, beginning in enumerate(bad):
        assert reasons[offset].startswith(beginning) or beginning in reasons[offset]


OWN_MAP = """
message: dataset
root: scan
timezone: Europe/Berlin
fields:
  name: {from: [series, number], join: "-"}
  location: path
  investigation: proposal/code
  instrument: {value: bl06}
  start: {from: begun, formats: ["%d.%m.%Y %H:%M"]}
  datafiles: {from: raw/file, plain: location, fields: {location: name}}
"""
OWN_MESSAGE = """<scan series="s" path="{proposal}/s" xmlns="urn:ours">
  <number>7</number><proposal><code>{proposal}</code></proposal>
  <begun>01.07.2026 12:00</begun><raw><file>a</file><file>b</file></raw><mood/>
</scan>"""


def own(facility, name, text):
    (facility.path / f"{name}.yaml").write_text(text)
    options = {"maps": [f"{name}.yaml"], "files": "trust"}
    consumer = {"handler": "datasets", "topics": ["t"], "options": options}
    return facility.variant(f"{name}-config", consumers={"datasets": consumer})


def test_a_format_of_ones_own_is_tried(facility, client, run, tmp_path):
    proposal = new_investigation(client)
    config = own(facility, "own-map", OWN_MAP)
    assert run("icat_validate_config", config).code == 0
    message = tmp_path / "scan.xml"
    message.write_text(OWN_MESSAGE.format(proposal=proposal))
    arguments = ("-c", config, "--consumer", "datasets", "--message", message)
    done = run("icat_background_ingestor", *arguments, "--dry-run")
    assert done.code == 0, done.err
    assert f"dataset {proposal}/1/s-7 (acquisition)" in done.out
    assert "start: 2026-07-01T10:00:00Z" in done.out
    assert "note: fields that are not read: mood" in done.out
    assert datasets(client, proposal) == []
    assert run("icat_background_ingestor", *arguments, "--no-event").code == 0
    (dataset,) = datasets(client, proposal)
    assert sorted(f.name for f in dataset.datafiles) == ["a", "b"]


def test_mistakes_in_a_field_map_are_found(facility, run):
    wrong = OWN_MAP.replace("location: path", "locaton: path").replace("Berlin", "Bln")
    done = run("icat_validate_config", own(facility, "wrong-map", wrong))
    assert done.code == 2
    path = facility.path / "wrong-map.yaml"
    assert f"{path}:4: timezone: expected a time zone" in done.err
    assert f"{path}:7: fields.locaton: is no field" in done.err
    assert "did you mean location?" in done.err
    other = facility.variant(
        "wrong-options",
        consumers={
            "datasets": {
                "handler": "datasets",
                "topics": ["t"],
                "options": {"max_datafils": 7},
            }
        },
    )
    done = run("icat_validate_config", other)
    assert done.code == 2
    assert "consumers.datasets.options.max_datafils: is no known key" in done.err
    assert "did you mean max_datafiles?" in done.err
