"""VISA: who left has no access, a stranger never has, what is closed stays closed."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from icat_stream.app import load_integration
from icat_stream.config import ConfigError, Settings
from icat_stream.integrations import Visa
from icat_stream.records import (
    DependencyMissing,
    Investigation,
    Member,
    OutcomeKind,
    Rejection,
    StatedPerson,
    SystemUnavailable,
    User,
)

from .investigation_systems import VisaSystem, state

PERSON = User(
    name="jdoe",
    full_name="Jane Doe",
    given_name="Jane",
    family_name="Doe",
    email="jane@example.org",
    stated=StatedPerson(
        id="4711",
        staff=True,
        enabled=True,
        employer_id="12",
        employer="Example Lab",
        town="Geneva",
        country_code="CH",
    ),
)


@pytest.fixture
def system(monkeypatch, postgres, journal):
    system = VisaSystem(monkeypatch, postgres, journal)
    yield system
    system.close()


@pytest.fixture
def visa(system):
    return system.database


@pytest.fixture
def team(journal, keys):
    """State the team of an investigation."""
    count = iter(range(1, 1000))

    def team(number, *names, **more):
        members = tuple(Member(user=name, role="Participant") for name in names)
        planned = Investigation(investigation=keys[number], members=members, **more)
        state(journal, planned, next(count))

    return team


@pytest.fixture
def person(journal, record):
    """State somebody, and return the event of it."""
    count = iter(range(1, 1000))

    def person(user):
        state(journal, user, next(count))
        body = {
            "version": 1,
            "kind": "user",
            "outcome": "ingested",
            "facility": "Muster",
            "user": {"name": user.name, "id": 5},
        }
        return record(json.dumps(body).encode())

    return person


def test_the_team_is_that_of_the_newest_snapshot(make, new, event, team, visa, system):
    number = new()
    consumer = make()
    # Without a snapshot nobody is let in, whoever is a member in ICAT.
    consumer.handle(event(number))
    assert visa.team == set()
    visa.run(
        "INSERT INTO visa.users (id, last_name) VALUES ('earlier', 'E')",
        f"INSERT INTO visa.experiment_user VALUES ('{number}', 'earlier')",
    )
    consumer.handle(event(number, kind="operation", operation="refresh"))
    assert visa.team == {(str(number), "earlier")}
    team(number, "jdoe", "ptolemy")
    consumer.handle(event(number))
    assert visa.team == {(str(number), "jdoe"), (str(number), "ptolemy")}
    team(number, "jdoe")
    outcome = consumer.handle(event(number))
    assert f"target: left experiment {number}: 1" in outcome.written
    assert visa.team == {(str(number), "jdoe")}
    team(number)
    consumer.handle(event(number))
    assert visa.team == set()
    # Members whom VISA did not know have a row, and nobody else's.
    assert {name for (name,) in visa.rows("SELECT id FROM users")} == {
        "earlier",
        "jdoe",
        "ptolemy",
    }


def test_a_slow_process_lets_nobody_in_again(make, new, event, team, visa, system):
    number = new()
    team(number, "jdoe")
    slow, quick = make(), make()
    go_on = system.hold()
    with ThreadPoolExecutor(1) as pool:

        def handle():
            try:
                return slow.handle(event(number))
            finally:
                slow.leave_lane()

        late = pool.submit(handle)
        try:
            system.wait_for_call()
            # It has read that he is in the team, and he leaves it.
            team(number)
            quick.handle(event(number))
            visa.run(
                "CREATE TABLE visa.seen (id varchar(250))",
                "CREATE FUNCTION visa.see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN"
                " INSERT INTO visa.seen VALUES (NEW.user_id); RETURN NEW; END'",
                "CREATE TRIGGER see AFTER INSERT ON visa.experiment_user FOR EACH ROW"
                " EXECUTE FUNCTION visa.see()",
            )
        finally:
            go_on.set()
        late.result(60)
    assert visa.team == set()
    assert visa.rows("SELECT id FROM seen") == []


def test_all_of_a_proposal(make, new, event, team, visa, person, system, keys):
    system.options["timezone"] = "Europe/Berlin"
    system.options["url_template"] = "https://example.org/{name}"
    number = new(
        doi="10.5072/x",
        summary="s" * 4000,
        startDate=datetime(2020, 7, 6, 22, tzinfo=UTC),
    )
    team(number, "jdoe")
    consumer = make({**system.options, "staff_role": "STAFF", "user_id": "{id}"})
    with pytest.raises(DependencyMissing, match="jdoe is not stated") as caught:
        consumer.handle(event(number))
    # All but him is there; he is nobody until somebody says who.
    assert visa.team == set()
    assert consumer.present(caught.value.missing) == set()
    consumer.handle(person(PERSON))
    assert consumer.present(caught.value.missing) == set(caught.value.missing)
    consumer.handle(event(number))
    assert visa.team == {(str(number), "4711")}
    assert visa.rows(
        "SELECT identifier, title, summary, public_at, url, doi FROM proposal"
    ) == [
        (
            keys[number].name,
            "Salt",
            "s" * 4000,
            datetime(2023, 5, 8, 2),  # noqa: DTZ001
            f"https://example.org/{keys[number].name}",
            "10.5072/x",
        )
    ]
    assert visa.rows("SELECT start_date, doi, proposal_id FROM experiment") == [
        (datetime(2020, 7, 7), "10.5072/x", number)  # noqa: DTZ001
    ]
    assert visa.rows("SELECT name FROM instrument") == [("DREHM",)]
    assert visa.rows(
        "SELECT u.last_name, u.first_name, u.email, e.name, e.town, instance_quota,"
        " activated_at FROM users u JOIN employer e ON e.id = u.affiliation_id"
    ) == [("Doe", "Jane", "jane@example.org", "Example Lab", "Geneva", 2, None)]


def test_roles_that_are_not_ours_and_quotas_stay(make, visa, person, system):
    consumer = make({**system.options, "staff_role": "STAFF"})
    consumer.handle(person(PERSON))
    visa.run(
        "INSERT INTO visa.user_role SELECT 'jdoe', id FROM visa.role WHERE name ="
        " 'ADMIN'",
        "UPDATE visa.users SET instance_quota = 7, activated_at = now()",
    )
    roles = (
        "SELECT r.name FROM user_role u JOIN role r ON r.id = u.role_id ORDER BY r.name"
    )
    assert visa.rows(roles) == [("ADMIN",), ("STAFF",)]
    stated = PERSON.stated
    guest = User(name="jdoe", full_name="J. D.", stated=replace(stated, staff=False))
    consumer.handle(person(guest))
    consumer.handle(person(guest))
    assert visa.rows(roles) == [("ADMIN",)]
    assert visa.rows(
        "SELECT instance_quota, activated_at IS NULL, last_name FROM users"
    ) == [(7, False, "Doe")]
    consumer = make({**system.options, "staff_role": "NOBODY"})
    with pytest.raises(SystemUnavailable, match="VISA has no role NOBODY"):
        consumer.handle(person(User(name="x", stated=StatedPerson(staff=True))))


def test_who_is_disabled_is_kept_and_has_nothing(
    make, new, event, team, visa, person, system
):
    number = new()
    consumer = make({**system.options, "staff_role": "STAFF"})
    consumer.handle(person(PERSON))
    team(number, "jdoe", "ptolemy")
    consumer.handle(event(number))
    visa.run("INSERT INTO visa.instance (owner) VALUES ('jdoe')")
    gone = User(
        name="jdoe__user_disabled",
        account="jdoe",
        stated=replace(PERSON.stated, enabled=False),
    )
    state(system._journal, User(name="jdoe", stated=gone.stated), 900)
    consumer.handle(person(gone))
    only = {(str(number), "ptolemy")}
    assert visa.team == only
    assert visa.rows("SELECT count(*) FROM user_role") == [(0,)]
    assert visa.rows("SELECT instance_quota FROM users WHERE id = 'jdoe'") == [(0,)]
    # Neither a newer snapshot that names him, nor an old one that comes again.
    team(number, "jdoe", "ptolemy", title="Pepper")
    consumer.handle(event(number))
    assert visa.team == only


def test_who_is_enabled_again_has_access_again(
    make, new, event, team, visa, person, system
):
    number = new()
    consumer = make()
    consumer.handle(person(PERSON))
    team(number, "jdoe", "ptolemy")
    consumer.handle(event(number))
    before = visa.team
    disabled = User(name="jdoe", stated=replace(PERSON.stated, enabled=False))
    consumer.handle(person(disabled))
    consumer.handle(event(number))
    assert visa.team == {(str(number), "ptolemy")}
    consumer.handle(person(PERSON))
    refresh = event(number, kind="operation", operation="refresh")
    assert consumer.handle(refresh).kind is OutcomeKind.INGESTED
    assert visa.team == before
    assert consumer.handle(refresh).kind is OutcomeKind.UNCHANGED


def test_who_is_disabled_is_out_whatever_else_is_wrong(
    make, new, event, team, visa, person, system
):
    number = new()
    consumer = make({**system.options, "staff_role": "NOBODY"})
    team(number, "jdoe")
    consumer.handle(event(number))
    visa.run("ALTER TABLE visa.employer ADD CHECK (town <> 'Geneva')")
    gone = User(name="jdoe", stated=replace(PERSON.stated, enabled=False))
    with pytest.raises(Rejection, match="employer"):
        consumer.handle(person(gone))
    assert visa.team == set()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("not stated", None),
        ("no number", "proposal_id: expected a number"),
        ("instrument", r"none of options\.instruments"),
        ("experiment", "cannot be VISA's experiment.id"),
        ("instrument to come", "instrument 99 .* is not in VISA"),
        ("member", "an id of 251 characters"),
        ("database", "experiment"),
    ],
)
def test_one_bad_visit_keeps_nobody_in(
    make, new, event, team, visa, system, keys, client, wrong, expected
):
    good = new()
    name = keys[good].name
    template = "{name}-{visit_id}"
    experiment = template.format(name=name, visit_id="1")
    visa.run("INSERT INTO visa.instrument VALUES (1, 'Drehmaschine')")
    options = {
        **system.options,
        "proposal_id": "{proposal_id}",
        "experiment_id": template,
        "instruments": {"DREHM": 1},
    }
    consumer = make(options)
    team(good, "jdoe", "left", proposal_id="42")
    consumer.handle(event(good))
    assert visa.team == {(experiment, "jdoe"), (experiment, "left")}
    bad = new(name=name, visitId="v" * 40 if wrong == "experiment" else "0")
    if wrong != "not stated":
        number = "forty-two" if wrong == "no number" else "42"
        team(bad, *(["n" * 251] if wrong == "member" else []), proposal_id=number)
    if wrong.startswith("instrument"):
        if wrong == "instrument to come":
            options["instruments"] = {"DREHM": 1, "OTHER": 99}
        (link,) = client.search(
            f"SELECT l FROM InvestigationInstrument l JOIN l.investigation i WHERE"
            f" i.id = {bad}"
        )
        client.delete(link)
        facility = client.assertedSearch("SELECT f FROM Facility f")[0]
        other = client.search("Instrument [name = 'OTHER']") or [
            client.new("Instrument", name="OTHER", facility=facility)
        ]
        if not other[0].id:
            other[0].create()
        link = client.new("InvestigationInstrument", instrument=other[0])
        link.investigation = client.get("Investigation", bad)
        link.create()
        consumer = make(options)
    if wrong == "database":
        visa.run(f"ALTER TABLE visa.experiment ADD CHECK (id <> '{name}-0')")
    team(good, "jdoe", "newcomer", proposal_id="42")
    if expected is None:
        assert f"{name}/0" in consumer.handle(event(good)).reason
    else:
        with pytest.raises((Rejection, DependencyMissing), match=expected):
            consumer.handle(event(good))
    assert visa.team == {(experiment, "jdoe"), (experiment, "newcomer")}


def test_a_proposal_is_open_when_all_of_it_is(
    make, new, event, client, keys, change, visa, system, journal
):
    number = new()
    name = keys[number].name
    later = datetime.now(UTC) + timedelta(days=30)
    other = new(name=name, visitId="2", releaseDate=later)
    for each in (number, other):
        state(
            journal,
            Investigation(investigation=keys[each], members=(), proposal_id="42"),
            each,
        )
    consumer = make({**system.options, "proposal_id": "{proposal_id}"})
    assert consumer.key(event(number)) == consumer.key(event(other))
    consumer.handle(event(number))
    opens = "SELECT id, public_at FROM proposal"
    ((proposal, when),) = visa.rows(opens)
    assert proposal == 42
    assert when > datetime.now()  # noqa: DTZ005
    assert visa.rows("SELECT count(*) FROM experiment") == [(2,)]
    # Closed again: nobody may see it any more.
    change(number, releaseDate=None)
    consumer.handle(event(number))
    assert visa.rows(opens) == [(42, None)]
    change(number, releaseDate=later)
    consumer.handle(event(number))
    assert visa.rows(opens)[0][1] is not None


def test_a_visit_that_is_gone_is_nobodys(make, new, event, team, visa, client):
    number = new()
    team(number, "jdoe")
    consumer = make()
    consumer.handle(event(number))
    visa.run("INSERT INTO visa.instance (owner) VALUES ('jdoe')")
    client.delete(client.get("Investigation", number))
    consumer.handle(event(number))
    assert visa.team == set()
    assert visa.rows("SELECT count(*) FROM experiment") == [(1,)]


def test_what_does_not_fit(make, new, event, team, visa, person, system, journal):
    consumer = make()
    long = User(
        name="n" * 240,
        full_name="N" * 500,
        email="n" * 120 + "@example.org",
        stated=StatedPerson(employer_id="x", employer="E"),
    )
    outcome = consumer.handle(person(long))
    for word in ("last_name: cut", "email of", "employer: 'x' is no number"):
        assert word in outcome.reason
    ((last, email),) = visa.rows("SELECT last_name, email FROM users")
    assert last == "N" * 99 + "…"
    assert email is None
    consumer.handle(person(User(name="nul", full_name="A\0B")))
    assert ("AB",) in visa.rows("SELECT last_name FROM users")
    for name in ("0", " ", "n" * 251, "a\0b"):
        with pytest.raises(Rejection, match="id"):
            consumer.handle(person(User(name=name)))
    number = new()
    for template, options in (
        ("{name}/{visit_id} and what makes it longer", {}),
        ("{id}", {"instruments": {"OTHER": 1}}),
    ):
        consumer = make({**system.options, "experiment_id": template, **options})
        with pytest.raises(Rejection, match=r"options\.(experiment_id|instruments)"):
            consumer.handle(event(number))


def test_an_instrument_of_visas_own_is_waited_for(make, new, event, visa, system):
    consumer = make({**system.options, "instruments": {"DREHM": 99}})
    number = new()
    with pytest.raises(DependencyMissing) as caught:
        consumer.handle(event(number))
    assert consumer.present(caught.value.missing) == set()
    visa.run("INSERT INTO visa.instrument VALUES (99, 'Drehmaschine')")
    assert consumer.present(caught.value.missing) == {"visa_instrument:99"}
    assert consumer.handle(event(number)).kind is OutcomeKind.INGESTED
    assert visa.rows("SELECT name FROM instrument") == [("Drehmaschine",)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "DROP TABLE visa.experiment_user",
            r"table visa\.experiment_user is not there",
        ),
        ("ALTER TABLE visa.users DROP email", r"column email of table visa\.users"),
        ("ALTER SCHEMA visa RENAME TO visa2", r"table visa\.\w+ is not there"),
    ],
)
def test_a_table_that_is_missing_stops_it(
    make, new, event, team, visa, change, expected
):
    consumer = make()
    number = new()
    team(number, "jdoe")
    consumer.ping()
    visa.run(change)
    try:
        with pytest.raises(SystemUnavailable) as caught:
            consumer.handle(event(number))
        assert not caught.value.probe_tells
        with pytest.raises(SystemUnavailable, match=expected):
            consumer.ping()
    finally:
        visa.run("DROP SCHEMA IF EXISTS visa2 CASCADE")


def test_an_account_that_may_not_write_is_found_at_the_start(make, visa, system):
    visa.run(
        "DROP ROLE IF EXISTS visa_reader",
        "CREATE ROLE visa_reader LOGIN",
        "GRANT USAGE ON SCHEMA visa TO visa_reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA visa TO visa_reader",
    )
    consumer = make(system.options_for("visa_reader"))
    with pytest.raises(SystemUnavailable, match="lacks INSERT on employer"):
        consumer.ping()


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"url": "postgresql://me:secr3t@host/visa"}, "without a password"),
        ({"url": "sqlite:///x"}, "expected postgresql"),
        ({"user_id": "{email}"}, "{email} is not known"),
        ({"user_id": "1"}, "expected one of"),
        ({"experiment_id": "{visit_id}"}, "beside {visit_id}"),
        ({"proposal_id": "{name}"}, r"options\.proposal_id"),
        ({"timezone": "Mars"}, "time zone"),
        ({"password": "x", "password_file": "y"}, "not both"),
    ],
)
def test_its_options_are_checked(changes, wrong):
    consumers = {"c": {"integration": "visa", "topics": ["t"]}}
    settings = Settings(facility="Muster", consumers=consumers)
    assert load_integration("visa") is Visa
    options = {"url": "postgresql://me@host/visa"}
    Visa.check(settings, options)
    with pytest.raises(ConfigError, match=wrong) as caught:
        Visa.check(settings, options | changes)
    assert "secr3t" not in str(caught.value)
