"""Datasets that were made from others are linked, as python-icat reads it back."""

import json
import os
from itertools import count

import pytest

from catalogue.conftest import new_investigation
from catalogue.plans import FACILITY
from icat_stream.app import load_handler
from icat_stream.config import Settings
from icat_stream.handlers import HandlerContext
from icat_stream.records import (
    Dataset,
    DependencyMissing,
    OutcomeKind,
    Parameter,
    Plan,
)

LINKS = (
    "input_datasets input_datasetIds output_datasetIds output_datasetNames"
    " output_datasets __full_input_datasetIds __full_output_datasetIds"
    " __full_input_datasetNames __full_output_datasetNames"
).split()
_OFFSETS = count(1)
# Of `make trial`: 1,000.
OUTPUTS = int(os.environ.get("OUTPUTS", "60"))


@pytest.fixture(scope="module", autouse=True)
def types(client):
    facility = client.search("Facility")[0]
    for name in LINKS:
        client.new(
            "ParameterType",
            name=name,
            units="",
            valueType="STRING",
            facility=facility,
            applicableToDataset=True,
        ).create()


@pytest.fixture
def ingest(lane, investigation):
    """Bring in a dataset that names its inputs; return its id."""

    def ingest(name, inputs="", visit=None, folder="/data"):
        visit = visit or investigation
        stated = (Parameter(name="input_datasets", units="", value=inputs),)
        dataset = Dataset(
            investigation=visit,
            name=name,
            type="other" if inputs else "raw",
            location=f"{folder}/{visit.name}/{name}",
            parameters=stated if inputs else (),
        )
        applied = lane.apply(Plan(facility=FACILITY, datasets=(dataset,)))
        return applied.datasets[0].id

    return ingest


@pytest.fixture
def follow(lane, reader, record):
    """Handle events as the daemon does: all arrive, then one after the other."""
    consumers = {"l": {"handler": "lineage", "topics": ["t"]}}
    settings = Settings(facility=FACILITY, consumers=consumers)

    def follow(*numbers, **options):
        context = HandlerContext(settings=settings, files=reader, options=options)
        handler = load_handler("lineage")(context)
        events = [
            record(
                json.dumps(
                    {
                        "version": 1,
                        "kind": "dataset",
                        "outcome": "ingested",
                        "facility": FACILITY,
                        "dataset": {"name": "d", "id": number},
                    }
                ).encode(),
                offset=next(_OFFSETS),
            )
            for number in numbers
        ]
        for each in events:
            handler.key(each)
        outcomes = []
        for each in events:
            found = handler.plan(handler.decode(each), lane)
            if isinstance(found, Plan):
                notes, new = found.notes, not lane.diff(found).is_empty
                found = lane.apply(found)
                assert (found.kind is OutcomeKind.INGESTED) is new
                planned_again(handler, each, lane)
                found = found.also(notes)
            outcomes.append(found)
        return outcomes

    return follow


def planned_again(handler, event, lane):
    """Plan once more: what was written changes nothing."""
    handler.key(event)
    found = handler.plan(handler.decode(event), lane)
    if isinstance(found, Plan):
        assert not found.datasets
        assert lane.diff(found).is_empty
        found = lane.apply(found)
    assert found.kind is OutcomeKind.UNCHANGED


@pytest.fixture
def links(client):
    def links(number):
        (found,) = client.search(
            f"SELECT d FROM Dataset d WHERE d.id = {number} INCLUDE d.parameters.type"
        )
        assert found.complete
        return {p.type.name: p.stringValue for p in found.parameters}

    return links


def both(links, raw, made):
    assert links(raw) == {
        "output_datasetIds": f"{made}",
        "output_datasetNames": "made",
        "output_datasets": links(raw)["output_datasets"],
        "__full_output_datasetIds": f"{made}",
        "__full_output_datasetNames": "made",
    }
    found = links(made)
    assert found.pop("input_datasets")
    assert found == {
        "input_datasetIds": f"{raw}",
        "__full_input_datasetIds": f"{raw}",
        "__full_input_datasetNames": "raw",
    }


@pytest.mark.parametrize("order", ["raw first", "processed first"])
@pytest.mark.parametrize("relative", [True, False])
def test_both_ends_are_linked_in_both_orders(
    ingest, follow, links, investigation, order, relative
):
    location = "raw" if relative else f"/data/{investigation.name}/raw/"
    if order == "raw first":
        raw, made = ingest("raw"), ingest("made", location)
        follow(raw, made)
    else:
        made = ingest("made", f" {location},\n none/such ")
        assert follow(made)[0].kind is OutcomeKind.UNCHANGED
        raw = ingest("raw")
        follow(raw)
    both(links, raw, made)


