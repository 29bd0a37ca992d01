"""SOAP envelopes, written as text, and what comes back in them."""

from collections.abc import Iterable
from typing import Any
from xml.parsers.expat import ExpatError

import xmltodict

from .connection import Answer
from .faults import SYSTEM, IcatFault, ResultUnknown, unavailable
from .gateway import (
    gateway_refusal,
    has_given_up,
    is_gateway_refusal,
    is_not_there,
)
from .xml_text import escape

PATH = "/ICATService/ICAT"
CONTENT_TYPE = "text/xml; charset=utf-8"
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:i="http://icatproject.org"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><s:Body>'
)
_TAIL = "</s:Body></s:Envelope>"


def envelope(operation: str, session_id: str, arguments: str) -> bytes:
    """Return the request for an operation.

    Parameters
    ----------
    operation
        Such as ``create``.
    session_id
        Of the caller.
    arguments
        Already XML.
    """
    return question(
        operation, f"<sessionId>{escape(session_id)}</sessionId>{arguments}"
    )


def question(operation: str, arguments: str) -> bytes:
    """Return the request for an operation that needs no session."""
    return f"{_HEAD}<i:{operation}>{arguments}</i:{operation}>{_TAIL}".encode()


def bean(entity: str, content: str, *, tag: str = "bean") -> str:
    """Return an entity as an argument.

    Parameters
    ----------
    entity
        Its name, such as ``DatasetParameter``.
    content
        Its fields, already XML.
    tag
        ``bean`` or, where there may be several, ``beans``.
    """
    kind = entity[0].lower() + entity[1:]
    return f'<{tag} xsi:type="i:{kind}">{content}</{tag}>'


def beans(pairs: Iterable[tuple[str, str]]) -> str:
    """Return several entities as an argument."""
    return "".join(bean(entity, content, tag="beans") for entity, content in pairs)


def returned(answer: Answer, operation: str) -> list[str]:
    """Return the plain values that an operation returned; else as :func:`values`."""
    return [_text(value) for value in values(answer, operation)]


def values(answer: Answer, operation: str) -> list[Any]:
    """Return what an operation returned: texts, and dictionaries of what has parts.

    Raises
    ------
    IcatFault
        ICAT refused.
    SystemUnavailable
        There is no ICAT behind that address at present.
    Rejection, LoginRefused
        A proxy in front of ICAT refuses it.
    ResultUnknown
        The answer is none of ICAT's.
    """
    text = f"HTTP {answer.status} instead of an answer to {operation}"
    if is_not_there(answer.status):
        raise unavailable(f"ICAT is not there: {text}")
    if has_given_up(answer.status):
        raise ResultUnknown(text, pending=True)
    body = _body(answer, operation)
    fault = body.get("Fault")
    if fault is not None:
        detail = (fault.get("detail") or {}).get("IcatException") or {}
        message = detail.get("message") or fault.get("faultstring") or "no text"
        raise IcatFault(_text(detail.get("type")), _text(message))
    response = body.get(f"{operation}Response")
    if f"{operation}Response" not in body:
        raise ResultUnknown(f"no answer to {operation} in what came back")
    found = (response or {}).get("return", [])
    return found if isinstance(found, list) else [found]


def _body(answer: Answer, operation: str) -> dict[str, Any]:
    try:
        parsed = xmltodict.parse(answer.body, disable_entities=True)
        tree = _local(parsed)["Envelope"]["Body"]
        return dict(tree)
    except (ExpatError, KeyError, TypeError, ValueError) as error:
        if is_gateway_refusal(answer.status):
            raise gateway_refusal(
                answer.status, operation, name="ICAT", system=SYSTEM
            ) from error
        raise ResultUnknown(
            f"HTTP {answer.status} {answer.content_type} that is no SOAP, as the"
            f" answer to {operation}"
        ) from error


def _local(value: Any) -> Any:
    """Drop prefixes: servers choose them as they like."""
    if isinstance(value, dict):
        return {key.rpartition(":")[2]: _local(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_local(item) for item in value]
    return value


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("#text", ""))
    return "" if value is None else str(value)
