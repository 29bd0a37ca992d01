"""Choosing a schema: conditions that may still be open before the file is read."""

import math
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Protocol

from icat_stream.records import AskedPath, FileContent, Rejection

from .models import SelectorModel
from .patterns import Pattern
from .values import text


class Announcement(Protocol):
    """What is used of the message that announces a file."""

    @property
    def file_name(self) -> str:
        """The file, as the writer's host names it."""

    @property
    def job_id(self) -> str:
        """Of the writing job."""

    @property
    def service_id(self) -> str:
        """The file writer."""

    @property
    def hints(self) -> Mapping[str, Any]:
        """Metadata, possibly empty."""

    @property
    def unread(self) -> str | None:
        """Why there are no hints although there is metadata."""


# Stands for what is there and can be no value, such as a group: no test of a text
# holds for it.
_NO_VALUE = object()

Condition = Callable[[str, Announcement | None, FileContent | None], bool | None]
"""Of path, message and content; without the content it may be undecided (None)."""

_PATH_PARTS: Mapping[str, Callable[[str], str]] = {
    "full": str,
    "name": lambda path: PurePosixPath(path).name,
    "stem": lambda path: PurePosixPath(path).stem,
    "folder": lambda path: str(PurePosixPath(path).parent),
}


def message_value(message: Announcement | None, field: str) -> Any:
    """Return a field of a message, ``None`` where it has none.

    Parameters
    ----------
    message
        ``None`` has no field at all.
    field
        ``file_name``, ``job_id``, ``service_id``, or ``metadata.`` and keys.
    """
    if message is None:
        return None
    if not field.startswith("metadata."):
        return getattr(message, field)
    value: Any = message.hints
    for key in field.split(".")[1:]:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def condition(model: SelectorModel, asked: Callable[[str], AskedPath]) -> Condition:
    """Compile a selector.

    Parameters
    ----------
    model
        The selector.
    asked
        Says how the schema reads a path.
    """
    if model.always:
        return lambda path, message, content: True
    if model.not_ is not None:
        inner = condition(model.not_, asked)

        def negation(*source: Any) -> bool | None:
            decided = inner(*source)
            return None if decided is None else not decided

        return negation
    if model.all is not None or model.any is not None:
        parts = [condition(part, asked) for part in (model.all or model.any or [])]
        # One part with this result decides; with all, a false one, with any, a true.
        decisive = model.all is None

        def combination(*source: Any) -> bool | None:
            results = [part(*source) for part in parts]
            if decisive in results:
                return decisive
            return None if None in results else not decisive

        return combination
    return _on_source(model, asked)


def selector_paths(model: SelectorModel) -> set[str]:
    """Return the paths inside the file that a selector looks at."""
    paths = set() if model.nexus is None else {model.nexus}
    parts = [*(model.all or ()), *(model.any or ()), model.not_]
    return paths.union(*(selector_paths(part) for part in parts if part is not None))


def _on_source(model: SelectorModel, asked: Callable[[str], AskedPath]) -> Condition:
    tests = _tests(model)
    if model.path is not None:
        part = _PATH_PARTS[model.path]
        return lambda path, message, content: tests(part(path))
    if model.message is not None:
        field = model.message
        return lambda path, message, content: tests(message_value(message, field))
    where = asked(model.nexus or "")

    def on_content(
        path: str, message: Announcement | None, content: FileContent | None
    ) -> bool | None:
        if content is None:
            return None
        try:
            found = content.values.get(where)
        except Rejection:
            return tests(_NO_VALUE)
        if found is None:
            return tests(_NO_VALUE if where in content.notes else None)
        return tests(found.value)

    return on_content


def _tests(model: SelectorModel) -> Callable[[Any], bool]:
    """Return a test of a value: all that are asked for hold, of each any operand."""
    checks: list[Callable[[Any], bool]] = []
    if model.equals is not None:
        checks.append(_any_of(_equal, model.equals))
    for name, operate in (
        ("contains", str.__contains__),
        ("starts_with", str.startswith),
        ("ends_with", str.endswith),
    ):
        operands = getattr(model, name)
        if operands is not None:
            checks.append(_any_of(_of_texts(operate), operands))
    if model.matches is not None:
        patterns = [Pattern(pattern) for pattern in model.matches]
        checks.append(lambda found: any(p.matches(_text(found)) for p in patterns))
    exists = model.exists

    def test(value: Any) -> bool:
        if value is _NO_VALUE:
            return exists is True and not checks
        values = value if isinstance(value, tuple | list) else (value,)
        found = [item for item in values if not _is_nothing(item)]
        if exists is not None and exists != bool(found):
            return False
        return not checks or any(all(c(item) for c in checks) for item in found)

    return test


def _any_of(
    operate: Callable[[Any, Any], bool], operands: list[Any]
) -> Callable[[Any], bool]:
    return lambda found: any(operate(found, operand) for operand in operands)


def _of_texts(operate: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda found, operand: operate(_text(found), text(operand))


def _equal(found: Any, operand: Any) -> bool:
    if _is_number(found) and _is_number(operand):
        return bool(found == operand)
    return _text(found) == text(operand)


def _text(found: Any) -> str:
    return text(found).strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_nothing(value: Any) -> bool:
    """Whether a value counts as none, as it does for variables."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())
