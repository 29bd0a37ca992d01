"""The handler of docs/own-handler.md works as a subclass, and as a plain class."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from handlers.conftest import CatalogueInMemory, as_record
from icat_stream.app import load_handler
from icat_stream.config import Settings
from icat_stream.handlers import Handler, HandlerContext
from icat_stream.records import Outcome, OutcomeKind, Plan, Rejection
from icat_stream.stream.record_slots import ordering_key

PAGE = Path(__file__).parents[2] / "docs" / "own-handler.md"
MESSAGE = {
    "kind": "slow-control",
    "proposal": "2510042",
    "visit": "1",
    "run": 7,
    "temperature": 4.2,
}


@pytest.fixture(params=["(Handler)", ""], ids=["subclass", "plain"])
def handler(request, monkeypatch, settings):
    (code,) = re.findall(r'```python\n("""ourfacility.*?)```', PAGE.read_text(), re.S)
    module = ModuleType("ourfacility_handlers")
    base = "class SlowControl(Handler)"
    assert base in code
    exec(code.replace(base, f"class SlowControl{request.param}"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    context = HandlerContext(
        settings=settings, files=None, options={"dataset_type": "slow control"}
    )
    return load_handler("ourfacility_handlers:SlowControl")(context)


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings.model_validate(
        {
            "facility": "EXAMPLE",
            "kafka": {"bootstrap_servers": "127.0.0.1:1", "group_id": "g"},
            "icat": {"url": "http://127.0.0.1:1", "username": "u", "password": "p"},
            "files": {"roots": [str(tmp_path)]},
            "consumers": {"a": {"handler": "x:Y", "topics": ["t"]}},
        }
    )


def test_a_message_becomes_a_plan(handler) -> None:
    record = as_record(json.dumps(MESSAGE).encode())
    plan = handler.plan(handler.decode(record), CatalogueInMemory())
    assert isinstance(plan, Plan)
    (dataset,) = plan.datasets
    assert (dataset.key, dataset.type) == (
        "2510042/1/slow control 7",
        "slow control",
    )


def test_what_it_does_not_say_has_a_default(handler) -> None:
    record = as_record(b"{}")
    assert handler.redact(record) == b"{}"
    assert (handler.makes_snapshots, handler.sends_events) == (False, True)
    with pytest.raises(Rejection, match="messages only"):
        handler.compose("/data/a.nxs", None)
    assert handler.compose(None, b"x") == b"x"


def test_other_messages_are_ignored_and_wrong_ones_refused(handler) -> None:
    other = handler.decode(as_record(b'{"kind": "logbook"}'))
    assert isinstance(other, Outcome)
    assert other.kind is OutcomeKind.IGNORED
    with pytest.raises(Rejection, match="no JSON"):
        handler.decode(as_record(b"{"))


class Keyless:
    redact = None

    def __init__(self, context) -> None:
        pass

    def key(self, record):
        return record.key

    def decode(self, record):
        return record

    def plan(self, message, lookups):
        return None

    def fingerprint(self, record):
        return f"hash of {record.value!r}"


@pytest.mark.parametrize("wrapped", [Keyless, lambda context: Keyless(context)])
def test_a_plain_handler_is_taken_as_it_is(monkeypatch, settings, wrapped) -> None:
    module = ModuleType("keyless")
    module.Made = wrapped
    monkeypatch.setitem(sys.modules, module.__name__, module)
    maker = load_handler("keyless:Made")
    maker.check(settings, {})
    handler = maker(HandlerContext(settings=settings, files=None))
    records = [as_record(b"x", offset=offset) for offset in (1, 2)]
    # A topic without keys: each record goes its own way.
    assert len({ordering_key(handler.key, record) for record in records}) == 2
    assert handler.redact(records[0]) == b"x"
    assert handler.fingerprint(records[0]) == "hash of b'x'"
    assert not handler.takes_files


def test_who_composes_takes_files() -> None:
    class Composing(Handler):
        key = decode = plan = None

        def compose(self, file, message):
            return b""

    assert Composing.takes_files
    assert not type("Other", (Composing,), {"takes_files": False}).takes_files
