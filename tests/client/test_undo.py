"""Rollback: to the start, to a point, on errors, on bad days."""

import logging
from http.client import RemoteDisconnected

import pytest
from icat.exception import ICATObjectExistsError

from icat_stream.client import Catalogue, QueryError, undo_entries

from .places import Counting, dataset


@pytest.fixture(autouse=True)
def calm(server, monkeypatch):
    monkeypatch.setattr(undo_entries, "PAUSES", (0.05, 0.1, 0.2))
    yield
    server.fault("clear")


@pytest.fixture
def mine(catalogue, place):
    return catalogue.objects("Dataset").filter(investigation=place.investigation)


def state(catalogue, place):
    """Everything below an investigation, by names alone."""
    datasets = catalogue.objects("Dataset").filter(investigation=place.investigation)
    found = {}
    for item in datasets.include("datafiles", "parameters.type", "sample").all():
        attributes = {
            field.name: getattr(item, field.name)
            for field in catalogue.schema.kind("Dataset").of("ATTRIBUTE")
            if field.name not in ("id", "createTime", "modTime")
        }
        found[item.name] = (
            attributes,
            item.sample and item.sample.name,
            sorted((file.name, file.location) for file in item.datafiles),
            [(p.type.name, p.numericValue) for p in item.parameters],
        )
    return found


@pytest.fixture
def before(catalogue, place):
    sample = catalogue.create("Sample", name="s", investigation=place.investigation)
    catalogue.create_many(
        dataset(
            catalogue,
            place,
            name,
            files=2,
            sample=sample,
            description="R&amp;D 'quoted'",
            parameters=[
                catalogue.new(
                    "DatasetParameter", type=place.temperature, numericValue=1.5
                )
            ],
        )
        for name in ("old", "older")
    )
    return state(catalogue, place)


def test_a_block_that_ends_normally_stays(catalogue, mine, place):
    with catalogue.rollback():
        catalogue.create(dataset(catalogue, place, "kept"))
    assert mine.get().name == "kept"


def test_an_exception_undoes_everything_and_goes_on(catalogue, place, before):
    mine = catalogue.objects("Dataset").filter(investigation=place.investigation)
    with pytest.raises(ZeroDivisionError) as caught, catalogue.rollback():  # noqa: PT012
        catalogue.create(dataset(catalogue, place, "new", files=3))
        catalogue.update(mine.get(name="old"), description=None, complete=True)
        catalogue.update(mine.get(name="old"), sample=None)
        catalogue.delete(mine.get(name="older"))
        raise ZeroDivisionError
    assert state(catalogue, place) == before
    (note,) = caught.value.__notes__
    assert note.startswith("rollback: 4 undone, 0 not")
    assert "new ids" in note


def test_to_a_point_and_further_back(catalogue, mine, place):
    with catalogue.rollback() as undo:
        catalogue.create(dataset(catalogue, place, "a"))
        undo.point("a")
        catalogue.create(dataset(catalogue, place, "b"))
        undo.point("b")
        catalogue.update(mine.get(name="a"), name="c")
        assert len(undo.to("a").undone) == 2
        assert [item.name for item in mine] == ["a"]
        with pytest.raises(ValueError, match="no point 'b'; there are: a"):
            undo.to("b")
        with pytest.raises(ValueError, match="already"):
            undo.point("a")
        catalogue.create(dataset(catalogue, place, "d"))
        undo.to("a")
        assert [item.name for item in mine] == ["a"]
        assert undo.rollback().complete
        assert not mine.exists()
        catalogue.create(dataset(catalogue, place, "after"))
    assert mine.get().name == "after"


def test_what_was_deleted_can_be_changed_back(catalogue, place, before):
    """Ids change on the way; what was done before the deletion is found again."""
    mine = catalogue.objects("Dataset").filter(investigation=place.investigation)
    with catalogue.rollback() as undo:
        catalogue.update(mine.get(name="old"), name="renamed")
        number = mine.get(name="renamed").id
        catalogue.delete(catalogue.objects("Sample").get(name="s"))
        assert not mine.exists()
        report = undo.rollback()
    assert report.complete, str(report)
    assert state(catalogue, place) == before
    assert report.moved["Dataset", number] == mine.get(name="old").id


