"""Datasets that were made from others are linked, as python-icat reads it back."""

import json
from itertools import count

import pytest

from catalogue.conftest import new_investigation
from catalogue.plans import FACILITY
from icat_stream.app import load_handler
from icat_stream.config import Settings
from icat_stream.handlers import HandlerContext
from icat_stream.records import Dataset, Outcome, OutcomeKind, Parameter, Plan

LINKS = (
    "input_datasets input_datasetIds output_datasetIds output_datasetNames"
    " output_datasets __full_input_datasetIds __full_output_datasetIds"
    " __full_input_datasetNames __full_output_datasetNames"
).split()
_OFFSETS = count(1)


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
                assert not lane.diff(found).is_empty
                notes = found.notes
                found = lane.apply(found)
                assert lane.diff(found and handler_plan(handler, each, lane)).is_empty
                found = found.also(notes)
            outcomes.append(found)
        return outcomes

    return follow


def handler_plan(handler, event, lane):
    """Plan once more: what was written changes nothing."""
    handler.key(event)
    found = handler.plan(handler.decode(event), lane)
    assert isinstance(found, Outcome), found
    assert found.kind is OutcomeKind.UNCHANGED
    return Plan(facility=FACILITY)


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
