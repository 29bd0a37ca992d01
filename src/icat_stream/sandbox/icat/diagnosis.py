"""Finding out what was wrong, after the database said no: the real server's way."""

from typing import Any

import sqlalchemy as sa

from icat_stream.sandbox.icat.bean import (
    Bean,
    below,
    exists,
    invalid,
    invalid_below,
    key_values,
)
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.rows import DATABASE_SAYS, Refused

# What inserting and updating rows can raise.
FAILURES = (Refused, sa.exc.IntegrityError, sa.exc.DataError)


class Diagnosis:
    """Explains failures in ICAT's terms.

    Parameters
    ----------
    database
        The catalogue.
    traps
        Blame mistakes below the top object on nobody, as the real server does.
    """

    def __init__(self, database: Database, *, traps: bool) -> None:
        self._database = database
        self._traps = traps

    def explain(
        self,
        beans: list[Bean],
        error: Exception,
        *,
        many: bool = False,
        updating: bool = False,
    ) -> IcatError:
        """Return the error that the client gets.

        Parameters
        ----------
        beans
            The tops of what was written.
        error
            Why it failed.
        many
            Whether errors tell the position of the bean.
        updating
            Whether the beans were there already.
        """
        with self._database.read() as connection:
            for position, bean in enumerate(beans):
                offset = position if many else -1
                existing = self.duplicate(connection, bean, updating=updating)
                if existing is not None:
                    return IcatError("OBJECT_ALREADY_EXISTS", existing, offset)
                wrong = invalid(bean)
                if wrong is not None:
                    return IcatError("VALIDATION", wrong, offset)
        seen = set()
        for position, bean in enumerate(beans):
            key = (bean.entity.name, *map(self._folded, key_values(bean)))
            if bean.entity.key and key in seen:
                message = exists(bean)
                return IcatError("OBJECT_ALREADY_EXISTS", message, position)
            seen.add(key)
        if not self._traps:
            for position, bean in enumerate(beans):
                for wrong in invalid_below(bean):
                    return IcatError("VALIDATION", wrong, position if many else -1)
        if not isinstance(error, Refused):
            text = _database_text(error)
            return IcatError("INTERNAL", f"Unexpected DB response {text}")
        offset = -1
        if many:
            offset = next(n for n, top in enumerate(beans) if _holds(top, error.bean))
        return IcatError("INTERNAL", f"Unexpected DB response {error}", offset)

    def _folded(self, value: Any) -> Any:
        if self._database.ignore_case and isinstance(value, str):
            return value.lower()
        return value

    def duplicate(
        self, connection: sa.Connection, bean: Bean, *, updating: bool = False
    ) -> str | None:
        """Return what is said if there is another with the same key.

        Parameters
        ----------
        connection
            A connection.
        bean
            The bean.
        updating
            Whether the bean itself is there.
        """
        values = list(key_values(bean))
        if not values or any(value is None for value in values):
            return None
        entity = bean.entity
        table = self._database.tables[entity.name]
        statement = sa.select(table.c.id)
        for name, value in zip(entity.key, values, strict=True):
            statement = statement.where(table.c[entity.fields[name].column] == value)
        if updating:
            statement = statement.where(table.c.id != bean.id)
        return exists(bean) if connection.execute(statement).first() else None


def _holds(top: Bean, bean: Bean) -> bool:
    return top is bean or any(below is bean for below in below([top]))


def _database_text(error: Exception) -> str:
    text = str(getattr(error, "orig", error))
    kind, _, columns = text.partition(" constraint failed: ")
    shown = {"UNIQUE": "Duplicate entry for key", "NOT NULL": "Column cannot be null"}
    return (
        f"{DATABASE_SAYS}java.sql.SQLIntegrityConstraintViolationException: "
        f"{shown.get(kind, kind)} '{columns}'"
    )
