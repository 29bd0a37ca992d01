"""A client for people's own scripts, on top of python-icat.

``connect()`` or ``Catalogue(client)`` gives the catalogue: ``objects(…)`` asks,
``create``, ``update`` and ``delete`` write, ``rollback()`` undoes.
"""

from .catalogue import Catalogue, connect
from .entries import Report
from .errors import NotFound, QueryError, SeveralFound
from .items import Item
from .objects import Objects
from .undo import Undo

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
