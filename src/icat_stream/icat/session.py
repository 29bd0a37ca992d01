"""An ICAT session on a connection of its own: login, search, write."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from icat_stream.config import IcatSettings
from icat_stream.records import (
    LoginRefused,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)
from icat_stream.telemetry import client_span

from .calls import IcatCalls
from .connection import Connection
from .faults import SYSTEM, IcatFault, ResultUnknown, failure_of, unavailable
from .query import quote, select
from .unanswered_writes import UnansweredWrites

_log = logging.getLogger(__name__)
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
    unanswered
        Of all sessions of the process.
    """

    def __init__(
        self,
        settings: IcatSettings,
        page: int = 1,
        unanswered: UnansweredWrites | None = None,
    ) -> None:
        self._settings = settings
        self.page = page
        self._calls = IcatCalls(
            Connection(settings.url, settings.timeout, settings.ca_file), unanswered
        )
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
                found = self._with_session(lambda: self._calls.search(self.id, query))
            except IcatFault as fault:
                raise self.failure(fault, f"a search for {entity}") from fault
            except ResultUnknown as unknown:
                raise TransientFailure(f"ICAT: {unknown.reason}") from unknown
            current.set_attribute("icat.count", len(found))
            return found

    def user_name(self) -> str:
        """Return ICAT's name of who we are.

        Raises
        ------
        SystemUnavailable, TransientFailure
            It does not say.
        """
        try:
            return self._with_session(lambda: self._calls.user_name(self.id))
        except IcatFault as fault:
            raise self.failure(fault, "our own name") from fault
        except ResultUnknown as unknown:
            raise TransientFailure(f"ICAT: {unknown.reason}") from unknown

    def is_member(self, user: str, grouping: str) -> bool:
        """Whether a user is in a grouping; else as :meth:`search`.

        Asked with our own account, as a person may not be allowed to read groups.
        """
        query = select(
            "UserGroup",
            f"o.grouping.name = {quote(grouping)}",
            f"o.user.name = {quote(user)}",
            what="o.id",
        )
        return bool(self.search(query, "UserGroup"))

    def limit(self) -> int:
        """Return how many entities the server returns at once, included ones counted.

        Raises
        ------
        SystemUnavailable
            It does not say.
        """
        try:
            with client_span("icat.properties"):
                return int(self._calls.properties()["maxEntities"])
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
        TransientFailure
            The same write got no answer a while ago, and may still be carried out.
        SystemUnavailable
            ICAT is down.
        """
        return self._write(
            "create",
            entity,
            count,
            lambda: self._calls.create(self.id, entity, content),
        )

    def create_many(self, entity: str, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Create several entities in one transaction; else as :meth:`create`.

        Parameters
        ----------
        entity
            What most of them are, for the trace.
        pairs
            Entity and content of each.
        """
        return self._write(
            "createMany",
            entity,
            len(pairs),
            lambda: self._calls.create_many(self.id, pairs),
        )

    def update(self, entity: str, content: str) -> None:
        """Overwrite all attributes of an entity; else as :meth:`create`."""
        self._write(
            "update", entity, 1, lambda: self._calls.update(self.id, entity, content)
        )

    def overwrite(
        self, entity: str, changes: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> None:
        """Change some attributes of entities at once; else as :meth:`create`.

        Parameters
        ----------
        entity
            What most of them are, for the trace.
        changes
            Entity, and its id with the new values, as JSON has them.
        """
        self._write(
            "overwrite",
            entity,
            len(changes),
            lambda: self._calls.overwrite(self.id, changes),
        )

    def delete_many(self, entity: str, ids: Sequence[int]) -> None:
        """Delete entities in one transaction; else as :meth:`create`."""
        self._write(
            "deleteMany",
            entity,
            len(ids),
            lambda: self._calls.delete_many(self.id, entity, ids),
        )

    def may(self, access: str, entity: str) -> bool:
        """Whether a rule without conditions gives us a right on all of an entity.

        Parameters
        ----------
        access
            ``READ``, ``UPDATE`` or ``DELETE``.
        entity
            Its name.

        Raises
        ------
        SystemUnavailable, TransientFailure
            It could not be answered.
        """
        try:
            return self._with_session(
                # Of an object that is not there, only such a rule says yes.
                lambda: self._calls.may(self.id, access, entity, "<id>-1</id>")
            )
        except IcatFault as fault:
            raise self.failure(fault, f"whether we may {access} {entity}") from fault
        except ResultUnknown as unknown:
            raise TransientFailure(f"ICAT: {unknown.reason}") from unknown

    def ping(self) -> None:
        """See that ICAT and its database answer.

        Raises
        ------
        SystemUnavailable
            They do not.
        """
        try:
            self._with_session(lambda: self._calls.search(self.id, _ANY_FACILITY))
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
                    self._calls.logout(self._id)
            except (IcatFault, ResultUnknown, SystemUnavailable) as error:
                # The session ends by itself; a logout is a courtesy.
                _log.debug("no logout: %s", error)
            self._id = None
        self._calls.close()

    def _write(self, name: str, entity: str, count: int, call: Callable[[], _T]) -> _T:
        with client_span(
            f"icat.{name}", attributes={"icat.entity": entity, "icat.count": count}
        ):
            return self._with_session(call)

    def _with_session(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except IcatFault as fault:
            if fault.kind != "SESSION":
                raise
            # It was refused, so nothing was done: a new session may do it.
            self.renew()
            return call()

    def _login(self) -> str:
        settings = self._settings
        try:
            password = settings.secret()
        except OSError as error:
            raise LoginRefused(
                f"icat.password_file: {settings.password_file}: {error.strerror}",
                system=SYSTEM,
            ) from error
        with client_span("icat.login"):
            try:
                return self._calls.login(settings.auth, settings.username, password)
            except IcatFault as fault:
                who = f"{settings.auth}/{settings.username}"
                if fault.kind in ("SESSION", "BAD_PARAMETER"):
                    raise LoginRefused(
                        f"ICAT refuses the login of {who}: {fault.message.strip()}",
                        system=SYSTEM,
                    ) from fault
                raise unavailable(f"the login of {who} failed: {fault}") from fault
            except (Rejection, ResultUnknown) as error:
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
