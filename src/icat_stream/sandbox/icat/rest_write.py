"""Writing as REST does it: creates and updates in JSON, in one transaction."""

from typing import Any

import sqlalchemy as sa

from icat_stream.sandbox.icat.bean import Bean, below, exists, invalid, invalid_below
from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.diagnosis import FAILURES, Diagnosis
from icat_stream.sandbox.icat.errors import IcatError, at_position
from icat_stream.sandbox.icat.json_reader import (
    Change,
    JsonReader,
    Uncaught,
    dump,
    entity_of,
    is_id,
    load,
    only,
)
from icat_stream.sandbox.icat.parameters import check_new
from icat_stream.sandbox.icat.rows import Refused, Rows
from icat_stream.sandbox.icat.schema import ID, Entity, Schema

from .access_rules import Gate

# A wrong JSON type runs into a cast that nobody catches.
_UNCAUGHT = IcatError(
    "INTERNAL",
    "class jakarta.ejb.EJBException Stateless SessionBean method returned without "
    "completing transaction",
)


class RestWriter:
    """Creates, updates and deletes what comes as JSON.

    Parameters
    ----------
    database
        The catalogue.
    clock
        The server's time.
    gate
        Who may write what.
    traps
        Blame the wrong object as the real server does.
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
        self._reader = JsonReader(database.schema, clock)

    def write(self, user: str, text: str) -> list[int]:
        """Create and update, and return the ids of what was created at the top.

        Parameters
        ----------
        user
            Who writes.
        text
            The JSON.
        """
        entries = load(text)
        created = []
        offset, change = 0, None
        try:
            with self._database.write() as connection:
                for offset, entry in enumerate(entries):
                    with at_position(offset):
                        change = self._reader.top(entry)
                        if change.bean.id is None:
                            created.append(self._create(connection, user, change))
                        else:
                            self._update(connection, user, change)
        except Uncaught:
            raise _UNCAUGHT from None
        except FAILURES as error:
            assert change is not None  # noqa: S101
            raise self._explain(change, error).at(offset) from error
        except RecursionError:
            raise IcatError(
                "BAD_PARAMETER", "The objects are nested too deeply"
            ) from None
        return created

    def delete(self, user: str, text: str) -> None:
        """Delete what is named by its id.

        Parameters
        ----------
        user
            Who deletes.
        text
            The JSON.
        """
        entries = load(text)
        try:
            self._delete(user, entries)
        except Uncaught:
            raise _UNCAUGHT from None

    def _delete(self, user: str, entries: list[Any]) -> None:
        with self._database.write() as connection:
            for offset, entry in enumerate(entries):
                with at_position(offset):
                    name, content = only(entry)
                    entity = entity_of(self._schema, name)
                    number = content.get(ID) if isinstance(content, dict) else None
                    if not is_id(number) or len(content) != 1:
                        raise IcatError(
                            "BAD_PARAMETER",
                            "entity must have only the id value specified in json "
                            f"{dump(entry)}",
                        )
                    self._require(connection, entity, [number])
                    self._gate.require(connection, user, entity, [number], "DELETE")
                    table = self._database.tables[name]
                    connection.execute(table.delete().where(table.c.id == number))

    def _create(self, connection: sa.Connection, user: str, change: Change) -> int:
        bean = change.bean
        self._refer(connection, user, change)
        self._check_parameters(connection, bean)
        if change.unstorable is not None:
            raise Refused(f"Incorrect datetime value: '{change.unstorable}'", bean)
        number = self._rows.insert(connection, user, [(bean, None, 0)])[0]
        self._gate.require(connection, user, bean.entity, [number], "CREATE")
        return number

    def _update(self, connection: sa.Connection, user: str, change: Change) -> None:
        bean = change.bean
        entity, number = bean.entity, bean.id
        assert number is not None  # noqa: S101
        self._require(connection, entity, [number])
        self._gate.require_update(connection, user, entity, number, change.given)
        self._refer(connection, user, change)
        row = {name: bean.values[name] for name in bean.values if name in change.given}
        for name in change.given:
            if entity.fields[name].relation == "ONE":
                one = bean.ones.get(name)
                row[f"{name}_id"] = one.id if one else None
        if change.unstorable is not None:
            raise Refused(f"Incorrect datetime value: '{change.unstorable}'", bean)
        wrong = _wrong(entity, row)
        if wrong is not None:
            raise IcatError("VALIDATION", wrong)
        table = self._database.tables[entity.name]
        if self._becomes_another(connection, entity, number, row):
            # Under its old name the object is gone.
            self._gate.require(connection, user, entity, [number], "DELETE")
        row |= {"modId": user, "modTime": self._clock.now()}
        connection.execute(table.update().where(table.c.id == number).values(row))
        for name, children in bean.manys.items():
            back = f"{entity.fields[name].by}_id"
            for child in children:
                self._check_parameters(connection, child)
            tops = [(child, back, number) for child in children]
            self._rows.insert(connection, user, list(tops))

    def _becomes_another(
        self,
        connection: sa.Connection,
        entity: Entity,
        number: int,
        row: dict[str, Any],
    ) -> bool:
        """Tell whether new values change an object's unique key."""
        columns = [entity.fields[name].column for name in entity.key]
        given = {column: row[column] for column in columns if column in row}
        if not given:
            return False
        table = self._database.tables[entity.name]
        found = connection.execute(sa.select(table).where(table.c.id == number))
        old = found.mappings().one()
        return any(old[column] != value for column, value in given.items())

    def _refer(self, connection: sa.Connection, user: str, change: Change) -> None:
        """Look up what is referred to, change it if asked to, and touch it anyway."""
        for reference in change.references:
            self._update(connection, user, reference)

    def _require(
        self, connection: sa.Connection, entity: Entity, ids: list[int]
    ) -> None:
        table = self._database.tables[entity.name]
        for number in ids:
            known = sa.select(table.c.id).where(table.c.id == number)
            if connection.execute(known).first() is None:
                raise IcatError(
                    "NO_SUCH_OBJECT_FOUND", f"{entity.name}[id:{number}] not found."
                )

    def _check_parameters(self, connection: sa.Connection, top: Bean) -> None:
        for bean in (top, *below([top])):
            try:
                check_new(connection, self._database, bean, as_sent=False)
            except IcatError as error:
                raise self._blame(connection, top, bean, error) from error

    def _blame(
        self, connection: sa.Connection, top: Bean, bean: Bean, error: IcatError
    ) -> IcatError:
        owner = bean.entity.owner
        if not self._traps or owner is None:
            return error
        if bean is not top:
            # The real server stops before the parameter knows what it belongs to.
            message = f"{bean.entity.name}: {owner.name} cannot be null."
            return IcatError("VALIDATION", message)
        return self._blamed(connection, top) or error

    def _explain(self, change: Change, error: Exception) -> IcatError:
        top = change.bean
        if top.id is not None:
            return self._diagnosis.explain([top], error, updating=True)
        wrong = invalid(top)
        if wrong is None:
            wrong = next(invalid_below(top), None)
        if wrong is not None:
            return IcatError("VALIDATION", wrong)
        with self._database.read() as connection:
            message = self._diagnosis.duplicate(connection, top)
            if message is not None:
                return IcatError("OBJECT_ALREADY_EXISTS", message)
            blamed = self._blamed(connection, top) if self._traps else None
            if blamed is not None:
                return blamed
        if top.entity.key and not isinstance(error, Refused):
            return IcatError("OBJECT_ALREADY_EXISTS", exists(top))
        return self._diagnosis.explain([top], error)

    def _blamed(self, connection: sa.Connection, top: Bean) -> IcatError | None:
        """Say of something referred to that it exists, as if that were wrong."""
        ones = list(top.ones.values())
        # Which one is chance; these are those that were seen.
        for one in ones if top.manys else reversed(ones):
            table = self._database.tables[one.entity.name]
            found = sa.select(table).where(table.c.id == one.id)
            row = connection.execute(found).mappings().first()
            if row is not None and one.entity.key:
                message = exists(_stored(self._schema, one, row))
                return IcatError("OBJECT_ALREADY_EXISTS", message)
        return None


def _wrong(entity: Entity, row: dict[str, Any]) -> str | None:
    for known in entity.fields.values():
        if known.relation == "MANY" or known.column not in row:
            continue
        value = row[known.column]
        if value is None and known.required:
            return f"{entity.name}: {known.name} cannot be null."
        if isinstance(value, str) and len(value) > (known.length or 255):
            limit = known.length or 255
            return f"{entity.name}: {known.name} cannot have length > {limit}"
    return None


def _stored(schema: Schema, like: Bean, row: Any) -> Bean:
    bean = Bean(like.entity)
    for name in like.entity.key:
        known = like.entity.fields[name]
        if known.relation == "ONE":
            bean.ones[name] = Bean(schema.target(known))
            bean.ones[name].id = row[known.column]
        else:
            bean.values[name] = row[name]
    return bean
