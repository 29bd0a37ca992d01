"""Writing by REST: what a real server answered to the same requests."""

import json

import pytest


@pytest.fixture
def make(rest, place):
    def write(name="d", **fields):
        dataset = {
            "name": name,
            "investigation": {"id": place.investigation.id},
            "type": {"id": place.dataset_type.id},
        }
        return rest.write({"Dataset": dataset | fields})

    return write


def stored(rest, number, includes=""):
    answer = rest.get(
        "entityManager", sessionId=rest.session, query=f"Dataset {includes}", id=number
    )
    return answer.json["Dataset"]


def test_create_nested_update_and_delete(rest, make, place):
    answer = make(
        description="old",
        datafiles=[{"name": "a", "fileSize": 12}, {"name": "b"}],
        parameters=[{"type": {"id": place.temperature.id}, "numericValue": 1.5}],
    )
    (number,) = answer.json
    found = stored(rest, number, "INCLUDE Datafile, DatasetParameter")
    assert [(f["name"], f["fileSize"]) for f in found["datafiles"]] == [
        ("a", 12),
        ("b", 0),
    ]
    assert found["parameters"][0]["numericValue"] == 1.5
    change = {"id": number, "description": None, "location": "/x"}
    assert rest.write({"Dataset": change}).json == []
    found = stored(rest, number)
    assert "description" not in found
    assert (found["location"], found["name"]) == ("/x", "d")
    assert (
        rest.write({"Dataset": {"id": number, "datafiles": [{"name": "c"}]}}).json == []
    )
    assert len(stored(rest, number, "INCLUDE Datafile")["datafiles"]) == 3
    order = json.dumps({"Dataset": {"id": number}})
    answer = rest.delete("entityManager", sessionId=rest.session, entities=order)
    assert answer.status == 204
    query = f"SELECT COUNT(f) FROM Datafile f WHERE f.dataset.id = {number}"
    assert rest.search(query).json == [0]


def test_references_are_touched(root, rest, connect, server, place):
    # Even by somebody who may not update them.
    rule = root.new("Rule", what="Dataset", crudFlags="C")
    rule.create()
    new = {
        "name": "touching",
        "investigation": {"id": place.investigation.id},
        "type": {"id": place.dataset_type.id},
    }
    other = type(rest)(server, connect("writer").sessionId)
    assert other.write({"Dataset": new}).status == 200
    query = f"SELECT i.modId FROM Investigation i WHERE i.id = {place.investigation.id}"
    assert root.search(query) == ["simple/writer"]
    root.delete(rule)


def test_lists_are_one_transaction(rest, make, place):
    good = {
        "name": "good",
        "investigation": {"id": place.investigation.id},
        "type": {"id": place.dataset_type.id},
    }
    answer = rest.write([{"Dataset": good}, {"Dataset": good | {"name": "two"}}])
    first, second = answer.json
    change = {"Dataset": {"id": first, "name": "new"}}
    answer = rest.write([change, {"Dataset": good}, {"Dataset": good | {"name": "x"}}])
    assert len(answer.json) == 2
    answer = rest.write([{"Dataset": good | {"name": "y"}}, {"Dataset": {"name": "z"}}])
    assert answer.json == {
        "code": "VALIDATION",
        "message": "Dataset: investigation cannot be null.",
        "offset": 1,
    }
    query = f"SELECT d FROM Dataset d WHERE d.id >= {second} AND d.name = 'y'"
    assert rest.search(query).json == []


@pytest.mark.parametrize(
    ("fields", "status", "code", "message"),
    [
        ({"name": None}, 412, "VALIDATION", "Dataset: name cannot be null."),
        ({"type": None}, 412, "VALIDATION", "Dataset: type cannot be null."),
        (
            {"name": "n" * 256},
            412,
            "VALIDATION",
            "Dataset: name cannot have length > 255",
        ),
        (
            {"investigation": {"id": 987654321}},
            404,
            "NO_SUCH_OBJECT_FOUND",
            "Investigation[id:987654321] not found.",
        ),
        (
            {"investigation": {"name": "PERF"}},
            400,
            "BAD_PARAMETER",
            "One to many related objects should not have the id value set: "
            '{"name":"PERF"}',
        ),
        (
            {"investigation": 46},
            400,
            "BAD_PARAMETER",
            "Badly formatted relationship object 46",
        ),
        (
            {"investigation": {"id": "46"}},
            400,
            "BAD_PARAMETER",
            'Badly formatted relationship object {"id":"46"}',
        ),
        ({"colour": "red"}, 400, "BAD_PARAMETER", "Field colour not found in Dataset"),
        (
            {"complete": "true"},
            400,
            "BAD_PARAMETER",
            "Field complete must be true or false in Dataset",
        ),
        (
            {"complete": None},
            500,
            "INTERNAL",
            "failed to set field complete of Dataset",
        ),
        (
            {"datafiles": [{"name": "a"}, {"name": None}]},
            412,
            "VALIDATION",
            "Datafile: name cannot be null.",
        ),
        (
            {"startDate": "2026-01-02"},
            400,
            "BAD_PARAMETER",
            'Badly formatted date "2026-01-02"',
        ),
        ({"startDate": 1767323045000}, 400, "BAD_PARAMETER", None),
        (
            {"startDate": "10000-01-01T00:00:00.000Z"},
            412,
            "OBJECT_ALREADY_EXISTS",
            None,
        ),
    ],
)
def test_refused(make, fields, status, code, message):
    answer = make(**fields)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.json["offset"] == 0
    if message:
        assert answer.json["message"] == message


