"""ICAT's protocol, spoken here only: sessions, SOAP, queries, schema and faults."""

from .calls import IcatCalls
from .connection import Answer, Connection
from .connection_pool import ConnectionPool
from .faults import FacilityMissing, IcatFault, ResultUnknown, fingerprint, passing
from .gateway import (
    gateway_refusal,
    has_given_up,
    is_gateway_refusal,
    is_not_there,
)
from .query import id_lists, in_lists, literal, quote, searchable, select, shorten
from .schema import Schema, discover
from .session import Session, entities, related
from .unanswered_writes import UnansweredWrites
from .xml_text import FORBIDDEN, escape, time_text, value_text

__all__ = [
    "FORBIDDEN",
    "Answer",
    "Connection",
    "ConnectionPool",
    "FacilityMissing",
    "IcatCalls",
    "IcatFault",
    "ResultUnknown",
    "Schema",
    "Session",
    "UnansweredWrites",
    "discover",
    "entities",
    "escape",
    "fingerprint",
    "gateway_refusal",
    "has_given_up",
    "id_lists",
    "in_lists",
    "is_gateway_refusal",
    "is_not_there",
    "literal",
    "passing",
    "quote",
    "related",
    "searchable",
    "select",
    "shorten",
    "time_text",
    "value_text",
]
