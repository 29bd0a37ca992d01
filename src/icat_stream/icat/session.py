"""An ICAT session on a connection of its own: login, search, write."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from icat_stream.config import IcatSettings
from icat_stream.records import LoginRefused, SystemUnavailable, TransientFailure
from icat_stream.telemetry import client_span

from . import soap
from .connection import Answer, Connection
from .faults import (
    GATEWAY_STATUSES,
    SYSTEM,
    IcatFault,
    ResultUnknown,
    failure_of,
    unavailable,
)
from .query import select

_log = logging.getLogger(__name__)
_FORM = "application/x-www-form-urlencoded"
_T = TypeVar("_T")
_ANY_FACILITY = select("Facility", what="o.id", then="LIMIT 0, 1")


class Session:
    """Calls to ICAT; logs in when first needed, and again when its session is gone.

    Used by one thread at a time.

    Parameters
    ----------
    settings
        Where ICAT is, and who we are.
    page
        How many entities a search may ask for at once.
    """

    def __init__(self, settings: IcatSettings, page: int = 1) -> None:
        self._settings = settings
        self.page = page
        self._connection = Connection(settings.url, settings.timeout, settings.ca_file)
        self._id: str | None = None

    @property
    def id(self) -> str:
        """The session id: a secret, for ICAT and the data service only."""
        if self._id is None:
            self._id = self._login()
        return self._id

    def renew(self) -> None:
        """Forget the session: the next call logs in."""
        self._id = None

    def search(self, query: str, entity: str) -> list[Any]:
        """Return what a query finds.

        Parameters
        ----------
        query
            With every value quoted.
        entity
            What it is about, for the trace.

        Raises
        ------
        SystemUnavailable, TransientFailure, Rejection
            It could not be answered.
        """
        with client_span("icat.search", attributes={"icat.entity": entity}) as current:
            try:
                found = self._with_session(lambda: self._search(query))
            except IcatFault as fault:
                raise self.failure(fault, f"a search for {entity}") from fault
            except ResultUnknown as unknown:
                raise TransientFailure(f"ICAT: {unknown.reason}") from unknown
            current.set_attribute("icat.count", len(found))
            return found

    def limit(self) -> int:
        """Return how many entities the server returns at once, included ones counted.

        Raises
        ------
        SystemUnavailable
            It does not say.
        """
        try:
            with client_span("icat.properties"):
                found = _json(
                    self._connection.request("GET", "/icat/properties", repeatable=True)
                )
            return int(found["maxEntities"])
        except (IcatFault, ResultUnknown, KeyError, TypeError, ValueError) as error:
            raise unavailable(
                f"ICAT does not tell its maxEntities: {type(error).__name__} {error}"
            ) from error

    def create(self, entity: str, content: str, count: int = 1) -> int:
        """Create an entity with everything nested in it, in one transaction.

        Parameters
        ----------
        entity
            Its name.
        content
            Its fields as XML.
        count
            How many objects that makes, for the trace.

        Returns
        -------
        int
            Its id.

        Raises
        ------
        IcatFault
            ICAT refused, nothing was written.
        ResultUnknown
            It may have been written.
        SystemUnavailable
            ICAT is down.
        """
        argument = soap.bean(entity, content)
        return int(self._write("create", argument, entity, count)[0])

    def create_many(self, entity: str, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Create several entities in one transaction; else as :meth:`create`.

        Parameters
        ----------
        entity
            What most of them are, for the trace.
        pairs
            Entity and content of each.
        """
        found = self._write("createMany", soap.beans(pairs), entity, len(pairs))
        return [int(value) for value in found]

    def update(self, entity: str, content: str) -> None:
        """Overwrite all attributes of an entity; else as :meth:`create`."""
        self._write("update", soap.bean(entity, content), entity, 1)

    def delete_many(self, entity: str, ids: Sequence[int]) -> None:
        """Delete entities in one transaction; else as :meth:`create`."""
        beans = soap.beans((entity, f"<id>{number}</id>") for number in ids)
        self._write("deleteMany", beans, entity, len(ids))

    def ping(self) -> None:
        """See that ICAT and its database answer.

        Raises
        ------
        SystemUnavailable
            They do not.
        """
        try:
            self._with_session(lambda: self._search(_ANY_FACILITY))
        except IcatFault as fault:
            raise unavailable(f"ICAT cannot search: {fault}") from fault
        except ResultUnknown as unknown:
            raise unavailable(f"ICAT: {unknown.reason}") from unknown

    def failure(self, fault: IcatFault, doing: str) -> Exception:
        """Return the failure that a fault means, after a look at ICAT's health.

        ICAT calls it INTERNAL when its database is down, and also when it was asked
        nonsense; a question that always has an answer tells the two apart.
        """
        if fault.kind not in ("INTERNAL", ""):
            return failure_of(fault, doing)
        self.ping()
        return failure_of(fault, doing)

    def close(self) -> None:
        """Log out and close; never raises."""
        if self._id is not None:
            try:
                with client_span("icat.logout"):
                    self._connection.request("DELETE", f"/icat/session/{self._id}")
            except (ResultUnknown, SystemUnavailable) as error:
                # The session ends by itself; a logout is a courtesy.
                _log.debug("no logout: %s", error)
            self._id = None
        self._connection.close()

    def _write(self, call: str, arguments: str, entity: str, count: int) -> list[str]:
        with client_span(
            f"icat.{call}", attributes={"icat.entity": entity, "icat.count": count}
        ):
            return self._with_session(lambda: self._soap(call, arguments))

    def _with_session(self, call: Callable[[], list[_T]]) -> list[_T]:
        try:
            return call()
        except IcatFault as fault:
            if fault.kind != "SESSION":
                raise
            # It was refused, so nothing was done: a new session may do it.
            self.renew()
            return call()

    def _search(self, query: str) -> list[Any]:
        parameters = urlencode({"sessionId": self.id, "query": query})
        answer = self._connection.request(
            "GET", f"/icat/entityManager?{parameters}", repeatable=True
        )
        found = _json(answer)
        if not isinstance(found, list):
            raise ResultUnknown("no list as the answer to a search")
        return found

    def _soap(self, call: str, arguments: str) -> list[str]:
        body = soap.envelope(call, self.id, arguments)
        answer = self._connection.request("POST", soap.PATH, body, soap.CONTENT_TYPE)
        return soap.returned(answer, call)

    def _login(self) -> str:
        settings = self._settings
        try:
            password = settings.secret()
        except OSError as error:
            raise LoginRefused(
                f"icat.password_file: {settings.password_file}: {error.strerror}",
                system=SYSTEM,
            ) from error
        login = {
            "plugin": settings.auth,
            "credentials": [{"username": settings.username}, {"password": password}],
        }
        body = urlencode({"json": json.dumps(login)}).encode()
        with client_span("icat.login"):
            try:
                answer = self._connection.request(
                    "POST", "/icat/session", body, _FORM, repeatable=True
                )
                return str(_json(answer)["sessionId"])
            except IcatFault as fault:
                who = f"{settings.auth}/{settings.username}"
                if fault.kind in ("SESSION", "BAD_PARAMETER"):
                    raise LoginRefused(
                        f"ICAT refuses the login of {who}: {fault.message.strip()}",
                        system=SYSTEM,
                    ) from fault
                raise unavailable(f"the login of {who} failed: {fault}") from fault
            except (ResultUnknown, KeyError, TypeError) as error:
                raise unavailable(f"no answer to a login: {error}") from error


