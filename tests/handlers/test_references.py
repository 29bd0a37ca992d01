"""What a dataset refers to is found, or dealt with as the policies say."""

from datetime import UTC, datetime, timedelta

import pytest

from icat_stream.config import PolicySettings
from icat_stream.handlers.dataset_references import DatasetReferences
from icat_stream.records import (
    DependencyMissing,
    InvestigationEntry,
    InvestigationKey,
    Parameter,
    ParameterTypeEntry,
    Rejection,
    ValueType,
)


def visit(visit_id, start=None, end=None, instruments=(), state="whole"):
    return InvestigationEntry(
        key=InvestigationKey(name="2026-0815", visit_id=visit_id),
        start=start,
        end=end,
        instruments=instruments,
        state=state,
    )


class Catalogue:
    """A catalogue in memory, for questions only."""

    def __init__(self, visits=(), names=(), parameter_types=(), recent=()):
        self.visits = list(visits)
        self.recent = list(recent)
        self.names = set(names)
        self.types = list(parameter_types)

    def investigations(self, name):
        return [v for v in self.visits if v.key.name == name]

    def recent_investigations(self, name):
        return [v for v in self.recent if v.key.name == name]

    def parameter_types(self, name):
        return [t for t in self.types if t.name == name]

    def spelling(self, entity, name):
        return name if (entity, name) in self.names else None

    def formats(self, name):
        return []

    def sample_of_job(self, job_id):
        return None


def references(catalogue, **policies):
    return DatasetReferences(catalogue, PolicySettings(**policies), [])


MAY = datetime(2026, 5, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)


def test_only_visit_is_taken_whatever_the_date():
    found = references(Catalogue([visit("1", MAY, JUNE)])).investigation(
        "2026-0815", None, JULY
    )
    assert found.key.visit_id == "1"


def test_visit_by_date():
    catalogue = Catalogue([visit("1", MAY, JUNE), visit("2", JUNE, JULY)])
    ask = references(catalogue).investigation
    assert ask("2026-0815", None, datetime(2026, 5, 7, tzinfo=UTC)).key.visit_id == "1"
    assert ask("2026-0815", None, datetime(2026, 6, 7, tzinfo=UTC)).key.visit_id == "2"
    assert ask("2026-0815", None, JUNE).key.visit_id == "2"


def test_no_visit_covers_the_date():
    catalogue = Catalogue([visit("1", MAY, JUNE), visit("2", MAY, JUNE)])
    with pytest.raises(Rejection, match="none of them covers"):
        references(catalogue).investigation("2026-0815", None, JULY)


def test_an_end_that_is_a_date_means_the_day():
    early, late = visit("1", MAY, JUNE), visit("2", JULY, None)
    first = datetime(2026, 4, 1, tzinfo=UTC)
    earlier = visit("0", first, JUNE - timedelta(hours=9))
    ask = references(Catalogue([earlier, early, late])).investigation
    on_the_last_day = JUNE + timedelta(hours=15)
    assert ask("2026-0815", None, on_the_last_day).key.visit_id == "1"
    with pytest.raises(Rejection, match="none of them covers"):
        ask("2026-0815", None, JUNE + timedelta(hours=25))
    # A visit that has begun by then is the better one.
    next_one = visit("3", JUNE + timedelta(hours=12), JULY)
    ask = references(Catalogue([early, next_one])).investigation
    assert ask("2026-0815", None, on_the_last_day).key.visit_id == "3"


def test_visits_of_the_same_dates_are_not_guessed_between():
    catalogue = Catalogue([visit("1", MAY, JULY), visit("2", MAY, JUNE)])
    with pytest.raises(Rejection, match=r"1: 2026-05-01 .* state which one"):
        references(catalogue).investigation("2026-0815", None, JUNE)


def test_a_visit_in_other_letters_by_policy():
    catalogue = Catalogue([visit("Run-A"), visit("Run-B")])
    loose = references(catalogue, names="ignore_case")
    assert loose.investigation("2026-0815", "run-b", None).key.visit_id == "Run-B"
    with pytest.raises(DependencyMissing):
        references(catalogue).investigation("2026-0815", "run-b", None)
    catalogue.visits.append(visit("run-a"))
    assert loose.investigation("2026-0815", "run-a", None).key.visit_id == "run-a"
    with pytest.raises(Rejection, match="Run-A, run-a differ from 'RUN-A' in letters"):
        loose.investigation("2026-0815", "RUN-A", None)


def test_names_become_what_the_catalogue_calls_them():
    class InCapitals(Catalogue):
        def spelling(self, entity, name):
            return super().spelling(entity, name.upper())

    names = {("Instrument", "BL04"), ("Technique", "SAXS"), ("DatasetType", "RAW")}
    asked = references(InCapitals(names=names), names="ignore_case")
    of_visit = visit("1", instruments=("BL04",))
    assert asked.instruments(["bl04", "BL04"], of_visit) == ("BL04",)
    assert [t.name for t in asked.techniques(["saxs"])] == ["SAXS"]
    assert asked.dataset_type("raw") == "RAW"
    assert asked.notes == []


def test_visit_by_id():
    catalogue = Catalogue([visit("1"), visit("2")])
    assert references(catalogue).investigation("2026-0815", "2", None).key.visit_id == (
        "2"
    )


