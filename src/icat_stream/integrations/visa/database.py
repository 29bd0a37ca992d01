"""VISA's tables: what is written to them, and what their errors mean.

There are two schemas in use: that of VISA's own scripts, and that of a server that has
run and added columns.  Only what is there is written.  Tables with people's machines
are neither read nor written.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, column, func, or_, select, text
from sqlalchemy import table as lightweight
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from icat_stream.journal import postgres_engine
from icat_stream.records import (
    Failure,
    Rejection,
    SystemUnavailable,
    TransientFailure,
    shortened,
)

from .options import VisaOptions

# Each with the columns that both schemas have, and with those of a server that has run.
_TABLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "employer": (("id", "name", "town", "country_code"), ()),
    "users": (
        ("id", "last_name", "first_name", "email", "affiliation_id", "instance_quota"),
        (),
    ),
    "role": (("id", "name"), ("group_created_at",)),
    "user_role": (("user_id", "role_id"), ("expires_at",)),
    "instrument": (("id", "name"), ()),
    "proposal": (("id", "identifier", "title", "public_at"), ("summary", "url", "doi")),
    "experiment": (
        ("id", "instrument_id", "proposal_id", "start_date", "end_date"),
        ("title", "url", "doi"),
    ),
    "experiment_user": (("experiment_id", "user_id"), ()),
}
_DELETED_FROM = ("user_role", "experiment_user")
# All that is ours is written in turn: who is disabled while a team is written would
# else be in it again.
_LOCK = 0x1CA75151
_AGAIN = ("08", "53", "57P", "57014", "40", "55P03")
_STOP = ("42P01", "42703", "42501", "28", "3D000", "3F000")
_SHOWN = 200


class Database:
    """VISA's database; shared by threads.

    Parameters
    ----------
    options
        Where it is.
    name
        The consumer's.
    down
        Makes the failure that it is not usable.
    """

    def __init__(
        self,
        options: VisaOptions,
        name: str,
        down: Callable[[str], SystemUnavailable],
    ) -> None:
        self._options = options
        self._name = name
        self._down = down
        self._engine: Engine | None = None
        self._tables: Mapping[str, Any] = {}

    @contextmanager
    def turn(self) -> Iterator["Rows"]:
        """Give a transaction in which nobody else of us writes.

        Raises
        ------
        Failure
            As the database's errors mean.
        """
        with self._begin() as connection:
            if not self._tables:
                self._tables = self._found(connection)
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            yield Rows(connection, self._tables, self._meaning)

    def ping(self) -> None:
        """Return if the tables are there, and may be written.

        Raises
        ------
        SystemUnavailable
            They are not.
        """
        with self._begin() as connection:
            self._tables = self._found(connection)
            lacking = [
                f"{right} on {name}"
                for name, rights in _rights()
                for right in rights
                if not connection.scalar(
                    select(
                        func.has_table_privilege(
                            f"{self._options.schema_name}.{name}", right
                        )
                    )
                )
            ]
        if lacking:
            raise self._down(
                f"{self._name}: the account of options.url lacks {', '.join(lacking)}"
            )

    def instruments(self, numbers: Sequence[int]) -> set[int]:
        """Return which of these instruments VISA has."""
        with self._begin() as connection:
            if not self._tables:
                self._tables = self._found(connection)
            table = self._tables["instrument"]
            query = select(table.c.id).where(table.c.id.in_(numbers))
            return set(connection.scalars(query))

    def close(self) -> None:
        """Give connections back."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._opened().begin() as connection:
                yield connection
        except DBAPIError as error:
            raise self._meaning(error) from None

    def _opened(self) -> Engine:
        if self._engine is None:
            try:
                url = self._options.database()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "is not UTF-8"
                file = self._options.password_file
                raise self._down(
                    f"{self._name}: options.password_file: {file} cannot be read:"
                    f" {reason}"
                ) from None
            self._engine = postgres_engine(url, self._options.timeout)
        return self._engine

    def _found(self, connection: Connection) -> Mapping[str, Any]:
        schema = self._options.schema_name
        there: dict[str, set[str]] = {}
        rows = connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = :schema"
            ),
            {"schema": schema},
        )
        for name, field in rows:
            there.setdefault(name, set()).add(field)
        for name, (needed, _) in _TABLES.items():
            missing = [each for each in needed if each not in there.get(name, ())]
            if missing:
                what = f"column {missing[0]} of " if name in there else ""
                raise self._down(
                    f"{self._name}: {what}table {schema}.{name} is not there, or not"
                    " for the account of options.url; see options.schema_name"
                )
        return {
            name: lightweight(
                name,
                *(column(each) for each in (*needed, *more) if each in there[name]),
                schema=schema,
            )
            for name, (needed, more) in _TABLES.items()
        }

    def _meaning(self, error: DBAPIError) -> Failure:
        state = getattr(error.orig, "sqlstate", None) or ""
        message = getattr(getattr(error.orig, "diag", None), "message_primary", None)
        words = " ".join(str(message or error.orig).split())
        reason = f"{self._name}: {shortened(words, _SHOWN)}"
        if state:
            reason += f" (SQLSTATE {state})"
        if state.startswith("28"):
            # With a new password the next connection may do.
            self.close()
        if state.startswith(_STOP) or error.connection_invalidated or not state:
            self._tables = {}
            return self._down(reason)
        if state.startswith("08") or state.startswith("57P"):
            return self._down(reason)
        if state.startswith(_AGAIN):
            return TransientFailure(reason)
        return Rejection(reason)


