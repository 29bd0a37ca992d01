"""Relations are loaded for a whole result at once."""

import pytest

from .places import dataset


@pytest.fixture
def mine(catalogue, place):
    catalogue.create_many(
        dataset(
            catalogue,
            place,
            f"d{n}",
            files=2,
            parameters=[
                catalogue.new(
                    "DatasetParameter", type=place.temperature, numericValue=n + 0.5
                )
            ],
        )
        for n in range(6)
    )
    catalogue.queries.clear()
    return catalogue.objects("Dataset").filter(investigation=place.investigation)


def test_calls_do_not_grow_with_the_result(catalogue, mine, place):
    for item in mine:
        assert item.investigation.facility.name == place.name
        assert [file.name for file in item.datafiles] == [
            f"{item.name}-0.nxs",
            f"{item.name}-1.nxs",
        ]
        assert item.parameters[0].type.name == "temperature"
        assert item.sample is None
    # The result; twice two for the investigation and its facility; one each for
    # datafiles and parameters; two for the types; one that finds no samples.
    assert len(catalogue.queries) == 1 + 4 + 2 + 2 + 1


def test_included_relations_cost_no_call(catalogue, mine, place):
    asked = mine.include("investigation.facility", "datafiles", "parameters.type")
    for item in asked:
        assert item.investigation.facility.name == place.name
        assert len(item.datafiles) == 2
        assert item.parameters[0].type.units == "K"
    assert len(catalogue.queries) == 1


def test_what_is_the_same_is_one_object(mine, place):
    first, *others = mine
    assert all(item.investigation is first.investigation for item in others)
    assert first.investigation == place.investigation


def test_the_way_back_costs_what_the_way_there_does(catalogue, mine):
    files = [file for item in mine for file in item.datafiles]
    catalogue.queries.clear()
    assert {file.dataset.name for file in files} == {f"d{n}" for n in range(6)}
    assert len(catalogue.queries) == 2


def test_python_icats_objects_can_be_wrapped(catalogue, mine, place):
    found = catalogue.icat.search(
        f"SELECT o FROM Dataset o WHERE o.investigation.id = {place.investigation.id}"
    )
    catalogue.queries.clear()
    assert {item.investigation.name for item in catalogue.wrap(found)} == {
        place.investigation.name
    }
    assert len(catalogue.queries) == 2


def test_unknown_names(mine):
    item = mine.first()
    with pytest.raises(AttributeError, match="did you mean 'datafiles'"):
        item.datafile  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'complete'"):
        item.completed = True
    with pytest.raises(AttributeError, match="create or delete Datafile"):
        item.datafiles = []
    assert not hasattr(item, "nothing_like_it")
    assert "datafiles" in dir(item)
