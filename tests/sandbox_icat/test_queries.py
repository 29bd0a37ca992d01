"""What a query finds in a small catalogue, and the errors of those that are none."""

import datetime as dt

import icat
import pytest


@pytest.fixture(scope="module")
def catalogue(root):
    """Two investigations, three datasets, files with sizes 1 to 4."""
    facility = root.new("Facility", name="QUERIES")
    facility.create()
    types = {}
    for name in ("InvestigationType", "DatasetType"):
        types[name] = root.new(name, name="t", facility=facility)
        types[name].create()
    size = 0
    for title in ("Alpha", "Beta"):
        investigation = root.new(
            "Investigation",
            name=title.lower(),
            visitId="1",
            title=title,
            facility=facility,
            type=types["InvestigationType"],
        )
        investigation.create()
        for name in ("one", "two") if title == "Alpha" else ("three",):
            dataset = root.new(
                "Dataset",
                name=name,
                complete=name == "one",
                investigation=investigation,
                type=types["DatasetType"],
                startDate=dt.datetime(2026, 1, len(name), tzinfo=dt.UTC),
            )
            if name == "two":
                sample = root.new("Sample", name="s", investigation=investigation)
                sample.create()
                dataset.sample = sample
            for number in range({"one": 1, "two": 3, "three": 0}[name]):
                size += 1
                dataset.datafiles.append(
                    root.new("Datafile", name=f"{name}{number}", fileSize=size)
                )
            dataset.create()
    yield facility
    root.delete(facility)


