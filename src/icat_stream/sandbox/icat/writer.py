"""Writing as SOAP does it: trees of beans, whole or not at all."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from icat_stream.sandbox.icat.bean import Bean
from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.diagnosis import FAILURES, Diagnosis
from icat_stream.sandbox.icat.errors import IcatError, at_position
from icat_stream.sandbox.icat.parameters import check_changed, check_new
from icat_stream.sandbox.icat.rows import Rows
from icat_stream.sandbox.icat.schema import ID, Schema

from .access_rules import Gate, read_rule


class Writer:
    """Creates, updates and deletes.

    Parameters
    ----------
    database
        The catalogue.
    clock
        The server's time.
    gate
        Who may write what.
    traps
        Treat mistakes below the top object as the real server does: as INTERNAL.
    """

    def __init__(
        self, database: Database, clock: Clock, gate: Gate, *, traps: bool = True
    ) -> None:
        self._database = database
        self._schema = database.schema
        self._clock = clock
        self._gate = gate
        self._traps = traps
        self._rows = Rows(database, clock)
        self._diagnosis = Diagnosis(database, traps=traps)

    def create(
        self,
        user: str,
        beans: list[Bean],
        *,
        many: bool,
        stamps: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Create trees in one transaction and return the ids of their tops.

        Parameters
        ----------
        user
            Who creates.
        beans
            The tops.
        many
            Whether errors tell the position of the bean.
        stamps
            Who created and modified them, and when, where it is not this user now.
        """
        try:
            with self._database.write() as connection:
                return self._create(connection, user, beans, many=many, stamps=stamps)
        except FAILURES as error:
            raise self._diagnosis.explain(beans, error, many=many) from error
        except RecursionError:
            raise IcatError(
                "BAD_PARAMETER", "The objects are nested too deeply"
            ) from None

    def may_create(self, user: str, bean: Bean) -> bool:
        """Tell whether a user could create a bean, by trying and taking it back.

        Parameters
        ----------
        user
            Who.
        bean
            What.
        """
        try:
            with self._database.write() as connection:
                try:
                    self._create(connection, user, [bean], many=False)
                finally:
                    connection.rollback()
        except IcatError as error:
            if error.kind == "INSUFFICIENT_PRIVILEGES":
                return False
            raise
        except FAILURES as error:
            raise self._diagnosis.explain([bean], error) from error
        return True

    def _create(
        self,
        connection: sa.Connection,
        user: str,
        beans: list[Bean],
        *,
        many: bool,
        stamps: Mapping[str, Any] | None = None,
    ) -> list[int]:
        for position, bean in enumerate(beans):
            self._prepare(connection, bean, position if many else -1)
        tops = [(bean, None, 0) for bean in beans]
        ids = self._rows.insert(connection, user, list(tops), stamps)
        for position, (bean, number) in enumerate(zip(beans, ids, strict=True)):
            with at_position(position if many else -1):
                self._gate.require(connection, user, bean.entity, [number], "CREATE")
        return ids

    def update(
        self, user: str, bean: Bean, *, stamps: Mapping[str, Any] | None = None
    ) -> None:
        """Replace all attributes and to-one relations of an entity.

        Parameters
        ----------
        user
            Who updates.
        bean
            The entity; what it does not say becomes null.
        stamps
            Who created and modified it, and when, where it is not this user now.
        """
        entity = bean.entity
        table = self._database.tables[entity.name]
        try:
            with self._database.write() as connection:
                number = self._existing(connection, bean)
                self._gate.require(connection, user, entity, [number], "UPDATE")
                check_changed(connection, self._database, bean)
                if entity.name == "Rule":
                    _check_rule(self._schema, bean)
                row = self._rows.row(bean)
                for name in (ID, "createId", "createTime"):
                    del row[name]
                row |= {"modId": user, "modTime": self._clock.now(), **(stamps or {})}
                self._rows.check_references(connection, [bean])
                connection.execute(
                    table.update().where(table.c.id == number).values(row)
                )
        except FAILURES as error:
            raise self._diagnosis.explain([bean], error, updating=True) from error

    def delete(self, user: str, beans: list[Bean]) -> None:
        """Delete entities and all that hangs on them, in one transaction.

        Parameters
        ----------
        user
            Who deletes.
        beans
            Which; only their ids count.
        """
        with self._database.write() as connection:
            for position, bean in enumerate(beans):
                with at_position(position):
                    number = self._existing(connection, bean)
                    self._gate.require(
                        connection, user, bean.entity, [number], "DELETE"
                    )
                table = self._database.tables[bean.entity.name]
                connection.execute(table.delete().where(table.c.id == number))

    def _existing(self, connection: sa.Connection, bean: Bean) -> int:
        name = bean.entity.name
        if bean.id is None:
            raise IcatError("NO_SUCH_OBJECT_FOUND", f"{name} has null primary key.")
        table = self._database.tables[name]
        if connection.execute(
            sa.select(table.c.id).where(table.c.id == bean.id)
        ).first():
            return bean.id
        raise IcatError("NO_SUCH_OBJECT_FOUND", f"{name}[id:{bean.id}] not found.")

    # Checks before

    def _prepare(self, connection: sa.Connection, top: Bean, position: int) -> None:
        with at_position(position):
            check_new(connection, self._database, top, as_sent=self._traps)
            if top.entity.name == "Rule":
                _check_rule(self._schema, top)
            for children in top.manys.values():
                for child in children:
                    self._prepare_below(connection, child)

    def _prepare_below(self, connection: sa.Connection, bean: Bean) -> None:
        if bean.entity.owner is not None:
            try:
                check_new(connection, self._database, bean, as_sent=self._traps)
            except IcatError as error:
                if not self._traps:
                    raise
                raise IcatError("INTERNAL", _below(error)) from error
        for children in bean.manys.values():
            for child in children:
                self._prepare_below(connection, child)


def _below(error: IcatError) -> str:
    cause = (
        "java.lang.NullPointerException"
        if error.kind == "INTERNAL"
        else "org.icatproject.core.IcatException"
    )
    return f"class {cause} {error.message}"


def _check_rule(schema: Schema, bean: Bean) -> None:
    flags = bean.values.get("crudFlags")
    if flags is None:
        return
    flags = bean.values["crudFlags"] = flags.upper().strip()
    seen = ""
    for flag in flags:
        if flag not in "CRUD":
            # The real server shows not the letter, but whether there was a C.
            shown = str("C" in seen).lower()
            message = f"CRUD value {flags} contains {shown}"
            raise IcatError("BAD_PARAMETER", message)
        seen += flag
    what = bean.values.get("what")
    if what is None:
        raise IcatError("BAD_PARAMETER", "'what' must not be null")
    if read_rule(schema, what).attribute is not None and set(flags) - {"U"}:
        raise IcatError(
            "BAD_PARAMETER", "Attribute selection in rules is only allowed for Update"
        )
