"""What every integration that writes to another system keeps to.

A system of its own is added to ``SYSTEMS``: how its integration is made, and how it is
looked at, taken down and made to refuse.
"""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, ClassVar

import pytest

from icat_stream.app import UnknownHandler, load_integration
from icat_stream.config import (
    ConfigError,
    ConsumerSettings,
)
from icat_stream.records import (
    OutcomeKind,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)
from plugins.pages import TOKEN, PageServer, pages_module

from .conftest import NAME
from .investigation_systems import (
    DataCiteSystem,
    PanoscSystem,
    PlainVisaSystem,
    VisaSystem,
)
from .search_system import MessageLogSystem, SearchSystem


class Pages:
    """The integration of the page, and the web server that it writes to."""

    integration = "ourfacility_pages:Pages"
    # Of what there is a document: a dataset, or an investigation.
    subject = "dataset"
    # What its events say besides, and what the configuration does.
    asked: ClassVar[dict[str, Any]] = {}
    settings: ClassVar[dict[str, Any]] = {}
    # Whether what is deleted in the catalogue goes.
    forgets = True
    # Whether it writes without looking at what is there.
    writes_blindly = True

    def __init__(self, patch: pytest.MonkeyPatch, *_: Any) -> None:
        module = ModuleType("ourfacility_pages")
        patch.setitem(sys.modules, module.__name__, module)
        exec(pages_module(), vars(module))
        self.server = PageServer()
        self.options = {"url": self.server.url, "token": TOKEN}
        self.wrong_options = {"url": self.server.url, "token": "something else"}
        self.secret = "something else"
        self.close = self.server.close

    def names(self) -> list[str]:
        """Return the names of the datasets whose documents are there."""
        return sorted(one["name"] for one in self.server.documents.values())

    def types(self) -> list[str]:
        return sorted(one["type"] for one in self.server.documents.values())

    @property
    def calls(self) -> int:
        return len(self.server.calls)

    def hold(self) -> threading.Event:
        """Have the next write wait until the event is set."""
        self.server.held = threading.Event()
        return self.server.held

    def wait_for_call(self) -> None:
        assert self.server.arrived.wait(30)

    def take_down(self, down: bool) -> None:
        self.server.status = 503 if down else 200

    def refuse(self, name: str) -> None:
        """Refuse the document of that dataset for what it is."""
        self.server.refused = name


SYSTEMS = [
    Pages,
    DataCiteSystem,
    PanoscSystem,
    PlainVisaSystem,
    VisaSystem,
    SearchSystem,
]


# Those, too, that follow no events of the catalogue.
EVERY = pytest.mark.parametrize(
    "system",
    [*SYSTEMS, MessageLogSystem],
    ids=lambda system: system.__name__,
    indirect=True,
)


@pytest.fixture(params=SYSTEMS, ids=lambda system: system.__name__)
def system(
    request, monkeypatch, postgres, journal, open_to_all, settings
) -> Iterator[Any]:
    if issubclass(request.param, SearchSystem):
        system: Any = request.param(request.getfixturevalue("opensearch"))
    else:
        system = request.param(monkeypatch, postgres, journal, settings.url)
    yield system
    system.close()


def test_what_is_unchanged_costs_no_call(system, make, ingest, event):
    consumer = make()
    record = event(ingest("a"))
    outcome = consumer.handle(record)
    assert outcome.kind is OutcomeKind.INGESTED
    assert outcome.written
    assert outcome.objects["investigation"]
    assert system.names() == ["a"]
    calls = system.calls
    assert consumer.handle(record).kind is OutcomeKind.UNCHANGED
    # Another process knows, too.
    assert make().handle(record).kind is OutcomeKind.UNCHANGED
    assert system.calls == calls


def test_what_is_deleted_goes(system, make, ingest, event, delete):
    consumer = make()
    dataset = ingest("a")
    consumer.handle(event(dataset))
    delete(dataset)
    if not system.forgets:
        assert consumer.handle(event(dataset)).kind is OutcomeKind.IGNORED
        assert system.names() == ["a"]
        return
    assert consumer.handle(event(dataset)).kind is OutcomeKind.INGESTED
    assert system.names() == []
    assert consumer.handle(event(dataset)).kind is OutcomeKind.UNCHANGED


def test_an_older_state_does_not_stay_over_a_newer_one(
    system, make, ingest, event, retype
):
    dataset = ingest("a", "raw")
    old, new = make(), make()
    go_on = system.hold()
    with ThreadPoolExecutor(1) as pool:

        def handle():
            try:
                return old.handle(event(dataset))
            finally:
                old.leave_lane()

        late = pool.submit(handle)
        try:
            # It has read the catalogue, and is slow to write.
            system.wait_for_call()
            retype(dataset, "other")
            assert new.handle(event(dataset)).kind is OutcomeKind.INGESTED
            assert system.types() == ["other"]
        finally:
            go_on.set()
        late.result(60)
    assert system.types() == ["other"]
    # What the system holds is known again.
    assert new.handle(event(dataset)).kind is OutcomeKind.UNCHANGED


def test_one_that_died_while_writing_is_not_believed(system, make, ingest, event):
    dataset = ingest("a")
    consumer = make()
    consumer.handle(event(dataset))
    calls = system.calls
    # Its end is lost, but not its beginning.
    consumer._exports.begin(NAME, [consumer.key(event(dataset))])
    if system.writes_blindly:
        assert consumer.handle(event(dataset)).kind is OutcomeKind.INGESTED
        assert system.calls == calls + 1
    else:
        assert consumer.handle(event(dataset)).kind is OutcomeKind.UNCHANGED
        assert system.calls == calls
    assert consumer.handle(event(dataset)).kind is OutcomeKind.UNCHANGED