HERE = "d.investigation.facility.name = 'QUERIES'"
BAD, INTERNAL = icat.ICATParameterError, icat.ICATInternalError
DATASET = "SELECT d.name FROM Dataset d WHERE {} AND "


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "SELECT d.name FROM Dataset d WHERE {} ORDER BY d.name",
            ["one", "three", "two"],
        ),
        (
            "SELECT d.name FROM Dataset d WHERE {} ORDER BY d.name DESC LIMIT 1, 1",
            ["three"],
        ),
        (DATASET + "d.complete = TRUE", ["one"]),
        (DATASET + "d.fileSize < NULL", []),
        (
            DATASET + "NOT d.complete = TRUE ORDER BY d.id",
            ["two", "three"],
        ),
        (
            DATASET + "d.name LIKE 't%' ORDER BY d.id",
            ["two", "three"],
        ),
        (DATASET + "d.name NOT LIKE 't%'", ["one"]),
        (DATASET + "d.name LIKE 't!%' ESCAPE '!'", []),
        (DATASET + "d.name REGEXP '^t.o$'", ["two"]),
        (DATASET + "d.name IN ('two', 'x')", ["two"]),
        (
            DATASET + "d.name NOT IN ('two', 'one')",
            ["three"],
        ),
        (
            DATASET + "LENGTH(d.name) BETWEEN 4 AND 5",
            ["three"],
        ),
        (DATASET + "d.sample IS NOT NULL", ["two"]),
        (
            DATASET + "d.sample.id IS NULL ORDER BY d.id",
            ["one", "three"],
        ),
        (DATASET + "d.sample.name = 's'", ["two"]),
        (
            "SELECT d.name FROM Dataset d LEFT JOIN d.sample s WHERE {} AND s IS NULL "
            "ORDER BY d.id",
            ["one", "three"],
        ),
        (DATASET + "d.datafiles IS EMPTY", ["three"]),
        (
            DATASET + "d.datafiles IS NOT EMPTY ORDER BY d.id",
            ["one", "two"],
        ),
        (DATASET + "SIZE(d.datafiles) > 1", ["two"]),
        (
            DATASET + "d.startDate > {ts 2026-01-03 00:00:00}",
            ["three"],
        ),
        (
            DATASET + "d.startDate > '2026-01-04'",
            ["three"],
        ),
        (
            DATASET + "d.startDate < CURRENT_TIMESTAMP AND d.name = UPPER('x')",
            [],
        ),
        ("SELECT COUNT(d) FROM Dataset d WHERE {}", [3]),
        ("SELECT COUNT(DISTINCT d.investigation) FROM Dataset d WHERE {}", [2]),
        (
            "SELECT DISTINCT d.investigation.title FROM Dataset d WHERE {} "
            "ORDER BY d.investigation.title",
            ["Alpha", "Beta"],
        ),
        (
            "SELECT d.investigation.title, COUNT(d) FROM Dataset d WHERE {} "
            "GROUP BY d.investigation.title ORDER BY d.investigation.title",
            [("Alpha", 2), ("Beta", 1)],
        ),
        (
            "SELECT d.investigation.title, COUNT(d) FROM Dataset d WHERE {} "
            "GROUP BY d.investigation.title HAVING COUNT(d) > 1",
            [("Alpha", 2)],
        ),
        (
            "SELECT d.name, f.fileSize FROM Dataset d JOIN d.datafiles AS f WHERE {} "
            "AND f.fileSize >= 3 ORDER BY f.fileSize",
            [("two", 3), ("two", 4)],
        ),
        ("SELECT SUM(f.fileSize) FROM Datafile f JOIN f.dataset d WHERE {}", [10]),
        (
            "SELECT MIN(f.fileSize), MAX(f.fileSize), AVG(f.fileSize) FROM Datafile f "
            "JOIN f.dataset d WHERE {}",
            [(1, 4, 2.5)],
        ),
        (
            "SELECT MAX(f.fileSize) FROM Datafile f JOIN f.dataset d WHERE {} "
            "AND d.id < 0",
            [None],
        ),
        (
            "SELECT i.name FROM Investigation i, Dataset d WHERE {} AND d MEMBER OF "
            "i.datasets AND d.name = 'three'",
            ["beta"],
        ),
        (
            "SELECT i.name FROM Investigation i, Dataset d WHERE d.investigation = i "
            "AND {} "
            "AND d.complete = TRUE",
            ["alpha"],
        ),
        (
            DATASET + "d.id IN (SELECT MAX(f.dataset.id) "
            "FROM Datafile f JOIN f.dataset.investigation i WHERE i.facility = "
            "d.investigation.facility)",
            ["two"],
        ),
        (
            DATASET + "EXISTS (SELECT f FROM Datafile f "
            "WHERE f.dataset = d AND f.fileSize = 1)",
            ["one"],
        ),
        (
            DATASET + "EXISTS (SELECT f FROM d.datafiles f WHERE f.fileSize = 4)",
            ["two"],
        ),
        (
            DATASET + "d.id >= ALL (SELECT x.id FROM "
            "Dataset x WHERE x.investigation.facility = d.investigation.facility)",
            ["three"],
        ),
        (
            DATASET + "(d.name = 'one' OR d.name = 'two' AND d.complete = TRUE)",
            ["one"],
        ),
        (
            "SELECT UPPER(d.name), LENGTH(d.name), SUBSTRING(d.name, 1, 2), MOD(5, 3), "
            "-1 FROM Dataset d WHERE {} AND d.name = 'one'",
            [("ONE", 3, "on", 2, -1)],
        ),
        (
            DATASET + "CONCAT(d.name, '!') = 'one!' AND "
            "LOCATE('n', d.name) = 2 AND COALESCE(d.description, 'none') = 'none'",
            ["one"],
        ),
        (
            DATASET + "EXTRACT(DAY FROM d.startDate) = 5",
            ["three"],
        ),
        (
            DATASET + "CAST(LENGTH(d.name) AS CHAR) = '5'",
            ["three"],
        ),
        (
            DATASET + "CASE WHEN d.complete = TRUE THEN 1 ELSE 2 END = 1",
            ["one"],
        ),
        (
            DATASET + "FLOOR(SQRT(LENGTH(d.name) + 4)) = 3",
            ["three"],
        ),
        ("SELECT u.name FROM User u WHERE u.name = :user", []),
    ],
)
def test_finds(root, catalogue, query, expected):
    assert root.search(query.replace("{}", HERE)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "Dataset.name ORDER BY id [name = 'two'] <-> Facility [name = 'QUERIES']",
            ["two"],
        ),
        ("Dataset.name [name LIKE 't%'] <-> Investigation [title = 'Beta']", ["three"]),
        ("COUNT(Dataset) [complete = TRUE] <-> Facility [name = 'QUERIES']", [1]),
        ("MAX(Datafile.fileSize) <-> Dataset [name='two']", [4]),
        ("DISTINCT Investigation.title <-> Datafile [name LIKE 'two%']", ["Alpha"]),
        ("0,1 Dataset.name [name = 'one' OR name = 'two']", ["one"]),
    ],
)
def test_short_form(root, catalogue, query, expected):
    assert root.search(query) == expected


