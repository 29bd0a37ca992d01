"""Asking: operators, order, limits, pages, long lists, mistakes."""

import datetime as dt

import icat
import pytest

from icat_stream.client import NotFound, QueryError, SeveralFound

from .places import MAX_ENTITIES, UTC, dataset


@pytest.fixture
def five(catalogue, place):
    """Five datasets, one an hour; the last without a time."""
    start = dt.datetime(2026, 7, 1, 12, tzinfo=UTC)
    catalogue.create_many(
        dataset(
            catalogue,
            place,
            f"d{n}",
            files=n,
            complete=n % 2 == 0,
            startDate=start + dt.timedelta(hours=n) if n < 4 else None,
            description=f"{n}0%_of!" if n else None,
        )
        for n in range(5)
    )
    catalogue.queries.clear()
    mine = catalogue.objects("Dataset").filter(investigation=place.investigation)
    return mine.order_by("name")


def names(objects):
    return list(objects.values("name"))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"name": "d1"}, [1]),
        ({"name__eq": "d1"}, [1]),
        ({"name__ne": "d1"}, [0, 2, 3, 4]),
        ({"name__gt": "d1", "name__lte": "d3"}, [2, 3]),
        ({"name__gte": "d1", "name__lt": "d3"}, [1, 2]),
        ({"name__like": "d_"}, [0, 1, 2, 3, 4]),
        ({"description__contains": "0%_o"}, [1, 2, 3, 4]),
        ({"description__startswith": "10%"}, [1]),
        ({"description__endswith": "f!"}, [1, 2, 3, 4]),
        ({"description__startswith": "1_%"}, []),
        ({"name__in": ["d1", "d4", "d1", "x"]}, [1, 4]),
        ({"name__in": []}, []),
        ({"description__isnull": True}, [0]),
        ({"description": None}, [0]),
        ({"description__ne": None}, [1, 2, 3, 4]),
        ({"complete": True}, [0, 2, 4]),
        ({"investigation__facility__name__startswith": "F", "name": "d2"}, [2]),
        ({"investigation.visitId": "1", "name": "d2"}, [2]),
        ({"sample__isnull": True}, [0, 1, 2, 3, 4]),
        ({"sample__type__name__isnull": True, "name": "d1"}, [1]),
        ({"datafiles__isnull": True}, [0]),
        ({"datafiles__isnull": False}, [1, 2, 3, 4]),
        ({"datafiles__name__endswith": "-2.nxs"}, [3, 4]),
        ({"datafiles__name": "d3-2.nxs", "datafiles__location": "/d3/1"}, []),
        ({"datafiles__name": "d3-2.nxs", "datafiles__location": "/d3/2"}, [3]),
        ({"startDate": dt.datetime(2026, 7, 1, 13, tzinfo=UTC)}, [1]),
        ({"startDate__gte": dt.datetime(2026, 7, 1, 14, tzinfo=UTC)}, [2, 3]),
        # The server is two hours ahead of UTC in summer.
        ({"startDate__gte": dt.datetime(2026, 7, 1, 16)}, [2, 3]),  # noqa: DTZ001
        ({"startDate__gt": "2026-07-01T16:00:00+02:00"}, [3]),
        ({"startDate__gte": dt.datetime(2026, 7, 1, 14, 0, 0, 1, UTC)}, [3]),
        ({"startDate__lt": dt.datetime(2026, 7, 1, 14, 0, 0, 1, UTC)}, [0, 1, 2]),
        ({"startDate__gte": dt.date(2026, 7, 1)}, [0, 1, 2, 3]),
        ({"startDate__lt": dt.date(2026, 7, 1)}, []),
    ],
)
def test_operators_and_their_complements(five, conditions, expected):
    assert names(five.filter(**conditions)) == [f"d{n}" for n in expected]
    others = [f"d{n}" for n in range(5) if n not in expected]
    assert names(five.exclude(**conditions)) == others
    assert five.filter(**conditions).count() == len(expected)
    assert five.exclude(**conditions).exists() == bool(others)


