"""The one rule of ICAT that tables cannot express: a parameter must fit its type."""

from typing import Any

import sqlalchemy as sa

from icat_stream.sandbox.icat.bean import Bean
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.errors import IcatError


def check_new(
    connection: sa.Connection, database: Database, bean: Bean, *, as_sent: bool
) -> None:
    """Raise if a new bean is a parameter and does not fit its type.

    Parameters
    ----------
    connection
        A connection.
    database
        The catalogue.
    bean
        Any bean.
    as_sent
        Believe what the client says about the type, as the real server does, instead
        of what is stored.
    """
    owner = bean.entity.owner
    if owner is None:
        return
    kind = bean.ones.get("type")
    if kind is None:
        raise IcatError("VALIDATION", "Type of parameter is not set")
    about = kind.values if as_sent else _stored(connection, database, kind.id)
    _check_value(connection, database, bean, about)
    if not about.get(f"applicableTo{owner.type}"):
        article = "an" if owner.type.startswith("I") else "a"
        raise IcatError(
            "VALIDATION",
            f"Parameter of type {about.get('name') or 'null'} is not applicable to "
            f"{article} {owner.type}",
        )


def check_changed(connection: sa.Connection, database: Database, bean: Bean) -> None:
    """Raise if a changed bean is a parameter whose value does not fit its type.

    Parameters
    ----------
    connection
        A connection.
    database
        The catalogue.
    bean
        Any bean.
    """
    kind = bean.ones.get("type")
    if bean.entity.owner is not None and kind is not None:
        _check_value(connection, database, bean, _stored(connection, database, kind.id))


def _stored(
    connection: sa.Connection, database: Database, number: int | None
) -> dict[str, Any]:
    table = database.tables["ParameterType"]
    found = connection.execute(sa.select(table).where(table.c.id == number))
    return dict(found.mappings().first() or {})


def _check_value(
    connection: sa.Connection, database: Database, bean: Bean, about: dict[str, Any]
) -> None:
    if not about.get("enforced"):
        return
    name = about.get("name") or "null"
    if about.get("valueType") == "NUMERIC":
        _check_range(name, bean.values.get("numericValue"), about)
    elif about.get("valueType") == "STRING":
        table = database.tables["PermissibleStringValue"]
        permissible = sa.select(table.c.value).where(
            table.c.type_id == bean.ones["type"].id
        )
        allowed = list(connection.execute(permissible).scalars())
        value = bean.values.get("stringValue")
        if allowed and value not in allowed:
            raise IcatError(
                "VALIDATION",
                f"Parameter of type {name} has value {value} not in allowed set "
                f"[{', '.join(allowed)}]",
            )


def _check_range(name: str, value: float | None, about: dict[str, Any]) -> None:
    least, most = about.get("minimumNumericValue"), about.get("maximumNumericValue")
    if least is None and most is None:
        return
    if value is None:
        raise IcatError(
            "INTERNAL",
            'Cannot invoke "java.lang.Double.doubleValue()" because the return value '
            'of "org.icatproject.core.entity.Parameter.'
            '_persistence_get_numericValue()" is null',
        )
    if least is not None and value < least:
        raise IcatError(
            "VALIDATION", f"Parameter of type {name} has value {value} < {least}"
        )
    if most is not None and value > most:
        raise IcatError(
            "VALIDATION", f"Parameter of type {name} has value {value} > {most}"
        )
