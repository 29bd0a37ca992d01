"""ICAT's calls over REST and SOAP, each with the session id of whoever asks."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from . import soap
from .connection import Answer, Connection
from .connection_pool import ConnectionPool
from .faults import SYSTEM, IcatFault, ResultUnknown, unavailable
from .gateway import (
    gateway_refusal,
    has_given_up,
    is_gateway_refusal,
    is_not_there,
)
from .unanswered_writes import UnansweredWrites

_FORM = "application/x-www-form-urlencoded"


class IcatCalls:
    """What ICAT can be asked, without a session of its own.

    Each call raises the same: :class:`IcatFault` where ICAT refuses, so that nothing
    was done; :class:`ResultUnknown` where no usable answer came to what was sent;
    :class:`~icat_stream.records.SystemUnavailable` where ICAT is not there;
    :class:`~icat_stream.records.Rejection` and
    :class:`~icat_stream.records.LoginRefused` where a proxy in front of it refuses.

    Parameters
    ----------
    connection
        As many threads may call as may use it.
    unanswered
        Of all who write: what is in it is refused as a
        :class:`~icat_stream.records.TransientFailure`.
    """

    def __init__(
        self,
        connection: Connection | ConnectionPool,
        unanswered: UnansweredWrites | None = None,
    ) -> None:
        self._connection = connection
        self._unanswered = unanswered

    def login(self, plugin: str, username: str, password: str) -> str:
        """Return the id of a new session."""
        return self.enter(plugin, {"username": username, "password": password})

    def enter(self, plugin: str, credentials: Mapping[str, str]) -> str:
        """Return the id of a new session.

        Parameters
        ----------
        plugin
            Mnemonic of an authenticator.
        credentials
            What it asks for, as :meth:`properties` tells.
        """
        login = {
            "plugin": plugin,
            "credentials": [{name: value} for name, value in credentials.items()],
        }
        body = urlencode({"json": json.dumps(login)}).encode()
        answer = self._connection.request(
            "POST", "/icat/session", body, _FORM, repeatable=True
        )
        try:
            return str(_json(answer)["sessionId"])
        except (KeyError, TypeError) as error:
            raise ResultUnknown("no session id as the answer to a login") from error

    def logout(self, session_id: str) -> None:
        """End a session."""
        answer = self._connection.request("DELETE", f"/icat/session/{session_id}")
        if answer.status >= 300:
            _json(answer)

    def refresh(self, session_id: str) -> None:
        """Let a session last its whole time again."""
        answer = self._connection.request(
            "PUT", f"/icat/session/{session_id}", repeatable=True
        )
        if answer.status >= 300:
            _json(answer)

    def user_name(self, session_id: str) -> str:
        """Return whose session it is."""
        return "".join(self._soap("getUserName", session_id))

    def properties(self) -> dict[str, Any]:
        """Return what the server tells of itself to everybody."""
        answer = self._connection.request("GET", "/icat/properties", repeatable=True)
        return dict(_json(answer))

    def version(self) -> str:
        """Return the server's version, as everybody may ask."""
        answer = self._connection.request("GET", "/icat/version", repeatable=True)
        return str(_json(answer)["version"])

    def search(self, session_id: str, query: str) -> list[Any]:
        """Return what a query finds, with every value in it quoted."""
        parameters = urlencode({"sessionId": session_id, "query": query})
        answer = self._connection.request(
            "GET", f"/icat/entityManager?{parameters}", repeatable=True
        )
        found = _json(answer)
        if not isinstance(found, list):
            raise ResultUnknown("no list as the answer to a search")
        return found

    def must_exist(self, session_id: str, entity: str, id_: int) -> None:
        """Return if an object is there; ICAT's fault tells missing from forbidden."""
        arguments = f"<query>{entity}</query><primaryKey>{id_}</primaryKey>"
        self._soap("get", session_id, arguments)

    def may(self, session_id: str, access: str, entity: str, content: str) -> bool:
        """Whether the session's user has a right on an object that may not exist yet.

        Parameters
        ----------
        session_id
            Of the user.
        access
            ``CREATE``, ``READ``, ``UPDATE`` or ``DELETE``.
        entity, content
            As for :meth:`create`.
        """
        arguments = soap.bean(entity, content) + f"<accessType>{access}</accessType>"
        return self._soap("isAccessAllowed", session_id, arguments) == ["true"]

    def create(self, session_id: str, entity: str, content: str) -> int:
        """Create an entity with everything nested in it, in one transaction.

        Parameters
        ----------
        session_id
            Of who creates.
        entity
            Its name.
        content
            Its fields as XML.

        Returns
        -------
        int
            Its id.
        """
        arguments = soap.bean(entity, content)
        (number,) = _ids(self._write("create", session_id, arguments), "create", 1)
        return number

    def create_many(
        self, session_id: str, pairs: Sequence[tuple[str, str]]
    ) -> list[int]:
        """Create several entities, given with their content, in one transaction."""
        found = self._write("createMany", session_id, soap.beans(pairs))
        return _ids(found, "createMany", len(pairs))

    def update(self, session_id: str, entity: str, content: str) -> None:
        """Overwrite all attributes of an entity, whose id is in its content."""
        self._write("update", session_id, soap.bean(entity, content))

    def overwrite(
        self, session_id: str, changes: Iterable[tuple[str, Mapping[str, Any]]]
    ) -> None:
        """Change some attributes of entities in one transaction.

        Parameters
        ----------
        session_id
            Of who writes.
        changes
            Entity, and its id with the new values, as JSON has them.
        """
        entries = [{entity: values} for entity, values in changes]
        form = {"sessionId": session_id, "entities": json.dumps(entries)}
        _json(
            self._connection.request(
                "POST", "/icat/entityManager", urlencode(form).encode(), _FORM
            )
        )

    def delete_many(self, session_id: str, entity: str, ids: Iterable[int]) -> None:
        """Delete entities in one transaction: all or none."""
        beans = soap.beans((entity, f"<id>{number}</id>") for number in ids)
        self._write("deleteMany", session_id, beans)

    def close(self) -> None:
        """Close the connection; sessions stay."""
        self._connection.close()

    def _write(self, call: str, session_id: str, arguments: str) -> list[str]:
        if self._unanswered is None:
            return self._soap(call, session_id, arguments)
        self._unanswered.check(arguments, f"{call} in ICAT")
        try:
            return self._soap(call, session_id, arguments)
        except ResultUnknown as unknown:
            if unknown.pending:
                self._unanswered.add(arguments, unknown.reason)
            raise

    def _soap(self, call: str, session_id: str, arguments: str = "") -> list[str]:
        body = soap.envelope(call, session_id, arguments)
        answer = self._connection.request("POST", soap.PATH, body, soap.CONTENT_TYPE)
        return soap.returned(answer, call)


def _ids(found: list[str], call: str, count: int) -> list[int]:
    try:
        ids = [int(value) for value in found]
    except ValueError:
        ids = []
    if len(ids) != count:
        raise ResultUnknown(f"{call} was answered without the ids of {count} objects")
    return ids


def _json(answer: Answer) -> Any:
    try:
        body = json.loads(answer.body)
    except ValueError as error:
        if is_not_there(answer.status) or has_given_up(answer.status):
            raise unavailable(
                f"ICAT is not there: HTTP {answer.status} instead of an answer"
            ) from error
        if is_gateway_refusal(answer.status):
            raise _refusal(answer) from error
        raise ResultUnknown(
            f"HTTP {answer.status} {answer.content_type} instead of JSON"
        ) from error
    if answer.status < 300:
        return body
    if isinstance(body, dict) and "code" in body:
        raise IcatFault(str(body["code"]), str(body.get("message", "")))
    if is_gateway_refusal(answer.status):
        raise _refusal(answer)
    raise ResultUnknown(f"HTTP {answer.status} without a reason")


def _refusal(answer: Answer) -> Exception:
    return gateway_refusal(answer.status, "a question", name="ICAT", system=SYSTEM)