def entities(found: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the objects of a search for entities, without their wrapping."""
    return [next(iter(item.values())) for item in found]


def related(row: Mapping[str, Any], relation: str, entity: str) -> Mapping[str, Any]:
    """Return an object that another one refers to, and that the query includes.

    Parameters
    ----------
    row
        As ICAT returned it.
    relation
        To one object, which has to be there.
    entity
        Of that object.

    Raises
    ------
    TransientFailure
        ICAT left it out, as it does with what the account may not read.
    """
    found = row.get(relation)
    if found is None:
        raise TransientFailure(
            f"ICAT leaves out the {entity} that an object refers to as {relation}: give"
            f" the account of icat.username the right READ on {entity}"
        )
    return cast("Mapping[str, Any]", found)


def _json(answer: Answer) -> Any:
    try:
        body = json.loads(answer.body)
    except ValueError as error:
        if answer.status in GATEWAY_STATUSES:
            raise unavailable(
                f"ICAT is not there: HTTP {answer.status} instead of an answer"
            ) from error
        raise ResultUnknown(
            f"HTTP {answer.status} {answer.content_type} instead of JSON"
        ) from error
    if answer.status < 300:
        return body
    if isinstance(body, dict) and "code" in body:
        raise IcatFault(str(body["code"]), str(body.get("message", "")))
    raise ResultUnknown(f"HTTP {answer.status} without a reason")
