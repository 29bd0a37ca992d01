"""Objects from the JSON of a REST request."""

import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from icat_stream.sandbox.icat.bean import Bean
from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.schema import ID, STAMPS, Entity, Field, Schema

_DATE = re.compile(
    r"([0-9]+)-([0-9]+)-([0-9]+)T([0-9]+):([0-9]+):([0-9]+)\.([0-9]+)"
    r"(Z|([+-])([0-9]{2}):([0-9]{2}))"
)

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class Uncaught(Exception):
    """Ends the call without a position."""


class OutOfRange(Exception):
    """A date is one, but outside the years that can be kept."""


@dataclass
class Change:
    """One object of a request.

    Parameters
    ----------
    bean
        What it says.
    given
        The fields that it gives.
    references
        The objects that it refers to, which may be changed in passing.
    unstorable
        A date in it that can be read, but that no database takes.
    """

    bean: Bean
    given: set[str] = field(default_factory=set)
    references: "list[Change]" = field(default_factory=list)
    unstorable: str | None = None


class JsonReader:
    """Reads the objects of a request.

    Parameters
    ----------
    schema
        The entities.
    clock
        The server's time.
    """

    def __init__(self, schema: Schema, clock: Clock) -> None:
        self._schema = schema
        self._clock = clock

    def top(self, entry: Any) -> Change:
        """Read one object.

        Parameters
        ----------
        entry
            The parsed JSON.

        Raises
        ------
        IcatError
            If it is none.
        Uncaught
            If it is none in a way that the real server does not expect.
        """
        name, content = only(entry)
        entity = entity_of(self._schema, name)
        if isinstance(content, list):
            raise IcatError(
                "BAD_PARAMETER", f"Unexpected array found in JSON {dump(content)}"
            )
        if not isinstance(content, dict):
            raise Uncaught
        return self._read(entity, content)

    def _read(self, entity: Entity, content: dict[str, Any]) -> Change:
        change = Change(Bean(entity))
        bean = change.bean
        for name, value in content.items():
            known = entity.fields.get(name)
            if known is None:
                raise IcatError(
                    "BAD_PARAMETER", f"Field {name} not found in {entity.name}"
                )
            if name == ID:
                if not is_id(value):
                    raise Uncaught
                bean.id = value
                continue
            if name in STAMPS:
                raise Uncaught
            change.given.add(name)
            if known.relation == "ATTRIBUTE":
                try:
                    bean.values[name] = self._value(entity, known, value)
                except OutOfRange:
                    change.unstorable = value
            elif known.relation == "ONE":
                if value is not None:
                    reference = self._reference(known, value)
                    bean.ones[name] = reference.bean
                    change.references.append(reference)
            else:
                children = list(self._children(known, value))
                bean.manys[name] = [child.bean for child in children]
                for child in children:
                    change.references += child.references
                    change.unstorable = change.unstorable or child.unstorable
                change.given.discard(name)
        return change

    def _reference(self, known: Field, value: Any) -> Change:
        number = value.get(ID) if isinstance(value, dict) else None
        if isinstance(value, dict) and ID not in value:
            raise IcatError(
                "BAD_PARAMETER",
                "One to many related objects should not have the id value set: "
                f"{dump(value)}",
            )
        if not is_id(number):
            raise IcatError(
                "BAD_PARAMETER", f"Badly formatted relationship object {dump(value)}"
            )
        return self._read(self._schema.target(known), value)

    def _children(self, known: Field, value: Any) -> Iterator[Change]:
        if not isinstance(value, list):
            raise IcatError(
                "BAD_PARAMETER", f"Badly formatted relationship object {dump(value)}"
            )
        for entry in value:
            if not isinstance(entry, dict) or ID in entry:
                raise IcatError(
                    "BAD_PARAMETER",
                    "One to many related objects should not have the id value set: "
                    f"{dump(entry)}",
                )
            yield self._read(self._schema.target(known), entry)

    def _value(self, entity: Entity, known: Field, value: Any) -> Any:
        name = known.name
        if known.type == "boolean":
            if value is None:
                raise IcatError(
                    "INTERNAL", f"failed to set field {name} of {entity.name}"
                )
            if not isinstance(value, bool):
                raise IcatError(
                    "BAD_PARAMETER",
                    f"Field {name} must be true or false in {entity.name}",
                )
            return value
        if known.type == "StudyStatus":
            raise IcatError(
                "BAD_PARAMETER", f"Badly formatted relationship object {dump(value)}"
            )
        if value is None:
            return None
        if known.type == "Date":
            return self._date(value)
        if known.type in self._schema.enums:
            if not isinstance(value, str):
                raise Uncaught
            allowed = self._schema.enums[known.type]
            if value.upper() not in allowed:
                raise IcatError(
                    "BAD_PARAMETER",
                    f"Field {name} must be in [{', '.join(allowed)}] for {entity.name}",
                )
            return value.upper()
        if known.type == "String":
            if not isinstance(value, str):
                raise Uncaught
            return value
        return _number(known, value)

    def _date(self, value: Any) -> dt.datetime:
        """Read a date as Java does, with months and days that run over."""
        match = _DATE.match(value) if isinstance(value, str) else None
        if match is None:
            raise _bad_date(value)
        year, month, day, hour, minute, second, milli = map(int, match.groups()[:7])
        years, months = divmod(month - 1, 12)
        offset = 0
        if match[9]:
            offset = (int(match[10]) * 60 + int(match[11])) * (1, -1)[match[9] == "-"]
        try:
            start = dt.datetime(year + years, months + 1, 1, tzinfo=dt.UTC)
            moment = start + dt.timedelta(
                days=day - 1,
                hours=hour,
                minutes=minute - offset,
                seconds=second,
                milliseconds=milli,
            )
            return self._clock.store(moment)
        except (ValueError, OverflowError):
            raise OutOfRange(value) from None