def test_blocks_in_blocks(catalogue, mine, place):
    with catalogue.rollback() as outer:
        with catalogue.rollback():
            catalogue.create(dataset(catalogue, place, "inner"))
        with pytest.raises(KeyError), catalogue.rollback():  # noqa: PT012
            catalogue.create(dataset(catalogue, place, "lost"))
            raise KeyError
        assert mine.get().name == "inner"
        outer.rollback()
    assert not mine.exists()


def test_create_many_that_fails(catalogue, mine, place):
    with pytest.raises(ICATObjectExistsError), catalogue.rollback():  # noqa: PT012
        catalogue.create(dataset(catalogue, place, "a"))
        catalogue.create_many(dataset(catalogue, place, n) for n in ("b", "c", "b"))
    assert not mine.exists()


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_connection_lost_while_creating(server, catalogue, mine, place, kind):
    catalogue.create(dataset(catalogue, place, "there before", files=1))
    names = ("b", "c's", "d&lt;")
    with pytest.raises(RemoteDisconnected) as caught, catalogue.rollback():  # noqa: PT012
        catalogue.create(dataset(catalogue, place, "a"))
        server.fault(kind, match="createMany")
        catalogue.create_many(dataset(catalogue, place, n, files=2) for n in names)
    assert " undone, 0 not" in caught.value.__notes__[0]
    unanswered = "had not been answered" in str(caught.value.__notes__)
    assert unanswered is (kind == "drop_after")
    assert [item.name for item in mine] == ["there before"]


def test_a_lost_creation_of_what_others_had_made(
    server, catalogue, writer, mine, place
):
    """It was there before, so it was not made here: it stays."""
    Catalogue(writer).create(dataset(catalogue, place, "theirs", files=1))
    with pytest.raises(RemoteDisconnected), catalogue.rollback():  # noqa: PT012
        server.fault("drop_after", match="create")
        catalogue.create(dataset(catalogue, place, "theirs"))
    assert len(mine.get(name="theirs").datafiles) == 1


def test_a_lost_creation_of_what_has_no_key(server, catalogue, place):
    publications = catalogue.objects("Publication")
    values = {"fullReference": "Ref & Co", "investigation": place.investigation}
    first = catalogue.create("Publication", **values)
    with pytest.raises(RemoteDisconnected), catalogue.rollback():  # noqa: PT012
        server.fault("drop_after", match="create")
        catalogue.create("Publication", **values)
    assert list(publications.filter(fullReference="Ref & Co").ids()) == [first.id]


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
@pytest.mark.parametrize("call", ["update", "deleteMany"])
def test_a_connection_lost_while_writing(server, catalogue, place, before, kind, call):
    mine = catalogue.objects("Dataset").filter(investigation=place.investigation)
    with pytest.raises(RemoteDisconnected), catalogue.rollback():  # noqa: PT012
        item = mine.get(name="old")
        server.fault(kind, match=call)
        if call == "update":
            catalogue.update(item, description="new")
        else:
            catalogue.delete(item)
    assert state(catalogue, place) == before


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "database"])
@pytest.mark.parametrize("call", ["createMany", "deleteMany", "update", "search"])
def test_bad_days_while_undoing(server, catalogue, place, before, kind, call):
    mine = catalogue.objects("Dataset").filter(investigation=place.investigation)
    with catalogue.rollback() as undo:
        catalogue.create(dataset(catalogue, place, "new"))
        catalogue.update(mine.get(name="old"), description="changed")
        catalogue.delete(mine.get(name="older"))
        server.fault(kind, match=call)
        report = undo.rollback()
    assert report.complete, str(report)
    assert len(report.undone) == 3
    assert state(catalogue, place) == before


