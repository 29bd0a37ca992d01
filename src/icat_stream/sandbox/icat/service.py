"""What the server can do, without the way in which it is asked."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from icat_stream.sandbox.icat.bean import Bean
from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.cloner import Cloner
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.exporter import Exporter
from icat_stream.sandbox.icat.importer import Duplicate, Importer
from icat_stream.sandbox.icat.rest_write import RestWriter
from icat_stream.sandbox.icat.schema import load_schema
from icat_stream.sandbox.icat.search import Loaded, Searcher
from icat_stream.sandbox.icat.sessions import ANONYMOUS, OIDC, Accounts, Sessions
from icat_stream.sandbox.icat.writer import Writer

from .access_rules import Access, Gate

if TYPE_CHECKING:
    from icat_stream.sandbox.icat.oidc import OidcSettings

DEFAULT_ROOTS = ("simple/root", "simple/ingest", "simple/reader", "simple/idsreader")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server behaves.

    Parameters
    ----------
    accounts
        Passwords by user by authenticator; ``anon`` needs no users.
    roots
        Users who may do everything.
    database
        File of the database; None keeps everything in memory.
    timezone
        The server's time zone, in which the database keeps times.
    lifetime
        Minutes that a session lasts.
    max_entities
        Most entities in one answer.
    traps
        Reproduce the real server's traps: values lost by the binding, parameters
        checked against their type as sent, mistakes below the top as INTERNAL.
    match_case
        Tell capital letters from small ones in spite of the traps: a database that was
        set up to do so does, one with MariaDB's defaults does not.
    file_totals
        Have the database keep fileCount and fileSize, as with the triggers that a real
        ICAT's installation makes. A database keeps to what it was made with.
    max_body
        Longest request that is read, in bytes.
    oidc
        Of the authenticator ``oidc``; ``None``: there is none.
    """

    accounts: Accounts = field(default_factory=dict)
    roots: Collection[str] = DEFAULT_ROOTS
    database: str | None = None
    timezone: str = "UTC"
    lifetime: float = 120
    max_entities: int = 10_000
    traps: bool = True
    match_case: bool = False
    file_totals: bool = True
    max_body: int = 100_000_000
    oidc: "OidcSettings | None" = None


