"""What unmodified python-icat does with the server."""

import datetime as dt

import icat
import pytest
from icat.query import Query

UTC = dt.UTC


def dataset(root, place, name="d", **attributes):
    return root.new(
        "Dataset",
        name=name,
        complete=False,
        investigation=place.investigation,
        type=place.dataset_type,
        **attributes,
    )


def test_client_knows_the_schema(root):
    assert str(root.apiversion) == "6.2.0"
    assert len([c for c in set(root.typemap.values()) if c.BeanName]) == 53
    assert root.typemap["dataset"].Constraint == ("investigation", "name")
    info = root.getEntityInfo("Dataset")
    assert info.classComment.startswith("Datafiles that belong together")
    assert root.typemap["datasetParameter"].__mro__[1].__name__ == "Parameter"


def test_session(connect):
    client = connect("ada", auth="db")
    assert client.getUserName() == "db/ada"
    assert 119 < client.getRemainingMinutes() <= 120
    client.refresh()
    session = client.sessionId
    client.logout()
    client.sessionId = session
    with pytest.raises(icat.ICATSessionError, match="Unable to find user by sessionid"):
        client.getUserName()
    client.sessionId = None


def test_anonymous_needs_no_password(server):
    client = icat.Client(server.url)
    client.login("anon", {})
    assert client.getUserName() == "anon/anon"
    client.cleanup()


@pytest.mark.parametrize(
    ("auth", "credentials", "message"),
    [
        ("simple", {"username": "root", "password": "x"}, "password do not match "),
        ("simple", {"username": "zz", "password": "x"}, "password do not match "),
        ("ldap", {"username": "root", "password": "x"}, "mnemonic ldap not recognised"),
    ],
)
def test_refused_login(server, auth, credentials, message):
    client = icat.Client(server.url)
    with pytest.raises(icat.ICATSessionError, match=message):
        client.login(auth, credentials)


def test_nested_create_and_get(root, place):
    start = dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    new = dataset(root, place, startDate=start)
    for number in range(3):
        new.datafiles.append(root.new("Datafile", name=f"f{number}", fileSize=number))
    new.parameters.append(
        root.new("DatasetParameter", type=place.temperature, numericValue=1.5)
    )
    new.create()
    found = root.get(
        "Dataset INCLUDE Investigation, Datafile, DatasetParameter", new.id
    )
    assert found.investigation.title == "It's <hot> & cold"
    assert found.startDate == start.replace(microsecond=0)
    assert [(f.name, f.fileSize) for f in found.datafiles] == [
        ("f0", 0),
        ("f1", 1),
        ("f2", 2),
    ]
    assert found.parameters[0].numericValue == 1.5
    assert found.createId == found.modId == "simple/root"


def test_update_replaces_everything(root, place):
    new = dataset(root, place, description="old", location="/a")
    new.create()
    changed = root.get("Dataset INCLUDE 1", new.id)
    changed.description, changed.location = "new", None
    changed.update()
    found = root.get("Dataset INCLUDE 1", new.id)
    assert (found.description, found.location) == ("new", None)
    del changed.type
    with pytest.raises(
        icat.ICATValidationError, match=r"Dataset: type cannot be null\."
    ):
        changed.update()


def test_delete_cascades(root, place):
    new = dataset(root, place)
    new.datafiles.append(root.new("Datafile", name="f"))
    new.create()
    root.delete(new)
    assert root.search(
        f"SELECT COUNT(f) FROM Datafile f WHERE f.dataset.id={new.id}"
    ) == [0]
    with pytest.raises(icat.ICATNoObjectError) as error:
        root.delete(new)
    assert error.value.message == f"Dataset[id:{new.id}] not found."
    assert error.value.offset == 0


def test_ids_are_never_given_out_again(root, place):
    first = dataset(root, place)
    first.create()
    root.delete(first)
    second = dataset(root, place)
    second.create()
    assert second.id > first.id


def test_create_many_is_all_or_nothing(root, place):
    same = [dataset(root, place, name) for name in ("a", "b", "a")]
    with pytest.raises(icat.ICATObjectExistsError) as error:
        root.createMany(same)
    assert error.value.offset == 2
    assert "name = 'a'" in error.value.message
    assert (
        root.search(
            "SELECT d FROM Dataset d WHERE d.investigation.id = "
            f"{place.investigation.id}"
        )
        == []
    )
    ids = root.createMany([dataset(root, place, name) for name in ("a", "b")])
    assert ids == sorted(ids)
    assert len(ids) == 2