def test_a_session_that_expired(server, catalogue, writer, mine, place):
    with catalogue.rollback() as undo:
        catalogue.create(dataset(catalogue, place, "new"))
        server.fault("expire_sessions")
        assert undo.rollback().complete
    assert not mine.exists()
    writer.refresh()


def test_what_cannot_be_undone_is_said(catalogue, writer, mine, place, before, caplog):
    other = Counting(writer)
    with pytest.raises(RuntimeError) as caught, catalogue.rollback():  # noqa: PT012
        catalogue.create(dataset(catalogue, place, "shared"))
        catalogue.update(mine.get(name="old"), description="ours", complete=True)
        theirs = other.objects("Dataset")
        other.create(
            "Datafile", name="theirs", dataset=theirs.get(id=mine.get(name="shared").id)
        )
        other.update(theirs.get(id=mine.get(name="old").id), description="theirs")
        with caplog.at_level(logging.WARNING):
            raise RuntimeError
    note = caught.value.__notes__[0]
    assert "NOT UNDONE: the creation of Dataset" in note
    assert "datafiles of others below it" in note
    assert "somebody else made it 'theirs' since" in note
    assert mine.get(name="shared").datafiles[0].name == "theirs"
    assert mine.get(name="old").description == "theirs"
    assert mine.get(name="old").complete is False
    assert "NOT UNDONE" in caplog.text


def test_what_is_above_of_what_others_added_to_stays_too(catalogue, writer, place):
    with catalogue.rollback() as undo:
        investigation = catalogue.create(
            "Investigation",
            name="made here",
            visitId="1",
            title="t",
            facility=place.facility,
            type=place.type,
        )
        made = catalogue.create(
            dataset(catalogue, place, "d", investigation=investigation)
        )
        other = Catalogue(writer)
        other.create("Datafile", name="f", dataset=made)
        report = undo.rollback()
    assert len(report.failed) == 2
    assert catalogue.objects("Datafile").get(dataset=made).name == "f"


def test_something_missing_at_the_end(catalogue, writer, place, before):
    """The dataset type is gone when the dataset is to be created again."""
    mine = catalogue.objects("Dataset").filter(investigation=place.investigation)
    other_type = catalogue.create("DatasetType", name="odd", facility=place.facility)
    catalogue.update(mine.get(name="old"), type=other_type)
    with catalogue.rollback() as undo:
        catalogue.delete(list(mine))
        Catalogue(writer).delete(other_type)
        report = undo.rollback()
    assert [item.name for item in mine] == ["older"]
    assert len(mine.get(name="older").datafiles) == 2
    assert not report.complete
    assert any("Dataset" in line and "Error" in line for line in report.failed)


def test_update_sends_what_changed_and_keeps_the_rest(catalogue, writer, place, before):
    mine = catalogue.objects("Dataset").filter(investigation=place.investigation)
    item = mine.get(name="old")
    item.description = "from here"
    Catalogue(writer).update(mine.get(name="old"), doi="10.0000/from-there")
    catalogue.update(item)
    after = mine.get(name="old")
    assert (after.description, after.doi) == ("from here", "10.0000/from-there")
    assert after.sample.name == "s"
    assert catalogue.update(item) is item


def test_mistakes_in_writing(catalogue, place):
    item = catalogue.new("Dataset", name="x")
    with pytest.raises(QueryError, match="not in ICAT"):
        catalogue.update(item, name="y")
    with pytest.raises(QueryError, match="not in ICAT"):
        catalogue.delete(item)
    with pytest.raises(QueryError, match="did you mean 'name'"):
        catalogue.create("Dataset", nmae="x")
    with pytest.raises(QueryError, match="expected a Investigation that is in ICAT"):
        catalogue.create("Dataset", investigation=place.facility)
    with pytest.raises(QueryError, match="set by ICAT alone"):
        catalogue.create("Dataset", createId="me")
    with pytest.raises(QueryError, match="is in ICAT already"):
        catalogue.create(place.investigation)
    with pytest.raises(QueryError, match="cannot store"):
        catalogue.create("Facility", name="a\x01b")
