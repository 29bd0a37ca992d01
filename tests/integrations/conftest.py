"""Integrations are tried on the files of handlers, and on an embedded ICAT."""

from catalogue.conftest import (
    catalogues,
    client,
    investigation,
    lane,
    lane_with,
    server,
    settings,
)
from handlers.conftest import catalogue, data, reader, record

__all__ = [
    "catalogue",
    "catalogues",
    "client",
    "data",
    "investigation",
    "lane",
    "lane_with",
    "reader",
    "record",
    "server",
    "settings",
]