class Rows:
    """Rows of VISA's tables, in one transaction.

    Parameters
    ----------
    connection
        In a transaction.
    tables
        VISA's, by name.
    meaning
        Makes the failure that an error of the database is.

    Attributes
    ----------
    written
        One line for each table of which something was written.
    """

    def __init__(
        self,
        connection: Connection,
        tables: Mapping[str, Any],
        meaning: Callable[[DBAPIError], Failure],
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._meaning = meaning
        self.written: list[str] = []

    def put(
        self,
        name: str,
        key: Mapping[str, Any],
        values: Mapping[str, Any],
        *,
        once: Mapping[str, Any] | None = None,
    ) -> None:
        """Bring a row to values; what says so already is not written.

        Parameters
        ----------
        name
            Of the table.
        key
            Its primary key.
        values
            Those whose columns are not there are left out.
        once
            Only for a row that is new.
        """
        table = self._tables[name]
        known = {n: v for n, v in values.items() if n in table.c}
        row = insert(table).values({**key, **known, **(once or {})})
        if known:
            row = row.on_conflict_do_update(
                index_elements=list(key),
                set_={n: row.excluded[n] for n in known},
                where=or_(
                    *(table.c[n].is_distinct_from(row.excluded[n]) for n in known)
                ),
            )
        else:
            row = row.on_conflict_do_nothing(index_elements=list(key))
        returned = row.returning(*(table.c[n] for n in key))
        if self._connection.execute(returned).first() is not None:
            self.written.append(f"{name} {', '.join(map(str, key.values()))}")

    @contextmanager
    def attempt(self, refused: list[str]) -> Iterator[None]:
        """Go on without what is written in it where the database refuses that.

        Parameters
        ----------
        refused
            Gets the reason.
        """
        written = len(self.written)
        try:
            with self._connection.begin_nested():
                yield
        except DBAPIError as error:
            failure = self._meaning(error)
            if not isinstance(failure, Rejection):
                raise failure from None
            del self.written[written:]
            refused.append(failure.reason)

    def keep_team(self, experiment: str, users: Sequence[str]) -> None:
        """Take access to an experiment from everybody but these people."""
        table = self._tables["experiment_user"]
        ours = table.c.experiment_id == experiment
        left = table.delete().where(ours, table.c.user_id.not_in(users))
        self._count(left, f"left experiment {experiment}")

    def join_team(self, experiment: str, users: Sequence[str]) -> None:
        """Give these people access to an experiment."""
        for user in users:
            key = {"experiment_id": experiment, "user_id": user}
            self.put("experiment_user", key, {})

    def has(self, name: str, number: object) -> bool:
        """Whether there is a row of that id."""
        table = self._tables[name]
        query = select(func.count()).where(table.c.id == number)
        return bool(self._connection.scalar(query))

    def role(self, name: str) -> int | None:
        """Return the number of a role of VISA's; groups are none."""
        table = self._tables["role"]
        query = select(table.c.id).where(table.c.name == name)
        if "group_created_at" in table.c:
            query = query.where(table.c.group_created_at.is_(None))
        found: int | None = self._connection.scalar(query)
        return found

    def set_role(self, user: str, role: int, *, has: bool) -> None:
        """Give a role, or take it away; one that expires is somebody else's to give."""
        table = self._tables["user_role"]
        ours = (table.c.user_id == user, table.c.role_id == role)
        there = self._connection.scalar(select(func.count()).where(*ours))
        if has and not there:
            self._count(table.insert().values(user_id=user, role_id=role), "role")
        if not has and there:
            gone = table.delete().where(*ours)
            if "expires_at" in table.c:
                gone = gone.where(table.c.expires_at.is_(None))
            self._count(gone, "role")

    def shut_out(self, user: str) -> None:
        """Take all access from somebody, and the right to further instances."""
        table = self._tables["experiment_user"]
        self._count(table.delete().where(table.c.user_id == user), f"left by {user}")
        users = self._tables["users"]
        none = users.update().values(instance_quota=0)
        none = none.where(users.c.id == user, users.c.instance_quota != 0)
        self._count(none, f"users {user}: no more instances")

    def _count(self, statement: Any, what: str) -> None:
        count = self._connection.execute(statement).rowcount
        if count:
            self.written.append(f"{what}: {count}")


def _rights() -> Iterator[tuple[str, Sequence[str]]]:
    for name in _TABLES:
        if name == "role":
            yield name, ("SELECT",)
        elif name in _DELETED_FROM:
            yield name, ("SELECT", "INSERT", "DELETE")
        else:
            yield name, ("SELECT", "INSERT", "UPDATE")