@pytest.mark.parametrize(
    "fields",
    [
        {"name": 12},
        {"fileSize": "12"},
        {"fileSize": 1.5},
        {"fileSize": True},
        {"fileSize": 2**63},
        {"createId": "me"},
        {"modTime": "2001-01-01T00:00:00.000Z"},
    ],
)
def test_wrong_types_end_the_call(make, fields):
    answer = make(**fields)
    assert answer.status == 500
    assert answer.json == {
        "code": "INTERNAL",
        "message": "class jakarta.ejb.EJBException Stateless SessionBean method "
        "returned without completing transaction",
    }


def test_the_wrong_object_is_said_to_exist(rest, make, place):
    make()
    answer = make()
    number = place.investigation.id
    assert (answer.status, answer.json) == (
        412,
        {
            "code": "OBJECT_ALREADY_EXISTS",
            "message": f"Dataset exists with investigation = 'Investigation:{number}', "
            "name = 'd'",
            "offset": 0,
        },
    )
    answer = make("twice", datafiles=[{"name": "a"}, {"name": "a"}])
    assert answer.json["message"] == (
        f"Investigation exists with facility = 'Facility:{place.facility.id}', "
        f"name = '{place.investigation.name}', visitId = '1'"
    )
    hot = {"type": {"id": place.temperature.id}, "numericValue": 11}
    assert make("hot", parameters=[hot]).json == {
        "code": "VALIDATION",
        "message": "DatasetParameter: dataset cannot be null.",
        "offset": 0,
    }


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.000+01:00", "2026-01-02T02:04:05.000Z"),
        ("2026-01-02T03:04:05.123456Z", "2026-01-02T03:06:08.000Z"),
        ("2026-13-45T03:04:05.000Z", "2027-02-14T03:04:05.000Z"),
        ("2026-02-30T03:04:05.000Z", "2026-03-02T03:04:05.000Z"),
        ("2026-1-2T3:4:5.0Z", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.000Z trailing", "2026-01-02T03:04:05.000Z"),
        ("0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.000Z", "9999-12-31T23:59:59.000Z"),
    ],
)
def test_dates(rest, make, sent, kept):
    (number,) = make(startDate=sent).json
    assert stored(rest, number)["startDate"] == kept


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ('{"Dataset":', "BAD_PARAMETER", None),
        ("", "BAD_PARAMETER", None),
        ("12", "BAD_PARAMETER", "Internal Error in json 12"),
        (
            "{}",
            "BAD_PARAMETER",
            "Entity must have one keyword followed by its values in json {}",
        ),
        ('{"dataset":{}}', "BAD_PARAMETER", "dataset is not an ICAT entity"),
        ('{"Dataset":[]}', "BAD_PARAMETER", "Unexpected array found in JSON []"),
        ('["a"]', "INTERNAL", None),
        ('{"Facility":{"name":NaN}}', "BAD_PARAMETER", None),
        ("[" * 100_000, "BAD_PARAMETER", None),
        ("[]", None, None),
    ],
)
def test_json_that_is_none(rest, text, code, message):
    answer = rest.post("entityManager", sessionId=rest.session, entities=text)
    if code is None:
        assert answer.json == []
        return
    assert answer.json["code"] == code
    if message:
        assert answer.json["message"] == message


@pytest.mark.parametrize(
    ("entities", "status", "code"),
    [
        ({"Dataset": {"id": 987654321}}, 404, "NO_SUCH_OBJECT_FOUND"),
        ({"Dataset": {"name": "x"}}, 400, "BAD_PARAMETER"),
        ({"Dataset": {"id": 1, "name": "x"}}, 400, "BAD_PARAMETER"),
        ({"Dataset": []}, 400, "BAD_PARAMETER"),
        ({"Dataset": 7}, 400, "BAD_PARAMETER"),
    ],
)
def test_refused_delete(rest, entities, status, code):
    answer = rest.delete(
        "entityManager", sessionId=rest.session, entities=json.dumps(entities)
    )
    assert (answer.status, answer.json["code"]) == (status, code)


def test_ten_thousand_datafiles(rest, make):
    files = [{"name": f"f{n}", "location": f"/data/f{n}"} for n in range(10_000)]
    (number,) = make(datafiles=files).json
    query = f"SELECT COUNT(f) FROM Datafile f WHERE f.dataset.id = {number}"
    assert rest.search(query).json == [10_000]
