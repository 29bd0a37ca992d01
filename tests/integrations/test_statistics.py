"""Events become figures in the catalogue, as python-icat reads them back."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from catalogue.conftest import logged_in
from catalogue.plans import FACILITY
from icat_stream.app import load_handler
from icat_stream.config import ConfigError, Settings
from icat_stream.handlers import HandlerContext
from icat_stream.records import (
    Datafile,
    Dataset,
    NotReady,
    Outcome,
    OutcomeKind,
    Plan,
    Rejection,
    Sample,
)
from plugins.icat import start_icat

START = datetime(2026, 5, 6, 7, tzinfo=UTC)
FIGURES = (
    "__fileCount __volume __elapsedTime __sampleCount __datasetCount"
    " __acquisitionDatasetCount __acquisitionFileCount __acquisitionVolume"
    " __processedDatasetCount __processedFileCount __processedVolume"
).split()
_OFFSETS = count(1)


@pytest.fixture(scope="module", params=[True, False], ids=["triggers", "no triggers"])
def triggers(request):
    """Whether ICAT's database keeps fileCount and fileSize by itself."""
    return request.param


@pytest.fixture(scope="module")
def server(triggers, tmp_path_factory):
    options = () if triggers else ("--no-triggers",)
    yield from start_icat(tmp_path_factory.mktemp("icat"), *options)


@pytest.fixture(scope="module")
def client(server):
    yield from logged_in(server)


@pytest.fixture(scope="module")
def catalogues(server):
    return {}


@pytest.fixture(scope="module", autouse=True)
def types(client):
    facility = client.search("Facility")[0]
    for name in FIGURES:
        client.new(
            "ParameterType",
            name=name,
            units="",
            # One of them as somebody who wants sums would have it.
            valueType="NUMERIC" if name == "__volume" else "STRING",
            facility=facility,
            applicableToDataset=True,
            applicableToInvestigation=True,
            applicableToSample=True,
        ).create()


@pytest.fixture
def ingest(lane, investigation):
    """Bring in a dataset with files of some sizes; return its id."""

    def ingest(name, *sizes, type="raw", sample=None, minutes=0):
        dataset = Dataset(
            investigation=investigation,
            name=name,
            type=type,
            sample=sample and Sample(name=sample, create=True),
            start=START,
            end=START + timedelta(minutes=minutes),
            datafiles=tuple(
                Datafile(name=f"{n}", location=f"{name}/{n}", size=size)
                for n, size in enumerate(sizes)
            ),
        )
        applied = lane.apply(Plan(facility=FACILITY, datasets=(dataset,)))
        return applied.datasets[0].id

    return ingest


@pytest.fixture
def event(investigation, record):
    def event(dataset=None, **changes):
        body = {
            "version": 1,
            "kind": "investigation" if dataset is None else "dataset",
            "outcome": "ingested",
            "facility": FACILITY,
            "investigation": {
                "name": investigation.name,
                "visit_id": investigation.visit_id,
                "id": 1,
            },
            "dataset": {"name": "d", "id": dataset},
            "origin": {"topic": "t", "partition": 0, "offset": 7},
            "time": "2026-11-21T08:00:00.000+00:00",
        }
        return record(json.dumps(body | changes).encode(), offset=next(_OFFSETS))

    return event


@pytest.fixture
def make(reader):
    def make(**options):
        levels = ["dataset", "investigation", "sample"]
        options = {"parameters": levels, "gather": 0} | options
        consumers = {"s": {"handler": "statistics", "topics": ["t"]}}
        settings = Settings(facility=FACILITY, consumers=consumers)
        context = HandlerContext(settings=settings, files=reader, options=options)
        return load_handler("statistics")(context)

    return make


@pytest.fixture
def follow(lane):
    """Handle events as the daemon does: all arrive, then one after the other."""

    def follow(handler, *events):
        for each in events:
            handler.key(each)
        outcomes = []
        for each in events:
            found = handler.decode(each)
            if not isinstance(found, Outcome):
                found = handler.plan(found, lane)
            if isinstance(found, Plan):
                assert not lane.diff(found).is_empty or not lane.apply(found).written
                found = lane.apply(found)
            outcomes.append(found)
        return outcomes

    return follow


def parameters(thing):
    return {
        p.type.name: p.stringValue if p.numericValue is None else p.numericValue
        for p in thing.parameters
    }


@pytest.fixture
def look(client, investigation):
    def look():
        (found,) = client.search(
            f"SELECT i FROM Investigation i WHERE i.name = '{investigation.name}'"
            " INCLUDE i.parameters.type, i.samples.parameters.type,"
            " i.datasets.parameters.type"
        )
        return found

    return look


def test_figures_of_dataset_investigation_and_sample(make, follow, event, ingest, look):
    first = ingest("a", 100, 20, sample="NaCl", minutes=2)
    ingest("b", 3, type="other", sample="NaCl", minutes=1)
    follow(make(), event(first))
    found = look()
    assert parameters(found) == {
        "__fileCount": "3",
        "__volume": 123.0,
        "__elapsedTime": "180",
        "__sampleCount": "1",
        "__datasetCount": "2",
        "__acquisitionDatasetCount": "1",
        "__acquisitionFileCount": "2",
        "__acquisitionVolume": "120",
        "__processedDatasetCount": "1",
        "__processedFileCount": "1",
        "__processedVolume": "3",
    }
    (sample,) = found.samples
    assert parameters(sample) == {
        name: value
        for name, value in parameters(found).items()
        if name != "__sampleCount"
    }
    of = {dataset.name: parameters(dataset) for dataset in found.datasets}
    assert of["a"] == {"__fileCount": "2", "__volume": 120, "__elapsedTime": "120"}
    assert of["b"] == {}, "its own event brings them"
    assert (found.fileCount, found.fileSize) == (3, 123)