class Service:
    """An ICAT server.

    Parameters
    ----------
    settings
        How it behaves.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.schema = load_schema()
        self.clock = Clock(settings.timezone)
        self.database = Database(
            self.schema,
            settings.database,
            ignore_case=settings.traps and not settings.match_case,
            file_totals=settings.file_totals,
        )
        self.sessions = Sessions(
            self.database, settings.accounts, settings.lifetime, settings.oidc
        )
        self.gate = Gate(self.database, self.clock, settings.roots)
        self._searcher = Searcher(
            self.database, self.clock, self.gate, settings.max_entities
        )
        self._exporter = Exporter(self.database, self.clock, self.gate, self._searcher)
        self._importer = Importer(self.database, self.clock, self.gate)
        self._cloner = Cloner(self.database, self.clock, self.gate)
        self._rest_writer = RestWriter(
            self.database, self.clock, self.gate, traps=settings.traps
        )
        self._writer = Writer(
            self.database, self.clock, self.gate, traps=settings.traps
        )

    @property
    def version(self) -> str:
        """The version of ICAT that it is like."""
        return self.schema.version

    def search(self, session: str | None, query: str) -> list[Any]:
        """Answer a query.

        Parameters
        ----------
        session
            Whose it is.
        query
            Its text.
        """
        return self._searcher.search(self.sessions.user(session), query)

    def get(self, session: str | None, query: str, key: int) -> Loaded:
        """Return one entity.

        Parameters
        ----------
        session
            Who asks.
        query
            Name of the entity, and what to include.
        key
            Its id.
        """
        return self._searcher.get(self.sessions.user(session), query, key)

    def create(
        self, session: str | None, beans: list[Bean], *, many: bool = False
    ) -> list[int]:
        """Create entities with all that is nested in them, and return their ids.

        Parameters
        ----------
        session
            Who creates.
        beans
            What.
        many
            Whether errors tell the position of the bean.
        """
        return self._writer.create(self.sessions.user(session), beans, many=many)

    def update(self, session: str | None, bean: Bean) -> None:
        """Replace an entity's attributes and to-one relations.

        Parameters
        ----------
        session
            Who updates.
        bean
            What.
        """
        self._writer.update(self.sessions.user(session), bean)

    def delete(self, session: str | None, beans: list[Bean]) -> None:
        """Delete entities and what hangs on them.

        Parameters
        ----------
        session
            Who deletes.
        beans
            What.
        """
        self._writer.delete(self.sessions.user(session), beans)

    def write_json(self, session: str | None, entities: str) -> list[int]:
        """Create and update as REST does, and return the ids of what was created.

        Parameters
        ----------
        session
            Who writes.
        entities
            The JSON.
        """
        return self._rest_writer.write(self.sessions.user(session), entities)

    def delete_json(self, session: str | None, entities: str) -> None:
        """Delete as REST does.

        Parameters
        ----------
        session
            Who deletes.
        entities
            The JSON.
        """
        self._rest_writer.delete(self.sessions.user(session), entities)

    def export(
        self, session: str | None, query: str | None, *, stamps: bool
    ) -> Iterator[str]:
        """Return an export file in pieces.

        Parameters
        ----------
        session
            Who exports.
        query
            What; by default everything.
        stamps
            With who created and modified it, and when.
        """
        user = self.sessions.user(session)
        return self._exporter.export(user, query, stamps=stamps)

    def load(
        self,
        session: str | None,
        lines: Iterable[str],
        duplicate: Duplicate,
        *,
        stamps: bool,
    ) -> None:
        """Import a file.

        Parameters
        ----------
        session
            Who imports.
        lines
            The file.
        duplicate
            What to do about rows that are there already.
        stamps
            Take who created and modified it, and when, from the file.
        """
        user = self.sessions.user(session)
        self._importer.load(user, lines, duplicate, stamps=stamps)

    def clone(
        self, session: str | None, name: str, number: int, keys: dict[str, Any]
    ) -> int:
        """Copy an entity with all below it, and return the id of the copy.

        Parameters
        ----------
        session
            Who copies.
        name
            The entity.
        number
            The id of the original.
        keys
            What of its unique key is to be another.
        """
        return self._cloner.clone(self.sessions.user(session), name, number, keys)

    def query_all(self, session: str | None, query: str) -> list[Any]:
        """Answer a query of a root user, without rules.

        Parameters
        ----------
        session
            Who asks.
        query
            The query.
        """
        user = self.sessions.user(session)
        self.gate.require_root(user)
        return self._searcher.search(user, query)

    def allowed(self, session: str | None, bean: Bean, access: Access) -> bool:
        """Tell whether a user has access.

        Parameters
        ----------
        session
            Who asks.
        bean
            For what.
        access
            In what way.
        """
        user = self.sessions.user(session)
        if access == "CREATE":
            return self._writer.may_create(user, bean)
        with self.database.read() as connection:
            return self.gate.allows(
                connection, user, bean.entity, [bean.id] if bean.id else [], access
            )

    def authenticators(self) -> list[tuple[str, list[tuple[str, bool]]]]:
        """Return the authenticators and what each asks for, and whether to hide it."""
        keys = [("username", False), ("password", True)]
        found = [
            (name, [] if name == ANONYMOUS else keys) for name in self.settings.accounts
        ]
        if self.settings.oidc is not None:
            found.append((OIDC, [("token", True)]))
        return found

    def properties(self, session: str | None) -> list[str]:
        """Return how the server is set up, for a root user.

        Parameters
        ----------
        session
            Who asks.
        """
        self.gate.require_root(self.sessions.user(session))
        shown: Mapping[str, Any] = {
            "authn.list": " ".join(name for name, _ in self.authenticators()),
            "lifetimeMinutes": f"{self.settings.lifetime:g}",
            "rootUserNames": " ".join(self.settings.roots),
            "maxEntities": self.settings.max_entities,
        }
        return [f"{name} {value}" for name, value in shown.items()]

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()