def test_several_inputs_in_several_investigations(ingest, follow, links, client):
    other = new_investigation(client)
    first, second = ingest("a"), ingest("b")
    third = ingest("c", visit=other)
    # Of the same name, in another investigation than the one that names it.
    ingest("a", visit=other)
    made = ingest("made", f"b, a,b,/data/{other.name}/c")
    follow(third)
    assert links(made)["input_datasetIds"] == f"{first} {second} {third}"
    for each in (first, second, third):
        assert links(each)["output_datasetIds"] == str(made)


def test_chains_and_many_outputs(ingest, follow, links):
    numbers = [ingest("0")]
    numbers += [ingest(f"{n}", f"{n - 1}") for n in range(1, 12)]
    many = [ingest(f"leaf{n}", "11") for n in range(30)]
    outcomes = follow(*reversed([*numbers, *many]))
    assert outcomes[0].kind is OutcomeKind.INGESTED
    assert {o.reason for o in outcomes[1:]} == {"linked with another"}
    everything = " ".join(map(str, sorted([*numbers[1:], *many])))
    assert links(numbers[0])["__full_output_datasetIds"] == everything
    assert links(numbers[11])["output_datasetIds"] == " ".join(map(str, many))
    above = " ".join(map(str, numbers))
    assert links(many[7])["__full_input_datasetIds"] == above


def test_a_chain_of_fifty(ingest, follow, links):
    numbers = [ingest("0"), *(ingest(f"{n}", f"{n - 1}") for n in range(1, 50))]
    # The last one was made of all the others, whichever is told of first.
    outcomes = follow(numbers[25], *numbers)
    assert outcomes[0].kind is OutcomeKind.INGESTED
    assert {outcome.reason for outcome in outcomes[1:]} == {"linked with another"}
    *above, last = numbers
    ids = " ".join(map(str, above))
    assert links(last)["__full_input_datasetIds"] == ids
    assert links(last)["input_datasetIds"] == str(above[-1])
    names = links(numbers[0])["__full_output_datasetNames"].split()
    assert names == [str(n) for n in range(1, 50)]


def test_one_of_which_many_were_made(ingest, follow, links):
    first = ingest("0")
    many = [ingest(f"leaf{n}", "0") for n in range(OUTPUTS)]
    outcome, *others = follow(first, *many)
    assert outcome.kind is OutcomeKind.INGESTED
    assert {each.reason for each in others} == {"linked with another"}
    # What has no room in 4,000 characters is left out, from the end.
    found = links(first)["output_datasetIds"].split()
    assert found == [str(n) for n in many[: len(found)]]
    notes = [line for line in outcome.written if "output_datasetIds" in line]
    more = f"{len(many) - len(found)} more have no room"
    assert all(more in line for line in notes if "no room" in line)
    assert len(found) == len(many) or any("no room" in line for line in notes)
    for each in (many[0], many[-1]):
        assert links(each)["__full_input_datasetIds"] == str(first)


def test_circles_and_itself(ingest, follow, links):
    first, second = ingest("one", "two, one"), ingest("two", "one")
    (outcome,) = follow(first)
    assert "2 datasets are made of each other: one, two" in outcome.written
    assert links(first)["input_datasetIds"] == str(second)
    assert links(first)["__full_input_datasetIds"] == str(second)
    assert links(second)["output_datasetIds"] == str(first)


def test_an_input_that_was_deleted_leaves_the_links(ingest, follow, links, client):
    first, second = ingest("one"), ingest("two")
    made, alone = ingest("made", "one,two"), ingest("alone", "two")
    follow(made, alone)
    assert links(made)["input_datasetIds"] == f"{first} {second}"
    client.delete(client.get("Dataset", second))
    follow(made, alone)
    assert links(made)["input_datasetIds"] == str(first)
    assert links(alone) == {"input_datasets": "two"}
    assert follow(second)[0].kind is OutcomeKind.IGNORED


def test_links_that_others_have_made_are_left(ingest, follow, links, client):
    first, second = ingest("one"), ingest("two")
    for location in (None, "/moved/since"):
        made = ingest(f"made {location}", *([location] if location else []))
        given = {"input_datasetIds": f"{first} {second}", "output_datasetNames": "x"}
        for name, value in given.items():
            (of,) = client.search(
                f"SELECT t FROM ParameterType t WHERE t.name='{name}'"
            )
            dataset = client.get("Dataset", made)
            client.new(
                "DatasetParameter", dataset=dataset, type=of, stringValue=value
            ).create()
        (outcome,) = follow(made)
        assert links(made).items() >= given.items()
        assert outcome.kind is OutcomeKind.UNCHANGED
        assert f"dataset {first}" in outcome.reason