def test_enumerations_and_objects_as_values(catalogue, place):
    types = catalogue.objects("parametertype").filter(facility=place.facility)
    assert types.get(valueType="NUMERIC") == place.temperature
    assert not types.filter(valueType__in=["STRING", "DATE_AND_TIME"]).exists()
    assert types.filter(facility__in=[place.facility.entity, 0]).exists()
    assert types.filter(facility=place.facility.id).exists()


def test_winter_and_summer_have_their_own_hour(catalogue, place):
    noons = [dt.datetime(2026, month, 1, 12, tzinfo=UTC) for month in (1, 7)]
    for number, noon in enumerate(noons):
        catalogue.create(dataset(catalogue, place, f"n{number}", startDate=noon))
    mine = catalogue.objects("Dataset").filter(investigation=place.investigation)
    for number, noon in enumerate(noons):
        assert mine.get(startDate=noon).name == f"n{number}"
        assert mine.get(startDate__in=[noon]).name == f"n{number}"


def test_the_night_the_clocks_change(catalogue, place):
    # At 01:00 UTC the clock goes from 02:00 to 03:00.
    times = [dt.datetime(2026, 3, 29, 0, n, tzinfo=UTC) for n in (10, 50)]
    times += [dt.datetime(2026, 3, 29, 1, n, tzinfo=UTC) for n in (10, 50)]
    for number, time in enumerate(times):
        catalogue.create(dataset(catalogue, place, f"t{number}", startDate=time))
    mine = catalogue.objects("Dataset").filter(investigation=place.investigation)
    for number, time in enumerate(times):
        assert mine.filter(startDate__lt=time).count() == number


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({"nmae": 1}, "Dataset has no attribute or relation 'nmae'.*'name'"),
        ({"investigation__visitid": 1}, "Investigation has no .*'visitId'"),
        ({"name__startwith": "x"}, "no operator 'startwith'.*'startswith'"),
        ({"name__investigation__x": 1}, "Dataset.name is an attribute"),
        ({"name": 5}, "5 is no value of name, which is String"),
        ({"complete": "yes"}, "expected True or False"),
        ({"complete__gt": True}, "no order"),
        ({"startDate__gt": "soon"}, "expected a datetime"),
        ({"startDate__contains": "2026"}, "for texts"),
        ({"fileSize": True}, "whole number"),
        ({"fileSize": 2**63}, "whole number"),
        ({"name__in": "abc"}, "expected a list"),
        ({"name__in": ["a", None]}, "isnull"),
        ({"name__gt": None}, "isnull"),
        ({"name__isnull": 1}, "True or False"),
        ({"investigation": "x"}, "or its id"),
        ({"investigation__gt": 1}, "investigation__id__gt"),
        ({"name": "a\0b"}, r"character 1 is '\\x00'"),
        ({"name": "\ud800"}, "no text in ICAT"),
    ],
)
def test_mistakes_are_named(catalogue, conditions, said):
    with pytest.raises(QueryError, match=said):
        catalogue.objects("Dataset").filter(**conditions)
    assert catalogue.queries == []


def test_more_mistakes(catalogue, place):
    objects = catalogue.objects("Dataset")
    with pytest.raises(QueryError, match="did you mean 'Dataset'"):
        catalogue.objects("Datset")
    with pytest.raises(QueryError, match="leads to many"):
        objects.order_by("datafiles.name")
    with pytest.raises(QueryError, match="is a relation"):
        objects.values("investigation").__next__()
    with pytest.raises(QueryError, match="did you mean 'datafiles'"):
        objects.include("datafile")
    with pytest.raises(QueryError, match="NUMERIC"):
        catalogue.objects("ParameterType").filter(valueType="NUMBER")
    with pytest.raises(QueryError, match="not a Facility"):
        objects.filter(investigation=place.facility)
    with pytest.raises(QueryError, match="cannot be split"):
        objects.exclude(id__in=range(5001))
    with pytest.raises(TypeError, match="exists"):
        bool(objects)


