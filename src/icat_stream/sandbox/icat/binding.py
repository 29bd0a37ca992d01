"""Between XML and beans, as forgiving as the real server's binding."""

import datetime as dt
import re
from typing import Any
from xml.sax.saxutils import escape

from icat_stream.sandbox.icat.bean import Bean
from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.schema import Entity, Field, Schema
from icat_stream.sandbox.icat.search import EnumValue, Loaded

XSI = "http://www.w3.org/2001/XMLSchema-instance"
_TYPE = f"{{{XSI}}}type"
_NIL = f"{{{XSI}}}nil"
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DOUBLE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?"
)


class Malformed(ValueError):
    """A value is not of its type."""


def read_value(schema: Schema, clock: Clock, field: Field, text: str) -> Any:
    """Read an attribute's value from XML text.

    Parameters
    ----------
    schema
        The entities.
    clock
        The server's time.
    field
        The attribute.
    text
        The text.

    Raises
    ------
    Malformed
        If it is none.
    """
    if field.type == "String":
        return text
    text = text.strip()
    match field.type:
        case "Long" | "Integer":
            if _INTEGER.fullmatch(text) and len(text) < 20:
                number = int(text)
                limit = 2**63 if field.type == "Long" else 2**31
                if -limit <= number < limit:
                    return number
        case "Double":
            if _DOUBLE.fullmatch(text):
                return float(text)
        case "boolean":
            if text in ("true", "1", "false", "0"):
                return text in ("true", "1")
        case "Date":
            return _read_date(clock, text)
        case enum:
            if text in schema.enums[enum]:
                return text
    raise Malformed(f"{text!r} is no {field.type}")


def _read_date(clock: Clock, text: str) -> dt.datetime:
    match = _DATE.fullmatch(text)
    if match is None:
        raise Malformed(f"{text!r} is no Date")
    date, time, fraction, zone = match.groups()
    clean = f"{date}{(time or 'T00:00:00').removesuffix(fraction or ' ')}{zone or ''}"
    try:
        return clock.store(dt.datetime.fromisoformat(clean))
    except ValueError as error:
        raise Malformed(f"{text!r} is no Date") from error


class BeanReader:
    """Reads beans from XML elements.

    Parameters
    ----------
    schema
        The entities.
    clock
        The server's time.
    lenient
        Lose malformed values and unknown elements without a word, as the real server
        does; otherwise they are errors.
    """

    def __init__(self, schema: Schema, clock: Clock, *, lenient: bool = True) -> None:
        self._schema = schema
        self._clock = clock
        self._lenient = lenient

    def top(self, element: Any) -> Bean:
        """Read a bean whose type is named in the element.

        Parameters
        ----------
        element
            The XML element.
        """
        entity = self.kind(element)
        if entity is None:
            name = _type_name(element) or "null"
            raise IcatError("BAD_PARAMETER", f"{name} is not an ICAT entity")
        return self._read(element, entity)

    def kind(self, element: Any) -> Entity | None:
        """Return the entity whose type is named in an element, if it is one.

        Parameters
        ----------
        element
            The XML element.
        """
        return self._schema.by_element.get(_type_name(element))

    def target(self, known: Field) -> Entity:
        """Return the entity that a relation leads to.

        Parameters
        ----------
        known
            The relation.
        """
        return self._schema.target(known)

    def below(self, element: Any, entity: Entity) -> Bean | None:
        """Read a bean that is nested in another, unless it is nil.

        Parameters
        ----------
        element
            The XML element.
        entity
            What it is.
        """
        if element.get(_NIL) in ("true", "1"):
            return None
        return self._read(element, entity)

    def _read(self, element: Any, entity: Entity) -> Bean:
        """Read attributes and to-one relations; who calls adds what is nested."""
        bean = Bean(entity)
        fields = entity.fields
        for child in element:
            field = fields.get(child.tag)
            if field is None:
                self._complain(f"{child.tag} is not an element of {entity.element}")
                continue
            if field.relation == "ATTRIBUTE":
                self._attribute(bean, field, child)
            elif field.relation == "ONE" and child.get(_NIL) not in ("true", "1"):
                bean.ones[field.name] = self._read(child, self._schema[field.type])
        return bean

    def _attribute(self, bean: Bean, field: Field, child: Any) -> None:
        name = field.name
        if name in ("createId", "createTime", "modId", "modTime"):
            return
        value = None
        if child.get(_NIL) not in ("true", "1"):
            try:
                value = read_value(self._schema, self._clock, field, child.text or "")
            except Malformed as error:
                self._complain(f"{bean.entity.element}: {name}: {error}")
                value = field.default
        if name == "id":
            bean.id = value
        elif value is not None or field.type != "boolean":
            bean.values[name] = value

    def _complain(self, message: str) -> None:
        if not self._lenient:
            raise IcatError("BAD_PARAMETER", message)


def _type_name(element: Any) -> str:
    kind: str = element.get(_TYPE) or ""
    return kind.rpartition(":")[2]


class Writer:
    """Writes results as XML text.

    Parameters
    ----------
    schema
        The entities.
    clock
        The server's time.
    """

    def __init__(self, schema: Schema, clock: Clock) -> None:
        self._clock = clock
        self._plans: dict[str, list[tuple[str, int, str]]] = {}
        for entity in schema:
            columns = [f for f in entity.fields.values() if f.relation != "MANY"]
            self._plans[entity.name] = [
                (field.name, position, field.type)
                for position, field in enumerate(columns)
                if field.relation == "ATTRIBUTE"
            ]

    def result(self, tag: str, value: Any) -> str:
        """Return an element for a result of any kind.

        Parameters
        ----------
        tag
            The element's name.
        value
            An entity, a value, or a tuple of them.
        """
        if value is None:
            return f'<{tag} xsi:nil="true"/>'
        if isinstance(value, Loaded):
            kind = value.entity.element
            return f'<{tag} xsi:type="ns2:{kind}">{self._content(value)}</{tag}>'
        if isinstance(value, tuple):
            fields = "".join(self.result("fields", entry) for entry in value)
            return f'<{tag} xsi:type="ns2:fieldSet">{fields}</{tag}>'
        if isinstance(value, EnumValue):
            kind = value.type[0].lower() + value.type[1:]
            return f'<{tag} xsi:type="ns2:{kind}">{value.value}</{tag}>'
        return f'<{tag} xsi:type="xs:{_xsd(value)}">{self.scalar(value)}</{tag}>'

    def scalar(self, value: Any) -> str:
        """Return the text of a value.

        Parameters
        ----------
        value
            A plain value.
        """
        if isinstance(value, str):
            return escape(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dt.datetime):
            return self._clock.show(value).isoformat().replace("+00:00", "Z")
        return str(value)

    def _content(self, loaded: Loaded) -> str:
        parts = []
        values = loaded.values
        for name, position, kind in self._plans[loaded.entity.name]:
            value = values[position]
            if value is not None:
                text = escape(value) if kind == "String" else self.scalar(value)
                parts.append(f"<{name}>{text}</{name}>")
        for name, related in loaded.related.items():
            if isinstance(related, Loaded):
                parts.append(f"<{name}>{self._content(related)}</{name}>")
            elif related is not None:
                parts.extend(
                    f"<{name}>{self._content(one)}</{name}>" for one in related
                )
        return "".join(parts)


def _xsd(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "long"
    if isinstance(value, float):
        return "double"
    if isinstance(value, dt.datetime):
        return "dateTime"
    return "string"
