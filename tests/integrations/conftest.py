"""Integrations are tried on the same files and catalogue as handlers."""

from handlers.conftest import catalogue, data, reader, record

__all__ = ["catalogue", "data", "reader", "record"]
