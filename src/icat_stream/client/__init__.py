"""A client for people's own scripts, on top of python-icat.

``connect()`` or ``Catalogue(client)`` gives the catalogue: ``objects(…)`` asks,
``create``, ``update`` and ``delete`` write, ``rollback()`` undoes.
"""

from .catalogue import Catalogue, connect
from .errors import NotFound, QueryError, SeveralFound
from .items import Item
from .objects import Objects
from .undo import Undo
from .undo_entries import Report

__all__ = [
    "Catalogue",
    "Item",
    "NotFound",
    "Objects",
    "QueryError",
    "Report",
    "SeveralFound",
    "Undo",
    "connect",
]