def test_a_location_of_two_is_nobodys(ingest, follow, links):
    ingest("raw")
    ingest("x/raw")
    made = ingest("made", "raw")
    (outcome,) = follow(made)
    assert "2 datasets are at raw, none of them is linked" in outcome.reason
    assert links(made) == {"input_datasets": "raw"}


def test_what_has_no_room_is_noted(ingest, follow, links):
    raw = ingest("raw")
    made = [ingest(f"{n:02}" + "x" * 200, "raw") for n in range(21)]
    (outcome,) = follow(raw, names={"output_locations": None})
    assert "raw: output_datasetNames: 2 more have no room" in outcome.written
    found = links(raw)
    assert len(found["output_datasetNames"].split()) == 19
    assert found["output_datasetIds"] == " ".join(map(str, made))
    assert "output_datasets" not in found


@pytest.fixture
def application(client):
    facility = client.search("Facility")[0]
    made = client.new("Application", name="pipeline", version="1.0", facility=facility)
    made.create()
    yield made
    client.delete(made)
    client.deleteMany(client.search("SELECT c FROM DataCollection c"))


def jobs(client):
    """Return the names of inputs and outputs of each job; nothing else is there."""
    found = client.search(
        "SELECT j FROM Job j INCLUDE j.inputDataCollection.dataCollectionDatasets"
        ".dataset, j.outputDataCollection.dataCollectionDatasets.dataset"
    )
    collections = client.search("SELECT c FROM DataCollection c")
    assert len(collections) == 2 * len(found)
    return sorted(
        tuple(
            sorted(each.dataset.name for each in collection.dataCollectionDatasets)
            for collection in (job.inputDataCollection, job.outputDataCollection)
        )
        for job in found
    )


JOBS = {"application": "pipeline"}


def test_jobs_of_icats_own_are_made_once(ingest, follow, client, application):
    first, made = ingest("a"), ingest("made", "a,b")
    (outcome,) = follow(made, **JOBS)
    assert "created with 1 inputs" in outcome.written[-1]
    assert jobs(client) == [(["a"], ["made"])]
    # A second input comes later, and an event of each comes again.
    second, more = ingest("b"), ingest("more", "made")
    follow(second, more, **JOBS)
    expected = [(["a", "b"], ["made"]), (["made"], ["more"])]
    assert jobs(client) == expected
    for number in (first, second, made, more):
        follow(number, **JOBS)
    assert jobs(client) == expected
    client.delete(client.get("Dataset", first))
    follow(made, **JOBS)
    assert jobs(client) == [(["b"], ["made"]), (["made"], ["more"])]


def test_a_job_is_completed_after_a_crash_and_never_twice(
    ingest, follow, client, application
):
    first, made = ingest("a"), ingest("made", "a")
    mark = f"icat-stream dataset {made}"

    def collection(relation, dataset, **fields):
        one = client.new("DataCollection")
        one.dataCollectionDatasets = [
            client.new("DataCollectionDataset", dataset=client.get("Dataset", dataset))
        ]
        job = client.new("Job", application=application, arguments=mark, **fields)
        setattr(one, relation, [job])
        one.create()
        return one

    # Ours, killed after its first step; and another process is as far.
    mine = collection("jobsAsInput", first)
    collection("jobsAsInput", first)
    follow(made, **JOBS)
    assert jobs(client) == [(["a"], ["made"])]
    (kept,) = client.search("SELECT j.inputDataCollection.id FROM Job j")
    assert kept == mine.id
    # Two were made at the same moment.
    collection("jobsAsOutput", made, inputDataCollection=mine)
    follow(made, **JOBS)
    assert jobs(client) == [(["a"], ["made"])]


def test_an_application_that_is_not_there_is_waited_for(ingest, follow, lane, client):
    ingest("a")
    made = ingest("made", "a")
    with pytest.raises(
        DependencyMissing, match=r"application pipe line 1\.0"
    ) as caught:
        follow(made, application="pipe line")
    assert not set(lane.present(caught.value.missing))
    facility = client.search("Facility")[0]
    there = client.new("Application", name="pipe line", version="1.0")
    there.facility = facility
    there.create()
    assert set(lane.present(caught.value.missing)) == set(caught.value.missing)
    follow(made, application="pipe line")
    client.delete(there)
    client.deleteMany(client.search("SELECT c FROM DataCollection c"))
