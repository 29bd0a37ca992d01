"""Making a search index anew, while it is searched and written."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from icat_stream.catalogue import CatalogueSession, Scope
from icat_stream.journal import Exports
from icat_stream.messages import EventMessage
from icat_stream.records import Failure, Outcome, SystemUnavailable, TransientFailure

from .integration import Document
from .search_index import SearchIndex

_T = TypeVar("_T")
_AT_ONCE = 1_000
_WAITS_S = (0.5, 1.0, 2.0, 5.0, 10.0)

Progress = Callable[[str, int], None]
"""Told what is done, and how many documents of it."""


class IndexRebuild:
    """Fills a new index from the catalogue, and brings it into use.

    Whoever handles events goes on writing to the index in use.  As they begin a version
    of a document before they read the catalogue, what the new index may lack is what
    has another version than the one that is in it.  That is read and written again once
    the alias means the new index, for then nobody begins to write to the old one.

    Parameters
    ----------
    index
        Whose.
    session
        Reads the catalogue.
    exports
        Versions of the documents.
    progress
        Called now and then.
    """

    def __init__(
        self,
        index: SearchIndex,
        session: CatalogueSession,
        exports: Exports,
        progress: Progress,
    ) -> None:
        self._index = index
        self._session = session
        self._exports = exports
        self._progress = progress
        self.refused: list[str] = []
        """Why documents are not in the new index, one for each."""

    def run(self) -> str:
        """Make the index anew, and return its name.

        Raises
        ------
        Failure
            The index that was in use before still is, if it says nothing else.
        """
        name = self._index.new_index()
        self._bring("read", self._all(), name)
        before = self._index.switch(name)
        self._bring("changed meanwhile", self._late(name), name)
        for index in before:
            self._index.delete_index(index)
        self._index.refresh()
        return name

    def _all(self) -> Iterator[str]:
        inventory = self._session.inventory()
        for kind in sorted(self._index.follows):
            for each in inventory.objects(kind, Scope(), since=None, after=-1):
                yield f"{kind}-{each.id}"

    def _late(self, name: str) -> Iterator[str]:
        for exports in _batches(self._exports.each(self._index.name)):
            there = self._index.versions([each.key for each in exports], name)
            for each in exports:
                if there.get(each.key) != each.version:
                    yield each.key

    def _bring(self, what: str, keys: Iterable[str], name: str) -> None:
        done = 0
        for batch in _batches(keys):
            self._write(batch, name)
            done += len(batch)
            self._progress(what, done)

    def _write(self, keys: Sequence[str], name: str) -> None:
        events = [event for key in keys if (event := self._event(key)) is not None]
        for wait in (*_WAITS_S, None):
            failed: list[EventMessage] = []
            for event, failure in self._failures(events, name):
                if not isinstance(failure, TransientFailure | SystemUnavailable):
                    self.refused.append(failure.reason)
                elif wait is None:
                    raise failure
                else:
                    failed.append(event)
            if not failed or wait is None:
                return
            events = failed
            time.sleep(wait)

    def _failures(
        self, events: Sequence[EventMessage], name: str
    ) -> Iterator[tuple[EventMessage, Failure]]:
        """Write the documents of events, and yield what failed."""
        index = self._index
        by_key = {index.key(event): event for event in events}
        begun = self._exports.begin(index.name, list(by_key))
        versions = {each.key: each.version for each in begun}
        documents = [
            replace(each, version=versions[each.key])
            for each in index.wanted(list(by_key.values()), self._session)
            if isinstance(each, Document)
        ]
        answers: Sequence[Outcome | Failure]
        try:
            answers = index.write(documents, name)
        except (SystemUnavailable, TransientFailure) as down:
            answers = [down] * len(documents)
        failures = {
            document.key: answer
            for document, answer in zip(documents, answers, strict=True)
            if isinstance(answer, Failure)
        }
        newest = self._exports.held(index.name, list(failures))
        for key, failure in failures.items():
            # Or somebody has read it later, and writes it.
            if newest[key].version == versions[key]:
                yield by_key[key], failure

    def _event(self, key: str) -> EventMessage | None:
        """Return what would have a document written; ``None``: it has no object."""
        kind, _, number = key.rpartition("-")
        if not number.isdigit():
            return None
        is_dataset = kind == "dataset"
        return EventMessage(
            kind=kind,
            outcome="unchanged",
            facility=self._index.facility,
            dataset_id=int(number) if is_dataset else None,
            investigation_id=None if is_dataset else int(number),
        )


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    waiting = iter(items)
    while batch := list(islice(waiting, _AT_ONCE)):
        yield batch
