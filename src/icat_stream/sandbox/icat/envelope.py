"""Reading a SOAP request, without ever holding the tree of all its beans."""

import io
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from icat_stream.sandbox.icat.bean import Bean
from icat_stream.sandbox.icat.binding import BeanReader
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.schema import Entity
from icat_stream.sandbox.icat.wsdl import NAMESPACE, OPERATIONS

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_DOCTYPE = "A document type declaration is not allowed"


class BadRequest(Exception):
    """The request is not one that any operation could answer."""


@dataclass
class Call:
    """What a request asks for.

    Parameters
    ----------
    operation
        Its name.
    element
        Its arguments, without the beans.
    beans
        The beans among them.
    problem
        What is wrong with a bean.
    """

    operation: str
    element: Any
    beans: list[Bean] = field(default_factory=list)
    problem: IcatError | None = None


@dataclass(slots=True)
class _Frame:
    """An element that is open: a bean, unless it has no entity."""

    entity: Entity | None
    # The to-many relation by which it hangs on the one around it.
    many: str | None = None
    manys: dict[str, list[Bean]] = field(default_factory=dict)


def read_call(reader: BeanReader, body: bytes) -> Call:
    """Read a request.

    Parameters
    ----------
    reader
        Makes beans of elements.
    body
        The request.

    Raises
    ------
    BadRequest
        If it is none.
    """
    if b"<!DOCTYPE" in body:
        raise BadRequest(_DOCTYPE)
    events = etree.iterparse(
        io.BytesIO(body),
        events=("start", "end"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
    )
    beans: list[Bean] = []
    problem = None
    frames: list[_Frame] = []
    try:
        for event, element in events:
            if event == "start":
                frames.append(_open(reader, frames, element))
                continue
            frame = frames.pop()
            try:
                _close(reader, frames, frame, element, beans)
            except IcatError as error:
                problem = problem or error
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadRequest(
            f"Couldn't create SOAP message due to exception: XML reader error: {error}"
        ) from error
    root = events.root
    if root.getroottree().docinfo.doctype:
        raise BadRequest(_DOCTYPE)
    return _call(root, beans, problem)


def _call(root: Any, beans: list[Bean], problem: IcatError | None) -> Call:
    element = root.find(f"{{{SOAP}}}Body/*")
    if root.tag != f"{{{SOAP}}}Envelope" or element is None:
        raise BadRequest(
            "Couldn't create SOAP message: no SOAP 1.1 envelope with a body"
        )
    name = etree.QName(element)
    if name.namespace != NAMESPACE or name.localname not in OPERATIONS:
        shown = f"{{{name.namespace or ''}}}{name.localname}"
        raise BadRequest(f"Cannot find dispatch method for {shown}")
    return Call(name.localname, element, beans, problem)


# Envelope, body and operation are around the arguments.
_ARGUMENTS = 3


def _open(reader: BeanReader, frames: list[_Frame], element: Any) -> _Frame:
    if len(frames) <= _ARGUMENTS:
        if len(frames) == _ARGUMENTS and element.tag in ("bean", "beans"):
            return _Frame(reader.kind(element))
        return _Frame(None)
    entity = frames[-1].entity
    known = entity.fields.get(element.tag) if entity is not None else None
    if known is None or known.relation == "ATTRIBUTE":
        return _Frame(None)
    many = known.name if known.relation == "MANY" else None
    return _Frame(reader.target(known), many)


def _close(
    reader: BeanReader,
    frames: list[_Frame],
    frame: _Frame,
    element: Any,
    beans: list[Bean],
) -> None:
    if len(frames) == _ARGUMENTS and element.tag in ("bean", "beans"):
        bean = reader.top(element)
        bean.manys = frame.manys
        beans.append(bean)
    elif frame.entity is not None and frame.many is not None:
        below = reader.below(element, frame.entity)
        if below is None:
            return
        below.manys = frame.manys
        frames[-1].manys.setdefault(frame.many, []).append(below)
    else:
        return
    # What is read is dropped, but not before the next one: the parser is still at it.
    element.clear()
    before = element.getprevious()
    if before is not None and before.tag == element.tag:
        element.getparent().remove(before)