@pytest.mark.parametrize(
    ("recent", "visit_id", "chosen"),
    [
        ([visit("1", MAY, JULY)], None, "1"),
        ([visit("1", MAY, MAY), visit("3", MAY, JULY)], None, "3"),
        ([visit("1")], "1", "1"),
        # What might be another's is asked for again.
        ([], None, "2"),
        ([visit("1")], None, "2"),
        ([visit("1", MAY, None)], None, "2"),
        ([visit("1", MAY, MAY)], None, "2"),
        ([visit("1", MAY, JULY), visit("3", None, None)], None, "2"),
        ([visit("1", MAY, JULY)], "2", "2"),
    ],
)
def test_a_visit_found_a_moment_ago_is_taken_if_its_dates_say_so(
    recent, visit_id, chosen
):
    catalogue = Catalogue([visit("2", JUNE, JULY)], recent=recent)
    found = references(catalogue).investigation("2026-0815", visit_id, JUNE)
    assert found.key.visit_id == chosen


def test_missing_investigation_is_waited_for():
    with pytest.raises(DependencyMissing) as caught:
        references(Catalogue()).investigation("2026-0815", None, MAY)
    assert caught.value.missing == ("investigation:2026-0815",)
    with pytest.raises(DependencyMissing) as caught:
        references(Catalogue([visit("1")])).investigation("2026-0815", "2", MAY)
    assert caught.value.missing == ("investigation:2026-0815/2",)


def test_missing_investigation_by_policy():
    with pytest.raises(Rejection):
        references(Catalogue(), missing_investigations="reject").investigation(
            "2026-0815", None, MAY
        )


STUBS = {"missing_investigations": "stub", "stubs": {"type": "experiment"}}


def test_missing_investigation_becomes_a_stub():
    ask = references(Catalogue([visit("1")]), **STUBS)
    found = ask.investigation("2026-0815", "2", MAY)
    assert (found.key.visit_id, found.state) == ("2", "missing")
    assert ask.notes == [
        "investigation 2026-0815/2 is not in the catalogue: a stub of it is made"
    ]
    (stub,) = ask.stubs(found, ("BOREAS",), MAY)
    assert stub.investigation == found.key
    assert (stub.type, stub.start, stub.end) == ("experiment", MAY, None)
    assert stub.instruments == ("BOREAS",)
    assert stub.title.startswith("Stub")


def test_visit_of_a_stub_where_none_is_named():
    policies = {**STUBS, "stubs": {"type": "experiment", "visit_id": "0"}}
    ask = references(Catalogue(), **policies)
    assert ask.investigation("2026-0815", None, MAY).key.visit_id == "0"


def test_only_what_a_stub_lacks_is_planned():
    ask = references(Catalogue(), **STUBS)
    held = visit("1", instruments=("BOREAS",), state="stub")
    assert ask.stubs(held, ("BOREAS",), MAY) == ()
    assert ask.stubs(held, ("ZEPHYR",), MAY) != ()
    assert ask.stubs(visit("1"), ("ZEPHYR",), MAY) == ()


def test_dates_of_a_stub_are_a_guess():
    catalogue = Catalogue([visit("1", MAY, JUNE), visit("2", JULY, state="stub")])
    ask = references(catalogue, **STUBS).investigation
    assert ask("2026-0815", None, datetime(2026, 5, 7, tzinfo=UTC)).key.visit_id == "1"
    assert ask("2026-0815", None, datetime(2026, 6, 7, tzinfo=UTC)).key.visit_id == "2"
    catalogue = Catalogue([visit("1", MAY), visit("2", JUNE, state="stub")])
    ask = references(catalogue, **STUBS).investigation
    assert ask("2026-0815", None, JULY).key.visit_id == "1"


def test_instruments():
    catalogue = Catalogue(names=[("Instrument", "BOREAS")])
    ask = references(catalogue)
    assert ask.instruments(["BOREAS", "BOREAS"], visit("1")) == ("BOREAS",)
    with pytest.raises(Rejection, match="'ZEPHYR' is not in the catalogue"):
        ask.instruments(["ZEPHYR"], visit("1"))
    skipping = references(catalogue, missing_instruments="skip")
    assert skipping.instruments(["ZEPHYR", "BOREAS"], visit("1")) == ("BOREAS",)
    assert skipping.notes == ["instrument 'ZEPHYR' is not in the catalogue: left out"]


def test_instrument_of_another_investigation_is_noted():
    ask = references(Catalogue(names=[("Instrument", "BOREAS")]))
    ask.instruments(["BOREAS"], visit("1", instruments=("ZEPHYR",)))
    assert ask.notes == ["instrument BOREAS is not one of investigation 2026-0815/1"]


def test_techniques_by_policy():
    assert references(Catalogue()).techniques(["SANS"]) == ()
    with pytest.raises(Rejection):
        references(Catalogue(), missing_techniques="reject").techniques(["SANS"])
    made = references(Catalogue(), missing_techniques="create").techniques(["SANS"])
    assert [t.name for t in made] == ["SANS"]


WAVELENGTH = Parameter(name="wavelength", units="angstrom", value=5.0)


def test_parameter_type_in_other_units_is_another_type():
    catalogue = Catalogue(
        parameter_types=[
            ParameterTypeEntry(
                name="wavelength",
                units="nm",
                value_type=ValueType.NUMERIC,
                applicable_to=frozenset({"Dataset"}),
            )
        ]
    )
    ask = references(catalogue, unknown_parameter_types="skip")
    assert ask.parameters([WAVELENGTH]) == ()
    assert ask.notes == [
        "parameter type wavelength [angstrom] is not in the catalogue, which has it in"
        " [nm]: left out"
    ]


@pytest.mark.parametrize("policy", ["create", "reject", "park"])
def test_unknown_parameter_types_are_the_catalogues_to_judge(policy):
    ask = references(Catalogue(), unknown_parameter_types=policy)
    assert ask.parameters([WAVELENGTH]) == (WAVELENGTH,)