def test_one_none_and_several(five):
    assert five.get(name="d3").datafiles[2].name == "d3-2.nxs"
    with pytest.raises(NotFound, match=r"Dataset with .*name='d9'"):
        five.get(name="d9")
    with pytest.raises(SeveralFound, match=r"name__gt='d1'.*d2.*d3"):
        five.get(name__gt="d1")
    assert five.first().name == "d0"
    assert five.filter(name="d9").first() is None


def test_order_and_limits(five):
    assert names(five.order_by("-name").limit(2)) == ["d4", "d3"]
    assert [d.name for d in five.order_by("-name").limit(2)] == ["d4", "d3"]
    assert [d.name for d in five.order_by("-complete", "name")] == [
        *("d0", "d2", "d4"),
        *("d1", "d3"),
    ]
    assert names(five.order_by("-startDate", "name")) == ["d3", "d2", "d1", "d0", "d4"]
    # A sample that is not there does not make its dataset disappear.
    assert len(list(five.order_by("sample.type.name", "id"))) == 5
    assert len(list(five.order_by("sample.type.name", "id").limit(5))) == 5
    assert list(five.limit(0)) == []
    assert five.limit(3).count() == 3


def test_values_follow_relations(five, place):
    rows = five.filter(name="d1").values("name", "investigation.name", "sample.name")
    assert list(rows) == [("d1", place.investigation.name, None)]
    assert list(five.filter(name="d1").values("complete")) == [False]
    assert type(five.first().name) is str


def test_a_result_that_changes_is_read_once(catalogue, five, place):
    pages = five.order_by().in_pages_of(2)
    seen = []
    for item in pages:
        seen.append(item.name)
        if item.name == "d1":
            # With offsets, this would skip two of the others.
            catalogue.delete(five.filter(name__in=["d0", "d1"]))
            catalogue.create(dataset(catalogue, place, "later"))
    assert seen == ["d0", "d1", "d2", "d3", "d4", "later"]


def test_pages_shrink_where_icat_wants_it(catalogue, place):
    catalogue.create_many(
        dataset(catalogue, place, f"p{n}", files=MAX_ENTITIES // 4) for n in range(5)
    )
    mine = catalogue.objects("Dataset").filter(investigation=place.investigation)
    with_files = mine.include("datafiles")
    assert [len(item.datafiles) for item in with_files] == [MAX_ENTITIES // 4] * 5
    assert [len(item.datafiles) for item in mine] == [MAX_ENTITIES // 4] * 5
    files = catalogue.objects("Datafile").filter(dataset__in=list(mine))
    assert (
        len(list(files.ids()))
        == len(set(files.ids()))
        == files.count()
        == 5 * (MAX_ENTITIES // 4)
    )


def test_too_many_below_one(catalogue, place):
    big = catalogue.create(dataset(catalogue, place, "big", files=MAX_ENTITIES + 10))
    found = catalogue.objects("Dataset").get(id=big.id)
    assert len(found.datafiles) == MAX_ENTITIES + 10


def test_a_hundred_thousand_values(catalogue, five):
    wanted = [f"x{n}" for n in range(100_000)]
    wanted[::25_000] = ["d0", "d1", "d2", "d3"]
    found = five.filter(name__in=(name for name in wanted))
    assert sorted(names(found.order_by())) == ["d0", "d1", "d2", "d3"]
    assert len(catalogue.queries) == 100
    fewer = five.filter(name__in=["d0", *wanted[1:1500], "d3", *wanted[1500:2500]])
    assert fewer.count() == 2
    assert [d.name for d in fewer.order_by("-name").limit(1)] == ["d3"]
    # One dataset with files in several of the lists is one dataset.
    files = [f"d4-{n}.nxs" for n in range(4)]
    spread = [*files[:2], *wanted[:1500], *files[2:]]
    assert names(five.filter(datafiles__name__in=spread)) == ["d4"]


def test_plain_client_stays_plain(catalogue, five):
    before = dict(vars(icat.entity.Entity))
    item = five.first()
    assert isinstance(item.entity, icat.entity.Entity)
    assert item.entity.datafiles == []
    assert item.datafiles == []
    assert vars(icat.entity.Entity) == before
