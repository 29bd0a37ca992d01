"""ICAT's protocol, spoken here only: sessions, SOAP, queries, schema and faults."""

from .connection import Answer, Connection
from .faults import FacilityMissing, IcatFault, ResultUnknown, fingerprint, passing
from .query import in_lists, quote, searchable, select, shorten
from .schema import Schema, discover
from .session import Session, entities, related
from .xml_text import FORBIDDEN, escape, time_text, value_text

__all__ = [
    "FORBIDDEN",
    "Answer",
    "Connection",
    "FacilityMissing",
    "IcatFault",
    "ResultUnknown",
    "Schema",
    "Session",
    "discover",
    "entities",
    "escape",
    "fingerprint",
    "in_lists",
    "passing",
    "quote",
    "related",
    "searchable",
    "select",
    "shorten",
    "time_text",
    "value_text",
]
