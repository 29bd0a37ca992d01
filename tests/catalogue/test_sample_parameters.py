"""Parameters of a sample that a dataset brings with it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from icat_stream.catalogue import CatalogueSession
from icat_stream.records import (
    InvestigationKey,
    OutcomeKind,
    Parameter,
    Plan,
    Rejection,
    Sample,
)

from .plans import full, plan

HUMIDITY = Parameter(name="humidity", units="%", value=40.0)


def measured(
    investigation: InvestigationKey, *parameters: Parameter, name: str = "run 7"
) -> Plan:
    sample = Sample(name="Salz", create=True, parameters=parameters)
    return plan(full(investigation, name=name, sample=sample))


@pytest.fixture
def held(client: Any, investigation: InvestigationKey) -> Callable[[], dict[str, Any]]:
    def held() -> dict[str, Any]:
        query = (
            "SELECT p FROM SampleParameter p WHERE p.sample.investigation.name ="
            f" '{investigation.name}' INCLUDE p.type"
        )
        return {p.type.name: p.numericValue for p in client.search(query)}

    return held


def test_they_come_with_the_sample_and_to_one_that_is_there(
    lane: CatalogueSession,
    lane_with: Callable[..., CatalogueSession],
    investigation: InvestigationKey,
    held: Callable[[], dict[str, Any]],
) -> None:
    first = measured(investigation, HUMIDITY)
    shown = [c.what for c in lane.diff(first).changes if c.kind == "new"]
    assert "SampleParameter humidity [%] of Salz" in shown
    assert "Sample Salz: 1 parameters" in lane.apply(first).written
    assert held() == {"humidity": 40.0}
    assert lane.apply(first).kind is OutcomeKind.UNCHANGED
    assert lane.diff(first).is_empty
    new = Parameter(name=f"mass {investigation.name}", units="g", value=2)
    creating = lane_with(unknown_parameter_types="create")
    creating.apply(measured(investigation, HUMIDITY, new))
    assert held() == {"humidity": 40.0, new.name: 2.0}
    (kind,) = creating.parameter_types(new.name)
    assert kind.applicable_to == {"Sample"}


def test_differences_by_policy(
    lane: CatalogueSession,
    lane_with: Callable[..., CatalogueSession],
    investigation: InvestigationKey,
    held: Callable[[], dict[str, Any]],
) -> None:
    lane.apply(measured(investigation, HUMIDITY))
    wetter = measured(investigation, replace(HUMIDITY, value=50.0), name="run 8")
    told = r"sample 'Salz' is there and differs: SampleParameter humidity \[%\] of Salz"
    for use in (lane.apply, lane.diff):
        with pytest.raises(Rejection, match=told):
            use(wetter)
    naming = lane_with(existing_datasets="new_name")
    assert "left as it is" in naming.apply(wetter).notes[0]
    assert naming.diff(wetter).is_empty
    assert held() == {"humidity": 40.0}
    updating = lane_with(existing_datasets="update")
    assert not updating.diff(wetter).is_empty
    updating.apply(wetter)
    assert held() == {"humidity": 50.0}
    assert updating.apply(wetter).kind is OutcomeKind.UNCHANGED


def test_what_does_not_fit_is_refused(
    lane: CatalogueSession, investigation: InvestigationKey
) -> None:
    wrong = Parameter(name="temperature", units="K", value=4.0)
    with pytest.raises(Rejection, match="not applicable to a Sample"):
        lane.apply(measured(investigation, wrong))
    unknown = Parameter(name="luck", units="", value=4.0)
    with pytest.raises(Rejection, match=r"luck \(no units\) is not .* to Sample,"):
        lane.apply(measured(investigation, unknown))
    twice = measured(investigation, HUMIDITY, HUMIDITY)
    with pytest.raises(Rejection, match="2 of one name"):
        lane.apply(twice)
