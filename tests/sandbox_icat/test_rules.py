"""What users who are not root may see and do."""

import icat
import pytest

from .conftest import Rest


@pytest.fixture
def writer(connect):
    client = connect("writer")
    yield client
    client.logout()


@pytest.fixture
def rules(root):
    def add(what, flags, group=None):
        rule = root.new("Rule", what=what, crudFlags=flags)
        if group is not None:
            rule.grouping = group
        rule.create()

    yield add
    root.deleteMany(root.search("SELECT r FROM Rule r"))


@pytest.fixture
def group(root):
    user = root.new("User", name="simple/writer")
    user.create()
    made = root.new("Grouping", name="writers")
    made.userGroups.append(root.new("UserGroup", user=user))
    made.create()
    yield made
    root.delete(made)
    root.delete(user)


def dataset(client, place, name="d"):
    return client.new(
        "Dataset",
        name=name,
        complete=False,
        investigation=place.investigation,
        type=place.dataset_type,
    )


def test_without_rules_nothing(writer, root, place):
    new = dataset(root, place)
    new.create()
    assert writer.search("SELECT d FROM Dataset d") == []
    assert writer.search("SELECT COUNT(d) FROM Dataset d") == [0]
    assert writer.search("SELECT d.investigation.title, d.name FROM Dataset d") == []
    with pytest.raises(icat.ICATPrivilegesError) as error:
        writer.get("Dataset", new.id)
    assert error.value.message == "READ access to this Dataset is not allowed."
    for call, access in (
        (dataset(writer, place, "e").create, "CREATE"),
        (lambda: writer.delete(new), "DELETE"),
        (lambda: writer.update(new), "UPDATE"),
    ):
        with pytest.raises(icat.ICATPrivilegesError) as error:
            call()
        assert error.value.message == f"{access} access to this Dataset is not allowed."
    assert root.search(
        f"SELECT d.name FROM Dataset d WHERE d.type.id = {place.dataset_type.id}"
    ) == ["d"]


def test_a_rule_for_everybody(writer, root, place, rules):
    rules("Dataset", "CR")
    dataset(writer, place).create()
    assert writer.search("SELECT d.name FROM Dataset d") == ["d"]
    assert writer.search("SELECT d.investigation FROM Dataset d") == []
    found = writer.search("SELECT d FROM Dataset d INCLUDE d.investigation, d.type")[0]
    assert found.investigation is None
    with pytest.raises(icat.ICATPrivilegesError, match="UPDATE access"):
        found.update()


def test_a_rule_for_some_rows(writer, root, place, rules):
    for name in ("mine", "other"):
        dataset(root, place, name).create()
    rules("SELECT d FROM Dataset d WHERE d.name = 'mine'", "CRD")
    assert writer.search("SELECT d.name FROM Dataset d") == ["mine"]
    assert writer.search("SELECT COUNT(d) FROM Dataset d") == [1]
    with pytest.raises(icat.ICATPrivilegesError):
        dataset(writer, place, "third").create()
    assert root.search("SELECT COUNT(d) FROM Dataset d WHERE d.name = 'third'") == [0]
    writer.delete(writer.search("SELECT d FROM Dataset d")[0])
    assert writer.search("SELECT d.name FROM Dataset d") == []


def test_a_rule_for_a_group(writer, connect, place, rules, group):
    rules("Facility", "R", group)
    query = f"SELECT f.name FROM Facility f WHERE f.name = '{place.name}'"
    assert writer.search(query) == [place.name]
    assert connect("nobody").search(query) == []


def test_a_rule_about_the_user(writer, root, place, rules, group):
    user = root.search("SELECT u FROM User u WHERE u.name = 'simple/writer'")[0]
    place.investigation.addInvestigationUsers([user], role="Investigator")
    rules(
        "SELECT i FROM Investigation i JOIN i.investigationUsers iu JOIN iu.user u "
        "WHERE u.name = :user",
        "R",
    )
    found = writer.search("SELECT i FROM Investigation i INCLUDE i.investigationUsers")
    assert [i.name for i in found] == [place.investigation.name]
    assert found[0].investigationUsers == []
    rules("InvestigationUser <-> Investigation <-> User [name = :user]", "R")
    found = writer.search("SELECT i FROM Investigation i INCLUDE i.investigationUsers")
    assert [u.role for u in found[0].investigationUsers] == ["Investigator"]


def test_a_public_step(writer, root, place, rules):
    dataset(root, place).create()
    rules("Dataset", "R")
    step = root.new("PublicStep", origin="Dataset", field="investigation")
    step.create()
    found = writer.search("SELECT d FROM Dataset d INCLUDE d.investigation")[0]
    assert found.investigation.title == place.investigation.title
    root.delete(step)


def test_a_rule_for_an_attribute(writer, root, rest, server, place, rules):
    new = dataset(root, place)
    new.create()
    rules("SELECT d.description FROM Dataset d", "U")
    mine = type(rest)(server, writer.sessionId)
    change = {"id": new.id, "description": "new"}
    assert mine.write({"Dataset": change}).status == 200
    answer = mine.write({"Dataset": change | {"name": "e"}})
    assert answer.json["message"] == "UPDATE access to this Dataset is not allowed."
    # SOAP replaces everything, so one attribute is not enough.
    with pytest.raises(icat.ICATPrivilegesError):
        writer.update(new)
    assert root.get("Dataset", new.id).description == "new"


@pytest.mark.parametrize(
    ("what", "flags", "error"),
    [
        ("Datasett", "R", icat.ICATParameterError),
        ("SELECT d FROM Dataset d WHERE", "R", icat.ICATParameterError),
        ("SELECT d, d.name FROM Dataset d", "R", icat.ICATParameterError),
        ("Dataset", "X", icat.ICATParameterError),
        ("SELECT d.name FROM Dataset d", "R", icat.ICATParameterError),
        (None, "R", icat.ICATParameterError),
        ("Dataset", None, icat.ICATValidationError),
    ],
)
def test_rules_that_say_nothing(root, what, flags, error):
    with pytest.raises(error):
        root.new("Rule", what=what, crudFlags=flags).create()


def test_another_name_needs_the_right_to_delete(writer, server, root, place, rules):
    dataset(root, place).create()
    number = root.search("SELECT MAX(d.id) FROM Dataset d")[0]
    rules("Dataset", "RU")
    rest = Rest(server, writer.sessionId)
    assert rest.write({"Dataset": {"id": number, "description": "x"}}).status == 200
    assert rest.write({"Dataset": {"id": number, "name": "d"}}).status == 200
    answer = rest.write({"Dataset": {"id": number, "name": "other"}})
    assert (answer.status, answer.json["message"]) == (
        403,
        "DELETE access to this Dataset is not allowed.",
    )
    rules("Dataset", "D")
    assert rest.write({"Dataset": {"id": number, "name": "other"}}).status == 200