def test_what_changed_is_written_and_nothing_else(make, follow, event, ingest, look):
    handler = make()
    first = ingest("a", 1)
    assert follow(handler, event(first))[0].written
    assert follow(handler, event(first))[0].kind is OutcomeKind.UNCHANGED
    second = ingest("b", 2)
    # In the other order: an older event after a newer one.
    follow(handler, event(second), event(first))
    assert parameters(look())["__volume"] == 3
    assert look().fileSize == 3


def test_one_look_serves_all_events_that_had_come(
    make, follow, event, ingest, look, server
):
    numbers = [ingest(f"d{n}", n) for n in range(20)]
    before = server.calls()
    outcomes = follow(make(parameters=["investigation"]), *map(event, numbers))
    assert all(outcome.kind is OutcomeKind.INGESTED for outcome in outcomes[:1])
    assert parameters(look())["__datasetCount"] == "20"
    after = server.calls()
    assert after["createMany"] - before.get("createMany", 0) == 1
    # Of one that arrives after the look the next look learns.
    handler = make(parameters=["investigation"])
    follow(handler, event(numbers[0]))
    late = ingest("late", 7)
    follow(handler, event(late))
    assert parameters(look())["__datasetCount"] == "21"


def test_what_comes_within_the_gather_time_is_counted_at_its_end(
    make, ingest, event, follow, look
):
    handler = make(parameters=["investigation"], gather=300)
    follow(handler, event(ingest("first", 1)))
    late = [event(ingest(f"late{n}", 1)) for n in range(3)]
    for each in late:
        handler.key(each)
    with pytest.raises(NotReady, match="less than 300 s ago") as caught:
        handler.decode(late[0])
    # It comes again when that is over, and serves those that wait behind it.
    assert 0 < caught.value.retry_in <= 300 < caught.value.deadline
    outcomes = []
    for each in late:
        message = handler.decode(each)
        outcomes.append(message.gathered)
        if not message.gathered:
            handler.looked([handler.subject(message)], handler.now())
    assert outcomes == [False, True, True]
    # What a person asks for is counted at once.
    asked = event(kind="operation", operation="recount")
    follow(handler, asked)
    assert parameters(look())["__datasetCount"] == "4"


@pytest.mark.parametrize("trigger", [True, False])
def test_however_many_datasets_come_it_is_one_look_and_one_write(
    make, follow, event, ingest, look, server, trigger
):
    sizes = "auto" if trigger else "never"
    handler = make(parameters=["investigation"], sizes=sizes)
    follow(handler, event(ingest("first", 1)))
    counts = {}
    for size in (3, 30):
        numbers = [ingest(f"of{size}-{n}", 1) for n in range(size)]
        if trigger:
            # As triggers of the database leave them.
            follow(make(parameters=[]), *map(event, numbers))
        before = sum(server.calls().values())
        follow(handler, *map(event, numbers))
        counts[size] = sum(server.calls().values()) - before
    assert counts[3] == counts[30]
    assert parameters(look())["__datasetCount"] == "34"


def test_totals_are_written_where_the_database_does_not_keep_them(
    make, follow, event, ingest, look, triggers
):
    number = ingest("a", 100, 20)
    handler = make(parameters=[])
    outcome = follow(handler, event(number))[0]
    kept = OutcomeKind.UNCHANGED if triggers else OutcomeKind.INGESTED
    assert outcome.kind is kept
    found = look()
    assert (found.fileCount, found.fileSize) == (2, 120)
    assert [(d.fileCount, d.fileSize) for d in found.datasets] == [(2, 120)]


def test_an_investigation_without_datasets_has_zeros(make, follow, event, look):
    follow(make(), event())
    assert parameters(look())["__datasetCount"] == "0"
    assert parameters(look())["__volume"] == 0


def test_what_is_gone_or_not_ours_is_left_alone(make, follow, event, ingest):
    handler = make()
    number = ingest("a", 1)
    for each, kind in (
        (event(10**9, investigation=None), OutcomeKind.UNCHANGED),
        (event(number, facility="ELSEWHERE"), OutcomeKind.IGNORED),
        (event(number, kind="user", user={"name": "x", "id": 1}), OutcomeKind.IGNORED),
        (event(number, outcome="deleted"), OutcomeKind.IGNORED),
    ):
        assert follow(handler, each)[0].kind is kind
    gone = {"name": "none", "visit_id": "1", "id": 5}
    outcome = follow(handler, event(investigation=gone))[0]
    assert outcome.kind is OutcomeKind.UNCHANGED
    with pytest.raises(Rejection, match=r"investigation\.id: expected an id"):
        handler.decode(event(investigation=gone | {"id": "5"}))


def test_names_and_what_is_left_out(make, follow, event, ingest, look):
    number = ingest("a", 5)
    handler = make(
        parameters=["investigation"],
        names={"datasets": "title", "seconds": None},
        acquisition=[],
        sizes="never",
    )
    with pytest.raises(Rejection, match="title"):
        # It may not be used with investigations.
        follow(handler, event(number))
    names = {"volume": None, "processed_datasets": "__acquisitionDatasetCount"}
    names["acquisition_datasets"] = None
    follow(make(parameters=["investigation"], names=names, acquisition=[]), event())
    found = parameters(look())
    assert found["__acquisitionDatasetCount"] == "1"
    assert "__volume" not in found


def test_options_are_checked(make):
    for options, field in (
        ({"parameters": ["job"]}, "options.parameters"),
        ({"names": {"pictures": "x"}}, "options.names"),
        ({"size": "auto"}, "options.size"),
    ):
        with pytest.raises(ConfigError, match=field):
            make(**options)
