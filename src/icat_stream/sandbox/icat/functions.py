"""The functions of a query, and where the server takes which."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.parser import syntax_error, undefined_variable

_STRING = sa.String()
_INTEGER = sa.Integer()
_FLOAT = sa.Float()

_PARTS = {
    "YEAR": "%Y",
    "MONTH": "%m",
    "DAY": "%d",
    "HOUR": "%H",
    "MINUTE": "%M",
    "SECOND": "%S",
}
_CASTS: dict[str, Any] = {
    "CHAR": sa.String,
    "VARCHAR": sa.String,
    "INTEGER": sa.Integer,
    "SIGNED": sa.Integer,
    "FLOAT": sa.Float,
    "DOUBLE": sa.Float,
}


@dataclass(frozen=True)
class Function:
    """A function of a query.

    Parameters
    ----------
    build
        Makes the SQL of it, from a unit and the arguments.
    least
        Fewest arguments.
    most
        Most arguments.
    """

    build: Callable[..., Any]
    least: int = 1
    most: int = 1

    def __call__(self, unit: str | None, arguments: list[Any]) -> Any:
        """Return the SQL for some arguments; ValueError if they are not as many.

        Parameters
        ----------
        unit
            The word of ``EXTRACT`` and ``CAST``.
        arguments
            The arguments.
        """
        if not self.least <= len(arguments) <= self.most:
            raise ValueError(f"does not take {len(arguments)} arguments")
        return self.build(unit, *arguments)


def _plain(name: str, kind: Any, least: int = 1, most: int = 1) -> Function:
    def build(_: str | None, *arguments: Any) -> Any:
        function: Any = getattr(sa.func, name)
        return function(*arguments, type_=kind)

    return Function(build, least, most)


def _extract(unit: str | None, value: Any) -> Any:
    if unit not in _PARTS:
        raise ValueError(f"knows no {unit}")
    part = sa.func.strftime(_PARTS[unit], value)
    return sa.cast(part, sa.Integer)


def _cast(unit: str | None, value: Any) -> Any:
    if unit not in _CASTS:
        raise ValueError(f"knows no {unit}")
    return sa.cast(value, _CASTS[unit])


def _concat(_: str | None, first: Any, *others: Any) -> Any:
    result: Any = sa.cast(first, sa.String)
    for other in others:
        result = result.concat(other)
    return result


def _coalesce(_: str | None, *arguments: Any) -> Any:
    return sa.func.coalesce(*arguments)


_MANY = 100

FUNCTIONS: dict[str, Function] = {
    "UPPER": _plain("upper", _STRING),
    "LOWER": _plain("lower", _STRING),
    "LENGTH": _plain("length", _INTEGER),
    "TRIM": _plain("trim", _STRING),
    "SUBSTRING": _plain("substr", _STRING, 2, 3),
    "CONCAT": Function(_concat, 2, _MANY),
    "LOCATE": _plain("icat_locate", _INTEGER, 2, 3),
    "ABS": Function(lambda _, value: sa.func.abs(value, type_=value.type)),
    "SQRT": _plain("sqrt", _FLOAT),
    "MOD": Function(lambda _, value, by: value % by, 2, 2),
    "COALESCE": Function(_coalesce, 2, _MANY),
    "NULLIF": Function(
        lambda _, value, other: sa.func.nullif(value, other, type_=value.type), 2, 2
    ),
    "FLOOR": _plain("floor", _FLOAT),
    "CEILING": _plain("ceil", _FLOAT),
    "ROUND": _plain("round", _FLOAT, 1, 2),
    "POWER": _plain("power", _FLOAT, 2, 2),
    "SIGN": _plain("sign", _INTEGER),
    "LN": _plain("ln", _FLOAT),
    "EXP": _plain("exp", _FLOAT),
    "CAST": Function(_cast),
    "EXTRACT": Function(_extract),
}

# ICAT reads the SELECT clause itself and knows fewer functions there.
SELECTABLE = frozenset(
    "COUNT MIN MAX AVG SUM UPPER LOWER LENGTH TRIM SUBSTRING ABS SQRT MOD".split()
)
_SYNTAX_IN_SELECT = frozenset({"CONCAT", "LOCATE", "LEFT"})


def refused_in_select(name: str, text: str, shown: str | None = None) -> IcatError:
    """Return the error for what may not be selected.

    Parameters
    ----------
    name
        The function or construct.
    text
        The query.
    shown
        The word that the server complains about, if it is another.
    """
    if name in _SYNTAX_IN_SELECT:
        return syntax_error(text, f"{name} cannot be selected.")
    if name == "SIZE":
        return IcatError(
            "INTERNAL",
            "Derived JPQL reports "
            + syntax_error(text, "SIZE cannot be selected.").message,
        )
    if name == "EXTRACT":
        return IcatError(
            "INTERNAL",
            "class java.lang.NullPointerException Cannot invoke "
            '"Object.hashCode()" because "pk" is null',
        )
    return IcatError("BAD_PARAMETER", undefined_variable(shown or name))


def native(name: str, arguments: list[Any], now: Any) -> Any:
    """Return what a call to the database itself gives, as far as that goes here.

    The real server hands such calls on; here nothing but the time can be asked for.

    Parameters
    ----------
    name
        ``SQL``, ``FUNC``, ``FUNCTION`` or ``OPERATOR``.
    arguments
        The arguments; the first says what is called.
    now
        The server's time.
    """
    called = str(arguments[0]).strip().upper() if arguments else ""
    if name != "OPERATOR" and called in ("NOW", "NOW()"):
        return sa.literal(now)
    raise IcatError(
        "INTERNAL",
        "class jakarta.persistence.PersistenceException Exception [EclipseLink-4002] "
        "(Eclipse Persistence Services): java.sql.SQLSyntaxErrorException: "
        f"{called} is not known to the database",
    )
