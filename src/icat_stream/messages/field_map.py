"""From a document's tree to a message, by a table that a facility can write."""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .conversions import printable, shown
from .documents import Document, DocumentLimits, read_document
from .field_map_reader import (
    ABSENT,
    MOST_PROBLEMS,
    Known,
    Path,
    Reading,
    Table,
    TooManyProblems,
    at,
    plain_name,
    unread,
)
from .flatbuffer_reader import Undecodable
from .secrets import Secrets

_MOST_PROBLEMS = 5
# Longer than the name of anything in a catalogue.
_LONGEST_KEY = 300
Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMap:
    """One kind of message, and how it is written.

    Parameters
    ----------
    name
        Of the map.
    table
        Of the message.
    known
        The names that are read or deliberately passed over.
    roots
        Names of the root element, or of the only member of an object around it.
    when
        Paths that are all there in such a message, and in no other.
    only
        Names of all the members that such a message has, where there is no `when`.
    namespaces
        Of XML elements; ``None`` for any.
    secrets
        Members that are dropped wherever they stand.
    event_header, event_field
        Where the name of the event stands: header of the record, path in the
        document.
    body
        Path of the message in an envelope.
    events
        Which events are of this kind, and where in the body the message is.
    sha256
        Of the table as it is written.
    """

    name: str
    table: Table
    known: Known
    roots: frozenset[str] = frozenset()
    when: tuple[Path, ...] = ()
    only: frozenset[str] = frozenset()
    namespaces: tuple[str, ...] | None = None
    secrets: frozenset[str] = frozenset()
    event_header: str | None = None
    event_field: Path | None = None
    body: Path = ()
    events: Mapping[str, Path] = field(default_factory=dict)
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What a record says.

    Parameters
    ----------
    message
        The dataclass of its kind; ``None`` if its event is of no interest.
    map
        Name of the map it was read by, or of the event that is of no interest.
    format
        ``json`` or ``xml``.
    event
        Name of the event, if such messages have one.
    extras
        Fields that were found and are not read, as paths.
    empty
        Fields of the message that are there as null, an empty text or an empty list:
        another statement than none at all.
    """

    message: Any
    map: str
    format: str
    event: str | None = None
    extras: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


class FieldMaps:
    """Reads records whose kinds are told apart by their fields.

    Parameters
    ----------
    maps
        The first is taken to be meant where a document fits none, so that its error
        names the fields that are missing.
    limits
        Of documents.
    """

    def __init__(
        self, maps: Sequence[FieldMap], limits: DocumentLimits | None = None
    ) -> None:
        if not maps:
            raise ValueError("expected at least one field map")
        self._maps = tuple(maps)
        self._limits = limits or DocumentLimits()
        self._secrets = Secrets(frozenset[str]().union(*(m.secrets for m in maps)))
        spaces = [m.namespaces for m in maps]
        self._namespaces = (
            None if None in spaces else [n for one in spaces for n in one or ()]
        )

    def read(self, value: bytes | None, headers: Headers = ()) -> Mapped:
        """Return the message in a record's value.

        Parameters
        ----------
        value
            JSON or XML.
        headers
            Of the record: one may hold the name of the event.

        Raises
        ------
        Undecodable
            With the first problems, by the fields as the document names them.
        """
        document = read_document(value, self._limits, namespaces=self._namespaces)
        tree, _ = self._without_secrets(document)
        for one in self._maps:
            body = self._body(one, document, tree, headers)
            if body is not ABSENT:
                return self._mapped(one, document, body, _event(one, tree, headers))
        events = [_event(one, tree, headers) for one in self._maps]
        if named := next((event for event in events if event), None):
            return Mapped(message=None, map=named, format=document.format, event=named)
        if any(one.events for one in self._maps):
            places = {
                f"header {one.event_header}" for one in self._maps if one.event_header
            } | {f"field {'/'.join(one.event_field or ())}" for one in self._maps}
            raise Undecodable(f"no event is named in {' or '.join(sorted(places))}")
        roots = sorted(root for one in self._maps for root in one.roots)
        if document.root is not None and roots:
            raise Undecodable(
                f"XML: the root element is {printable(document.root)}, expected"
                f" {' or '.join(roots)}"
            )
        return self._mapped(self._maps[0], document, tree, None)

    def peek(
        self, value: bytes | None, names: Sequence[str], headers: Headers = ()
    ) -> str | None:
        """Return the first of some fields that is there, as text, and never raise.

        Parameters
        ----------
        value, headers
            As for :meth:`read`.
        names
            Of fields of the messages, plain ones.
        """
        try:
            document = read_document(value, self._limits, namespaces=self._namespaces)
        except Undecodable:
            return None
        for one in self._maps:
            body = self._body(one, document, document.tree, headers)
            if body is ABSENT and one is self._maps[0]:
                body = document.tree
            rules = {rule.name: rule for rule in one.table.rules}
            for name in names:
                for source in rules[name].sources if name in rules else ():
                    for path in source.paths:
                        found = at(body, path)
                        if isinstance(found, str | int) and found != "":
                            return str(found).strip()[:_LONGEST_KEY]
        return None

    def digest(self, value: bytes | None, headers: Headers = ()) -> bytes:
        """Return a hash of all that :meth:`read` looks at, the maps included."""
        found = hashlib.sha256("".join(one.sha256 for one in self._maps).encode())
        for name in dict.fromkeys(one.event_header for one in self._maps):
            if name is not None:
                values = [given for header, given in headers if header == name]
                found.update(repr((name, values)).encode())
        found.update(value or b"")
        return found.digest()

    def redact(self, value: bytes | None) -> bytes | None:
        """Return a record's value without secrets.

        Returns
        -------
        :
            The same bytes if there is none; ``None`` if that cannot be told, or if
            they cannot be taken out.
        """
        if value is None or not self._secrets:
            return value
        try:
            document = read_document(value, self._limits, namespaces=self._namespaces)
        except Undecodable:
            return None
        tree, found = self._without_secrets(document)
        if not found:
            return value
        if document.format != "json":
            return None
        return json.dumps(tree, ensure_ascii=False).encode()

    def _without_secrets(self, document: Document) -> tuple[Any, bool]:
        if not self._secrets:
            return document.tree, False
        if document.root in self._secrets:
            return None, True
        return self._secrets.without(document.tree)

    def _body(
        self, one: FieldMap, document: Document, tree: Any, headers: Headers
    ) -> Any:
        """Return what a map is to be applied to, if the document is of its kind."""
        if one.events:
            event = _event(one, tree, headers)
            if event is None or event not in one.events:
                return ABSENT
            # Without an envelope the document is the message.
            inner = at(tree, one.body)
            return at(tree if inner is ABSENT else inner, one.events[event])
        if one.roots and document.root is not None:
            return tree if plain_name(document.root) in one.roots else ABSENT
        if isinstance(tree, dict) and len(tree) == 1:
            ((name, inner),) = tree.items()
            if plain_name(name) in one.roots:
                return inner
        if one.when and all(at(tree, path) is not ABSENT for path in one.when):
            return tree
        if one.only and isinstance(tree, dict):
            return tree if set(map(plain_name, tree)) == one.only else ABSENT
        return ABSENT

    def _mapped(
        self, one: FieldMap, document: Document, body: Any, event: str | None
    ) -> Mapped:
        reading = Reading()
        if not isinstance(body, dict):
            raise Undecodable(f"expected an object with fields, found {shown(body)}")
        message = None
        with contextlib.suppress(TooManyProblems):
            message = reading.object(one.table, body, "")
        if reading.problems:
            more = len(reading.problems) - _MOST_PROBLEMS
            listed = "; ".join(reading.problems[:_MOST_PROBLEMS])
            if more > 0:
                all_read = len(reading.problems) < MOST_PROBLEMS
                listed += f"; and {more if all_read else 'many'} more"
            raise Undecodable(listed)
        return Mapped(
            message=message,
            map=one.name,
            format=document.format,
            event=event,
            extras=tuple(unread(body, one.known)),
            empty=tuple(reading.empty),
        )


def _event(one: FieldMap, tree: Any, headers: Headers) -> str | None:
    if one.event_header is not None:
        for name, value in reversed(headers):
            if name == one.event_header and value:
                return printable(value.decode("utf-8", "replace"))
    if one.event_field is not None:
        found = at(tree, one.event_field)
        if isinstance(found, str):
            return printable(found)
    return None
