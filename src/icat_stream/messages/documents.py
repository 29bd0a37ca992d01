"""Reading JSON and XML that others wrote, into a plain tree.

Objects become dicts, repeated elements lists; attributes of XML elements have names
that begin with ``@``, text beside attributes or elements is ``#text``.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

import xmltodict

from icat_stream.records import number_of

from .flatbuffer_reader import Undecodable

_BOMS = (b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe")
# Possessive, and to the end where a text has none: one look at each byte.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_A_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONGEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLimits:
    """What a document may cost.

    Parameters
    ----------
    size
        In bytes.
    depth
        Of nesting.
    elements
        Members of objects and lists; XML elements and attributes.
    """

    size: int = 16 * 2**20
    depth: int = 32
    # 30,000 datafiles with ten fields each, and as much again.
    elements: int = 700_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What stands in a record.

    Parameters
    ----------
    format
        ``json`` or ``xml``.
    tree
        For XML the content of the root element.
    root
        Name of the root element.
    """

    format: str
    tree: Any
    root: str | None = None


def read_document(
    value: bytes | None,
    limits: DocumentLimits | None = None,
    *,
    namespaces: Collection[str] | None = None,
) -> Document:
    """Read a JSON or XML document, whichever it is.

    Parameters
    ----------
    value
        The whole of it.
    limits
        Beyond them nothing is read.
    namespaces
        The only XML namespaces whose elements are known by their plain names;
        ``None`` for any.

    Raises
    ------
    Undecodable
        It is neither, is damaged, is ambiguous, or is too much.
    """
    limits = limits or DocumentLimits()
    if not value:
        raise Undecodable("the record has no value, expected JSON or XML")
    if len(value) > limits.size:
        raise Undecodable(
            f"the value has {len(value)} bytes, expected at most {limits.size}"
        )
    start = value
    for bom in _BOMS:
        start = start.removeprefix(bom)
    first = start[:64].lstrip(b" \t\r\n\0")[:1]
    if first == b"<":
        return _xml(value, limits, namespaces)
    if first in (b"{", b"["):
        return Document(format="json", tree=_json(value, limits))
    raise Undecodable(f"the value begins with {first!r}, expected JSON ({{) or XML (<)")


def _json(value: bytes, limits: DocumentLimits) -> Any:
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Undecodable(
            f"JSON: byte {error.start} is not UTF-8: {error.reason}"
        ) from None
    _measure(value, limits)
    try:
        tree = json.loads(
            text,
            object_pairs_hook=_members,
            parse_constant=_constant,
            parse_float=_number,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        raise Undecodable(
            f"JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise Undecodable(
            f"JSON: is nested more than {limits.depth} levels deep"
        ) from None
    if _SURROGATE.search(value):
        try:
            json.dumps(tree, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise Undecodable("JSON: half of a surrogate pair in a text") from None
    return tree


def _measure(value: bytes, limits: DocumentLimits) -> None:
    """Look at the punctuation, before any object is made of it."""
    opened = value.count(b"[") + value.count(b"{")
    if opened > limits.depth or value.count(b",") + opened > limits.elements:
        bare = _STRING.sub(b"", value)
        opened = bare.count(b"[") + bare.count(b"{")
        if bare.count(b",") + opened > limits.elements:
            raise Undecodable(f"JSON: has more than {limits.elements} elements")
        depth = 0
        for bracket in bare.translate(None, _NOT_A_BRACKET):
            depth += 1 if bracket in b"[{" else -1
            if depth > limits.depth:
                raise Undecodable(
                    f"JSON: is nested more than {limits.depth} levels deep"
                )


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise Undecodable(
                    f"JSON: {name[:_LONGEST]!r} is given twice in one object"
                )
            seen.add(name)
    return members


def _constant(text: str) -> Any:
    raise Undecodable(f"JSON: {text} is no number of JSON's")


def _number(text: str) -> float:
    number = number_of(text)
    if number is None:
        raise Undecodable(
            f"JSON: {text[:_LONGEST]} is too large for a number, or too near to zero"
        )
    return number


def _integer(text: str) -> int:
    # Python refuses to read more than some thousand digits, and ICAT 20.
    if len(text) > _LONGEST:
        raise Undecodable(f"JSON: a number of {len(text)} digits")
    return int(text)


class _Guard:
    """Sees to it that XML is plain and small before a tree is made of it."""

    def __init__(self, limits: DocumentLimits) -> None:
        self._limits = limits
        self._depth = 0
        self._elements = 0

    def check(self, value: bytes) -> None:
        parser = expat.ParserCreate()
        # Without a DTD there are no entities, neither inner nor outer ones.
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            parser.Parse(value, True)
        except expat.ExpatError as error:
            raise Undecodable(
                f"XML: line {error.lineno}, column {error.offset + 1}:"
                f" {expat.ErrorString(error.code)}"
            ) from None
        except (LookupError, ValueError) as error:
            # Of encodings that Python does not know, or that have several bytes.
            raise Undecodable(f"XML: {error}") from None

    def _doctype(self, *_: object) -> None:
        raise Undecodable(
            "XML: has a document type declaration (DTD), which is refused, and with"
            " it all entities"
        )

    def _start(self, _: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1 + len(attributes)
        if self._depth > self._limits.depth:
            raise Undecodable(
                f"XML: is nested more than {self._limits.depth} levels deep"
            )
        if self._elements > self._limits.elements:
            raise Undecodable(
                f"XML: has more than {self._limits.elements} elements and attributes"
            )

    def _end(self, _: str) -> None:
        self._depth -= 1


class _AnyNamespace(dict[str, str | None]):
    """Knows every namespace, and that its name does not matter."""

    def __missing__(self, _: str) -> None:
        return None


def _xml(
    value: bytes, limits: DocumentLimits, namespaces: Collection[str] | None
) -> Document:
    _Guard(limits).check(value)
    try:
        tree = xmltodict.parse(
            value,
            process_namespaces=True,
            namespaces=_AnyNamespace()
            if namespaces is None
            else dict.fromkeys(namespaces),
        )
    except (expat.ExpatError, ValueError) as error:
        # Prefixes that no namespace is declared for.
        raise Undecodable(f"XML: {error}") from None
    ((root, content),) = tree.items()
    return Document(format="xml", tree=content, root=root)