def test_includes(root, catalogue):
    query = f"SELECT d FROM Dataset d WHERE {HERE} AND d.name = 'two' "
    found = root.search(query)[0]
    assert found.datafiles == []
    assert found.investigation is None
    found = root.search(query + "INCLUDE 1")[0]
    assert found.investigation.title == "Alpha"
    assert found.type.name == "t"
    found = root.search(
        query + "INCLUDE d.datafiles AS f, f.parameters, "
        "d.investigation.facility AS q LIMIT 0, 5"
    )[0]
    assert [f.name for f in found.datafiles] == ["two0", "two1", "two2"]
    assert found.investigation.facility.name == "QUERIES"
    found = root.get("Dataset ds INCLUDE ds.sample AS s, s.investigation", found.id)
    assert found.sample.investigation.name == "alpha"
    found = root.search("Dataset INCLUDE Investigation, Facility [name='two']")[0]
    assert found.investigation.facility.name == "QUERIES"
    assert root.search("SELECT d.investigation FROM Dataset d WHERE " + HERE)[0].title


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        (
            "SELECT d FROM Datasett d",
            BAD,
            "No information to determine type of Datasett in the FROM clause",
        ),
        (
            "SELECT d.colour FROM Dataset d",
            BAD,
            "Dataset has no field colour",
        ),
        (
            "UPDATE Dataset d SET d.name=1",
            BAD,
            "UPDATE is not an ICAT entity",
        ),
        ("Datasett", BAD, "Datasett is not an ICAT entity"),
        (
            "SELECT d.id FROM Dataset d LIMIT 3",
            BAD,
            "Attempt to read beyond end",
        ),
        (
            "SELECT d FROM Dataset d INCLUDE d.zzz",
            BAD,
            "Problem with INCLUDE clause: zzz is not a field of Dataset",
        ),
        (
            "SELECT s FROM Session s",
            BAD,
            "No information to determine type of Session in the FROM clause",
        ),
        (
            "SELECT COUNT(d) FROM Dataset d WHERE d.startDate > {ts 2026-01-02 03:04}",
            BAD,
            "Timestamp {ts 2026-01-02 03:04} is not of form {ts yyyy-mm-dd hh:mm:ss}.",
        ),
        (
            "SELECT CASE WHEN d.id>0 THEN 'a' ELSE 'b' END FROM Dataset d LIMIT 0,1",
            BAD,
            "idVar 'WHEN' referenced in the SELECT clause is not defined in the "
            "FROM clause.",
        ),
        (
            "SELECT COALESCE(d.description,'n') FROM Dataset d",
            BAD,
            "idVar 'COALESCE' referenced in the SELECT clause is not defined in the "
            "FROM "
            "clause.",
        ),
    ],
)
def test_refused_as_the_real_server_does(root, query, error, message):
    with pytest.raises(error) as caught:
        root.search(query)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("SELECT FROM", BAD),
        ("", BAD),
        ("SELECT d FROM Dataset d WHERE d.name = 'open", BAD),
        ("SELECT d FROM Dataset d WHERE x.name = 1", BAD),
        (
            "SELECT i FROM Investigation i WHERE i.datasets.name = 'x'",
            BAD,
        ),
        ("SELECT COUNT(*) FROM Dataset d", BAD),
        ("SELECT d FROM Dataset d WHERE MAX(d.id) = 1", BAD),
        ("SELECT d FROM Dataset d JOIN datafiles f", BAD),
        ("SELECT d FROM Dataset d WHERE SQL('DROP TABLE DATASET') = 1", INTERNAL),
        ("SELECT d FROM Dataset d WHERE UPPER() = 'X'", BAD),
        (
            "SELECT d FROM Dataset d WHERE REPLACE(d.name,'a','b') = 'x'",
            BAD,
        ),
        (
            "SELECT (SELECT MAX(u.name) FROM User u) FROM Dataset d",
            BAD,
        ),
        ("SELECT d.name FROM Dataset d INCLUDE d.type", BAD),
        ("SELECT d FROM Dataset d WHERE d.name = :nobody", BAD),
        (
            "SELECT COUNT(d) FROM Dataset d WHERE d.startDate = "
            "'2026-01-02T03:04:05.000Z'",
            INTERNAL,
        ),
        ("SELECT SIZE(d.datafiles) FROM Dataset d", INTERNAL),
        ("SELECT CONCAT(d.name,'x') FROM Dataset d", BAD),
    ],
)
def test_refused(root, query, error):
    with pytest.raises(error):
        root.search(query)


def test_enumerations(root, catalogue):
    kind = root.new(
        "ParameterType", name="p", units="", valueType="STRING", facility=catalogue
    )
    kind.create()
    for value in (
        "org.icatproject.core.entity.ParameterValueType.STRING",
        "'STRING'",
    ):
        query = (
            f"SELECT p.valueType FROM ParameterType p WHERE p.valueType = {value} "
            "AND p.facility.name = 'QUERIES'"
        )
        assert root.search(query) == ["STRING"]
