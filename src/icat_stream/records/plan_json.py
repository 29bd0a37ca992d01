"""Plans as text: to be kept, compared, and read again."""

import hashlib
import json
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .plan import Dataset, Investigation, User

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Planned = Dataset | Investigation | User
PlannedT = TypeVar("PlannedT", Dataset, Investigation, User)
# Tells a time from a text that looks like one.
_TIME = "$time"


def _encoded(value: object) -> dict[str, Any]:
    if isinstance(value, datetime):
        return {_TIME: value.astimezone(UTC).isoformat()}
    kind: type[Any] = type(value)
    if is_dataclass(kind):
        return {name: getattr(value, name) for name in _names(kind)}
    raise TypeError(type(value).__name__)


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


_ENCODER = json.JSONEncoder(default=_encoded, sort_keys=True, separators=(",", ":"))


def as_text(planned: Planned) -> str:
    """Return all of a planned thing as JSON, the same for all equal ones."""
    return _ENCODER.encode(planned)


def digest(planned: Planned | str) -> str:
    """Return a hash of all of a planned thing, or of its text."""
    text = planned if isinstance(planned, str) else as_text(planned)
    return hashlib.sha256(text.encode()).hexdigest()


def from_text(kind: type[PlannedT], text: str) -> PlannedT:
    """Return what :func:`as_text` was given.

    Raises
    ------
    ValueError
        The text is none of its.
    """
    value = json.loads(text, object_hook=_plain)
    return cast(PlannedT, _adapters()[kind].validate_python(value))


@cache
def _adapters() -> "dict[type[Planned], TypeAdapter[Any]]":
    # Who only writes plans does not wait for pydantic.
    from pydantic import TypeAdapter

    return {kind: TypeAdapter(kind) for kind in (Dataset, Investigation, User)}


def _plain(value: dict[str, Any]) -> Any:
    return datetime.fromisoformat(value[_TIME]) if _TIME in value else value