def test_delete_many_is_all_or_nothing(root, place):
    new = dataset(root, place)
    new.create()
    gone = dataset(root, place, "gone")
    gone.create()
    root.delete(gone)
    with pytest.raises(icat.ICATNoObjectError) as error:
        root.deleteMany([new, gone])
    assert error.value.offset == 1
    assert root.get("Dataset", new.id).name == "d"


def test_exists(root, place):
    dataset(root, place).create()
    with pytest.raises(icat.ICATObjectExistsError) as error:
        dataset(root, place).create()
    number = place.investigation.id
    assert error.value.message == (
        f"Dataset exists with investigation = 'Investigation:{number}', name = 'd'"
    )


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"name": "n" * 256}, "Dataset: name cannot have length > 255"),
        ({"location": "l" * 512}, "Dataset: location cannot have length > 511"),
        ({"name": None}, r"Dataset: name cannot be null\."),
        ({"type": None}, r"Dataset: type cannot be null\."),
        ({"investigation": None}, r"Dataset: investigation cannot be null\."),
    ],
)
def test_invalid(root, place, attributes, message):
    new = dataset(root, place)
    for name, value in attributes.items():
        setattr(new, name, value)
    with pytest.raises(icat.ICATValidationError, match=message):
        new.create()


def test_longest_names(root, place):
    new = dataset(root, place, name="\U0001f600" * 255)
    new.create()
    assert root.get("Dataset", new.id).name == "\U0001f600" * 255


def test_query_helper(root, place):
    for name in ("b", "a"):
        new = dataset(root, place, name)
        new.datafiles.append(root.new("Datafile", name=f"{name}.nxs", fileSize=7))
        new.create()
    query = Query(
        root,
        "Datafile",
        conditions={"dataset.investigation.facility.name": f"= '{place.name}'"},
        order=True,
        includes=["dataset.investigation.facility"],
    )
    found = root.search(query)
    assert [f.name for f in found] == ["a.nxs", "b.nxs"]
    assert found[0].dataset.investigation.facility.name == place.name
    query.setLimit((1, 1))
    assert [f.name for f in root.search(query)] == ["b.nxs"]
    query = Query(
        root,
        "Datafile",
        attributes=["name", "dataset.name", "fileSize"],
        conditions={"dataset.investigation.id": f"= {place.investigation.id}"},
        order=[("name", "DESC")],
    )
    assert root.search(query) == [("b.nxs", "b", 7), ("a.nxs", "a", 7)]
    for aggregate, expected in (("COUNT", 2), ("SUM", 14), ("AVG:DISTINCT", 7.0)):
        query = Query(
            root,
            "Datafile",
            attributes=["fileSize"],
            aggregate=aggregate,
            conditions={"dataset.investigation.id": f"= {place.investigation.id}"},
        )
        assert root.search(query) == [expected]


def test_search_by_key(root, place):
    new = dataset(root, place, name="it's")
    new.create()
    found = root.searchMatching(place.investigation)
    assert found.id == place.investigation.id
    with pytest.raises(icat.SearchAssertionError):
        root.assertedSearch("SELECT d FROM Dataset d WHERE d.name = 'no such'")


def test_access_allowed(root, connect, place):
    new = dataset(root, place)
    assert root.isAccessAllowed(new, "CREATE") is True
    assert (
        root.search(
            "SELECT d FROM Dataset d WHERE d.name = 'd' "
            f"AND d.type.id = {place.dataset_type.id}"
        )
        == []
    )
    other = connect("nobody")
    assert other.isAccessAllowed(new, "CREATE") is False
    new.create()
    for access in ("READ", "UPDATE", "DELETE"):
        assert root.isAccessAllowed(new, access) is True
        assert other.isAccessAllowed(new, access) is False


def test_service_facts(root, connect):
    info = root.getAuthenticatorInfo()
    assert [a.mnemonic for a in info] == ["simple", "db", "anon"]
    assert [(k.name, k.hide) for k in info[0].keys] == [
        ("username", False),
        ("password", True),
    ]
    assert "maxEntities 10000" in root.getProperties()
    with pytest.raises(icat.ICATPrivilegesError):
        connect("nobody").getProperties()
    assert root.getVersion() == "6.2.0"
    assert "Dataset" in root.getEntityNames()
    with pytest.raises(icat.ICATParameterError):
        root.getEntityInfo("Datasett")
