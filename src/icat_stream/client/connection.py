"""What is asked of ICAT, by way of one of python-icat's clients."""

from typing import Any
from xml.sax.saxutils import escape

from .clock import ServerClock
from .exact_text import raw
from .schema import Kind, Schema


class Query:
    """The text of a query; ``str()`` of it is what suds sends as it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return raw(escape(self.text))


class Connection:
    """A client that is logged in, with what is known of its server.

    Parameters
    ----------
    client
        An ``icat.Client``, logged in.
    """

    def __init__(self, client: Any) -> None:
        self.icat = client
        self.schema = Schema(client)
        self.clock = ServerClock(self.search)

    def search(self, query: str) -> list[Any]:
        """Run a query of one's own; return what python-icat makes of the answer.

        Parameters
        ----------
        query
            With every value quoted.
        """
        self.icat.autoRefresh()
        found: list[Any] = self.icat.search(Query(query))
        return found

    def read(self, kind: Kind, number: int) -> Any:
        """Return python-icat's object with all that an update has to send."""
        self.icat.autoRefresh()
        return self.icat.get(f"{kind.name} INCLUDE 1", number)
