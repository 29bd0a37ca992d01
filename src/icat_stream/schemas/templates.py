"""Text with ``<variable>`` placeholders."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from .values import Kind, Scalar, Value, text

# A lone < is a mistake more often than meant.
_PIECES = re.compile(r"<<|<([^<>]*)>|<")
_PLACEHOLDER = re.compile(r"\s*([A-Za-z][\w.]*)\s*(?::(.+))?")
_EXAMPLES = {
    Scalar.INTEGER: 1,
    Scalar.FLOAT: 1.0,
    Scalar.BOOLEAN: True,
    Scalar.DATETIME: datetime(2000, 1, 1, tzinfo=UTC),
}


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One ``<name>`` or ``<name:format>``."""

    name: str
    format: str | None = None

    def check(self, kind: Kind) -> str | None:
        """Return why its format does not fit values of that type, if it does not."""
        if self.format is None:
            return None
        if kind.many:
            return f"<{self.name}> is {kind}: a list has no format"
        if self.format.endswith("c"):
            return f"format {self.format!r} makes letters of numbers"
        try:
            format(_EXAMPLES.get(kind.scalar, "text"), self.format)
        except (ValueError, TypeError) as error:
            return f"format {self.format!r} does not fit {kind}: {error}"
        return None


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template.

    Parameters
    ----------
    parts
        Text and placeholders, in order.
    """

    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """All placeholders."""
        return tuple(part for part in self.parts if isinstance(part, Placeholder))

    @property
    def lone(self) -> str | None:
        """The variable that the template is nothing but, with its type and unit."""
        if len(self.parts) == 1:
            part = self.parts[0]
            if isinstance(part, Placeholder) and part.format is None:
                return part.name
        return None

    def render(self, values: Mapping[str, Value]) -> str | None:
        """Return the text, ``None`` if a variable in it has no value."""
        pieces = []
        for part in self.parts:
            if isinstance(part, str):
                pieces.append(part)
                continue
            value = values[part.name].value
            if value is None:
                return None
            pieces.append(
                text(value) if part.format is None else format(value, part.format)
            )
        return "".join(pieces)


def parse(source: str) -> Template:
    """Parse a template; ``<<`` stands for ``<``.

    Raises
    ------
    ValueError
        It has a ``<`` that begins no placeholder.
    """
    parts: list[str | Placeholder] = []
    at = 0
    for match in _PIECES.finditer(source):
        literal = source[at : match.start()]
        at = match.end()
        if match[0] == "<<":
            parts.append(literal + "<")
            continue
        found = None if match[1] is None else _PLACEHOLDER.fullmatch(match[1])
        if found is None:
            raise ValueError(
                f"{source[match.start() : match.start() + 20]!r} is no <variable>; "
                "write << for a <"
            )
        parts += [literal, Placeholder(found[1], found[2])]
    parts.append(source[at:])
    return Template(tuple(part for part in parts if part != ""))