def _bad_date(value: Any) -> IcatError:
    return IcatError("BAD_PARAMETER", f"Badly formatted date {dump(value)}")


def _number(known: Field, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Uncaught
    if known.type == "Double":
        return float(value)
    limit = 2**63 if known.type == "Long" else 2**31
    if not isinstance(value, int) or not -limit <= value < limit:
        raise Uncaught
    return value


def is_id(value: Any) -> TypeGuard[int]:
    """Tell whether a value can be an id.

    Parameters
    ----------
    value
        From JSON.
    """
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def load(text: str) -> list[Any]:
    """Return the objects of a request.

    Parameters
    ----------
    text
        Its JSON: one object, or a list.
    """
    try:
        content = loads(text)
    except ValueError as error:
        raise IcatError("BAD_PARAMETER", f"{error} in json {text}", 0) from error
    if isinstance(content, list):
        return content
    if isinstance(content, dict):
        return [content]
    raise IcatError("BAD_PARAMETER", f"Internal Error in json {text}", 0)


def loads(text: str) -> Any:
    """Read JSON as strictly as the real server, and complain in its words.

    Parameters
    ----------
    text
        The JSON.

    Raises
    ------
    ValueError
        If it is none.
    """

    def refuse(constant: str) -> float:
        blank = _STRING.sub(lambda found: " " * len(found[0]), text)
        raise json.JSONDecodeError("", text, blank.index(constant))

    if len(text) < 2:
        raise ValueError("Cannot auto-detect encoding, not enough chars")
    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("Input is too deeply nested") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()):
            # The real one counts what it had room for, not what it read.
            end = 2 * len(text)
            message = (
                f"Invalid token=EOF at (line no={error.lineno}, column no={end}, "
                f"offset={end - 1}). Expected tokens are: [CURLYOPEN, SQUAREOPEN, "
                "STRING, NUMBER, TRUE, FALSE, NULL]"
            )
        else:
            message = (
                f"Unexpected char {ord(text[error.pos])} at (line no={error.lineno}, "
                f"column no={error.colno}, offset={error.pos})"
            )
        raise ValueError(message) from None


def only(entry: Any) -> tuple[str, Any]:
    """Return the name of an entity and what is said of it.

    Parameters
    ----------
    entry
        An object of a request.
    """
    if not isinstance(entry, dict):
        raise Uncaught
    if len(entry) != 1:
        raise IcatError(
            "BAD_PARAMETER",
            "Entity must have one keyword followed by its values in json "
            f"{dump(entry)}",
        )
    return next(iter(entry.items()))


def entity_of(schema: Schema, name: str) -> Entity:
    """Return an entity by its name.

    Parameters
    ----------
    schema
        The entities.
    name
        Its name, in its own spelling.
    """
    entity = schema.entities.get(name)
    if entity is None:
        raise IcatError("BAD_PARAMETER", f"{name} is not an ICAT entity")
    return entity


def dump(value: Any) -> str:
    """Return JSON as the server shows it in messages.

    Parameters
    ----------
    value
        The value.
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
