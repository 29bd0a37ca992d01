"""ICAT's calls as the data service makes them: counted, and failing as its own do."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from icat_stream.icat import ConnectionPool, IcatCalls, IcatFault, ResultUnknown
from icat_stream.records import Rejection, SystemUnavailable
from icat_stream.telemetry import client_span

from .errors import Unanswered, from_icat
from .metrics import Metrics
from .settings import IcatAccess


class CatalogueCalls:
    """Calls one ICAT; may be used by any number of threads.

    What is said of each call in :class:`~icat_stream.icat.IcatCalls` holds here, but
    for what is raised: the :class:`IdsError` that the caller is told.
    """

    def __init__(self, access: IcatAccess, metrics: Metrics) -> None:
        self._url = access.url.rstrip("/")
        self._calls = IcatCalls(ConnectionPool(access.url, access.timeout))
        self._metrics = metrics

    def login(self, auth: str, username: str, password: str) -> str:
        """Return the id of a new session."""
        with self._call("login"):
            return self._calls.login(auth, username, password)

    def logout(self, session: str) -> None:
        """End a session."""
        with self._call("logout"):
            self._calls.logout(session)

    def user_name(self, session: str) -> str:
        """Return whose session it is."""
        with self._call("getUserName"):
            return self._calls.user_name(session)

    def version(self) -> str:
        """Return the server's version."""
        with self._call("version"):
            return self._calls.version()

    def search(self, session: str, query: str) -> list[Any]:
        """Return what a query finds."""
        with self._call("search"):
            return self._calls.search(session, query)

    def must_exist(self, session: str, entity: str, id_: int) -> None:
        """Return if an object is there and may be read."""
        with self._call("get"):
            self._calls.must_exist(session, entity, id_)

    def may(self, session: str, access: str, entity: str, content: str) -> bool:
        """Whether the session's user has a right on an object."""
        with self._call("isAccessAllowed"):
            return self._calls.may(session, access, entity, content)

    def create(self, session: str, entity: str, content: str) -> int:
        """Create an entity and return its id."""
        with self._call("create"):
            return self._calls.create(session, entity, content)

    def update(self, session: str, entity: str, content: str) -> None:
        """Overwrite all attributes of an entity."""
        with self._call("update"):
            self._calls.update(session, entity, content)

    def delete_many(self, session: str, entity: str, ids: Iterable[int]) -> None:
        """Delete entities, all or none."""
        with self._call("deleteMany"):
            self._calls.delete_many(session, entity, ids)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._calls.close()

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        with self._metrics.icat_call(name), client_span(f"icat.{name}"):
            try:
                yield
            except IcatFault as fault:
                if not fault.kind:
                    # Not ICAT's own refusal: nobody knows how far it had come.
                    raise self._unanswered(fault.message) from None
                raise from_icat(fault.kind, fault.message) from None
            except (Rejection, ResultUnknown, SystemUnavailable) as error:
                raise self._unanswered(error.reason) from None

    def _unanswered(self, reason: str) -> Unanswered:
        return Unanswered(f"ICAT at {self._url} does not answer: {reason}")
