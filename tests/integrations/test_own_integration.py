"""The integration of docs/own-integration.md works, and comes to rest."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from icat_stream.app import load_handler
from icat_stream.config import ConfigError, Settings
from icat_stream.handlers import HandlerContext
from icat_stream.messages import read_event
from icat_stream.records import (
    DatasetEntry,
    InvestigationKey,
    Outcome,
    OutcomeKind,
    Plan,
)

from .test_checksums import EVENT

PAGE = Path(__file__).parents[2] / "docs" / "own-integration.md"
DATASET = DatasetEntry(
    id=42,
    investigation=InvestigationKey(name="2026-0815", visit_id="1"),
    name="run 7",
    type="raw",
    parameters={"sample_temperature": 3.9},
)


@pytest.fixture
def make(monkeypatch):
    shown = r'```python\n("""ourfacility/temperatures.*?)```'
    (code,) = re.findall(shown, PAGE.read_text(), re.S)
    module = ModuleType("ourfacility_temperatures")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(code, vars(module))

    def make(**options):
        consumers = {"c": {"handler": "x:Y", "topics": ["t"]}}
        settings = Settings(facility="EXAMPLE", consumers=consumers)
        context = HandlerContext(settings=settings, files=None, options=options)
        return load_handler("ourfacility_temperatures:Cold")(context)

    return make


@pytest.mark.parametrize(("limit", "cold"), [(4.2, "yes"), (3.9, "no")])
def test_an_event_becomes_a_plan(make, catalogue, record, limit, cold):
    catalogue.held = [DATASET]
    handler = make(limit=limit)
    event = handler.decode(record(json.dumps(EVENT).encode()))
    plan = handler.plan(event, catalogue)
    assert isinstance(plan, Plan)
    (dataset,) = plan.datasets
    assert [(p.name, p.value) for p in dataset.parameters] == [("cold", cold)]
    assert not dataset.brings_files


def test_what_has_no_temperature_or_is_gone(make, catalogue, record):
    handler = make()
    event = handler.decode(record(json.dumps(EVENT).encode()))
    assert handler.plan(event, catalogue).kind is OutcomeKind.IGNORED
    catalogue.held = [replace(DATASET, parameters={})]
    assert handler.plan(event, catalogue).kind is OutcomeKind.UNCHANGED


def test_its_options_are_checked(make):
    with pytest.raises(ConfigError, match=r"options\.limit"):
        make(limit="cold")


def test_what_it_caused_itself_is_ignored(make, record):
    handler = make()
    type(handler).cause = "cold"
    value = json.dumps(EVENT | {"cause": "cold"}).encode()
    assert read_event(value).cause == "cold"
    outcome = handler.decode(record(value))
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.reason) == (
        OutcomeKind.IGNORED,
        "an event of its own",
    )
    other = json.dumps(EVENT | {"cause": "lineage"}).encode()
    assert not isinstance(handler.decode(record(other)), Outcome)