@EVERY
def test_a_system_that_is_down_is_waited_for(system, make, ingest, event):
    consumer = make()
    record = event(ingest("a"))
    system.take_down(True)
    with pytest.raises((TransientFailure, SystemUnavailable)):
        consumer.handle(record)
    with pytest.raises(SystemUnavailable, match=NAME) as caught:
        consumer.probe(NAME)
    assert caught.value.system == NAME
    system.take_down(False)
    consumer.probe(NAME)
    assert consumer.handle(record).kind is OutcomeKind.INGESTED
    assert system.names() == ["a"]


@EVERY
def test_refused_credentials_stop_it_and_give_nothing_up(system, make, ingest, event):
    consumer = make(system.wrong_options)
    with pytest.raises(SystemUnavailable) as caught:
        consumer.handle(event(ingest("a")))
    # However often its ping is answered, the record is not given up.
    assert not caught.value.probe_tells
    assert caught.value.system == NAME
    assert system.secret not in caught.value.reason
    with pytest.raises(SystemUnavailable):
        consumer.probe(NAME)
    assert system.names() == []


@EVERY
def test_a_bad_object_among_good_ones(system, make, ingest, event):
    consumer = make()
    names = [f"d{n}" for n in range(5)]
    records = [event(ingest(name)) for name in names]
    system.refuse("d2")
    for record in records:
        consumer.key(record)
    kinds = {}
    for name, record in zip(names, records, strict=True):
        try:
            kinds[name] = consumer.handle(record).kind
        except Rejection:
            kinds[name] = OutcomeKind.REJECTED
    good = {n: OutcomeKind.INGESTED for n in names if n != "d2"}
    assert kinds == good | {"d2": OutcomeKind.REJECTED}
    assert system.names() == sorted(good)


def test_those_that_wait_are_read_at_once(make, ingest, event, monkeypatch):
    consumer = make()
    if consumer.integration.batch == 1:
        return
    asked = []
    wanted = consumer.integration.wanted

    def noted(events, lookups):
        asked.append(len(events))
        return wanted(events, lookups)

    monkeypatch.setattr(consumer.integration, "wanted", noted)
    first = ingest("a")
    records = [event(first), *(event(ingest(f"b{n}")) for n in range(3)), event(first)]
    for record in records:
        consumer.key(record)
    kinds = [consumer.handle(record).kind for record in records]
    assert asked == [4]
    assert kinds == [OutcomeKind.INGESTED] * 4 + [OutcomeKind.UNCHANGED]


@EVERY
def test_what_fails_with_all_is_tried_alone(system, make, ingest, event, monkeypatch):
    consumer = make()
    if consumer.integration.batch == 1:
        return
    apply = consumer.integration.apply

    def fails_together(documents):
        if len(documents) > 1:
            raise TransientFailure("too much at once")
        return apply(documents)

    monkeypatch.setattr(consumer.integration, "apply", fails_together)
    records = [event(ingest(name)) for name in "abc"]
    for record in records:
        consumer.key(record)
    kinds = {consumer.handle(record).kind for record in records}
    assert kinds == {OutcomeKind.INGESTED}
    assert system.names() == ["a", "b", "c"]


def test_a_dry_run_shows_documents_and_writes_nothing(
    system, make, ingest, event, journal
):
    dataset = ingest("a")
    record = event(dataset)
    for exports in (None, journal.exports):
        dry = make(dry_run=True, exports=exports)
        outcome = dry.handle(record)
        assert outcome.kind is OutcomeKind.INGESTED
        (document,) = outcome.documents
        assert document["key"] == dry.key(record)
        assert document["content"]
        assert not journal.exports.held(NAME, [document["key"]])
    assert system.calls == 0
    make().handle(record)
    assert make(dry_run=True).handle(record).kind is OutcomeKind.UNCHANGED


@EVERY
def test_what_comes_again_changes_nothing(system, make, ingest, event):
    record = event(ingest("a"))
    assert make().handle(record).kind is OutcomeKind.INGESTED
    # Another process may have handled it, and its offset is lost.
    assert make().handle(record).kind is OutcomeKind.UNCHANGED
    assert system.names() == ["a"]


@EVERY
def test_what_is_none_of_its_records_is_refused(system, make, record):
    consumer = make()
    for value in (b"{", b"[]", None):
        wrong = record(value)
        assert consumer.key(wrong) == str(wrong.at)
        with pytest.raises(Rejection):
            consumer.handle(wrong)
    assert system.calls == 0


def test_other_events_are_ignored(system, make, event):
    consumer = make()
    for changes, reason in (
        ({"facility": "Another"}, "of facility 'Another'"),
        ({"kind": "weather"}, "an event of kind 'weather'"),
    ):
        outcome = consumer.handle(event(1, **changes))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.IGNORED, reason)
    assert system.calls == 0


@EVERY
def test_its_options_are_checked(system, make):
    with pytest.raises(ConfigError, match=r"options\.unheard_of"):
        make({**system.options, "unheard_of": 1})


def test_a_configuration_names_a_handler_or_an_integration():
    with pytest.raises(ValueError, match="either handler or integration"):
        ConsumerSettings(topics=["t"])
    with pytest.raises(ValueError, match="either handler or integration"):
        ConsumerSettings(topics=["t"], handler="a", integration="b")
    with pytest.raises(UnknownHandler, match="no integration 'unheard_of'"):
        load_integration("unheard_of")
    with pytest.raises(UnknownHandler, match="no subclass"):
        load_integration("icat_stream.handlers:Users")
