"""What a caller says: session, selection, details of a put."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from icat_stream.icat import FORBIDDEN
from icat_stream.records import shortened

from .errors import BadRequest

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID = re.compile(r"-?[0-9]{1,18}")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_SELECTORS = {
    "investigationIds": "Investigation",
    "datasetIds": "Dataset",
    "datafileIds": "Datafile",
}

_SHOWN = 200
MOST = 100
"""Parameters of a call."""
Parameters = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a call is about: entities and ids of theirs, or what was prepared."""

    ids: Mapping[str, tuple[int, ...]]
    prepared: str | None = None

    @property
    def is_one_file(self) -> bool:
        """Whether this can be nothing but a single file."""
        return list(self.ids) == ["Datafile"] and len(self.ids["Datafile"]) == 1


def form(text: str) -> Parameters:
    """Return the fields of a form.

    Raises
    ------
    BadRequest
        There are more than any call has.
    """
    try:
        return dict(parse_qsl(text, max_num_fields=MOST))
    except ValueError:
        raise BadRequest(f"more than {MOST} parameters") from None


def session_id(parameters: Parameters) -> str:
    """Return the caller's session."""
    return _uuid(parameters, "sessionId")


def prepared_id(parameters: Parameters) -> str:
    """Return what prepareData returned."""
    return _uuid(parameters, "preparedId")


def selection(parameters: Parameters, *, prepared: bool = False) -> Selection:
    """Return what the call is about; nothing at all is allowed, too.

    Parameters
    ----------
    parameters
        Of the call.
    prepared
        It may be about what was prepared.
    """
    if "preparedId" in parameters:
        if not prepared:
            raise BadRequest("This call takes no preparedId")
        return Selection({}, prepared_id(parameters))
    return Selection(
        {
            entity: _ids(name, parameters[name])
            for name, entity in _SELECTORS.items()
            if parameters.get(name)
        }
    )


def text(parameters: Parameters, name: str, *, needed: bool = False) -> str | None:
    """Return a text that can be catalogued."""
    value = parameters.get(name)
    if not value:
        if needed:
            raise BadRequest(f"The {name} parameter must be set")
        return None
    if FORBIDDEN.search(value):
        raise BadRequest(f"The {name} parameter has characters that XML forbids")
    return value


def number(parameters: Parameters, name: str) -> int:
    """Return a number that must be there."""
    value = parameters.get(name)
    if not value:
        raise BadRequest(f"The {name} parameter must be set")
    return _numeric(name, value)


def time(parameters: Parameters, name: str) -> datetime | None:
    """Return a time given in milliseconds since the epoch."""
    value = parameters.get(name)
    if not value:
        return None
    try:
        return datetime.fromtimestamp(_numeric(name, value) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise BadRequest(
            f"The {name} parameter '{shortened(value, _SHOWN)}' is no time"
        ) from None


def flag(parameters: Parameters, name: str) -> bool:
    """Return whether a switch is on."""
    return parameters.get(name, "").lower() == "true"


@dataclass(frozen=True, slots=True)
class Range:
    """The part of something that a caller wants."""

    first: int | None
    """``None``: it is counted from the end."""
    last: int | None
    """``None``: to the end; without a first one, how many."""

    def within(self, size: int) -> tuple[int, int] | None:
        """Return where it begins and ends in so many bytes, ``None`` if nowhere."""
        first, last = self.first, self.last
        if first is None:
            first, last = max(0, size - (last or 0)), None
        end = size if last is None else min(size, last + 1)
        return (first, end) if first < end else None


def range_(header: str | None) -> Range | None:
    """Return what a Range header wants, ``None`` without one."""
    if header is None:
        return None
    match = _RANGE.fullmatch(header.strip())
    first, last = match.groups() if match else ("", "")
    found = Range(int(first) if first else None, int(last) if last else None)
    backward = first and last and int(last) < int(first)
    if not (first or last) or backward:
        raise BadRequest(r"The range must match bytes=(\d+)-(\d*) or bytes=-(\d+)")
    return found


def length(header: str | None) -> int | None:
    """Return how long a body says it is, ``None`` if it does not."""
    return int(header) if header and _ID.fullmatch(header) else None


def _uuid(parameters: Parameters, name: str) -> str:
    value = parameters.get(name, "null")
    if _UUID.fullmatch(value) is None:
        raise BadRequest(
            f"The {name} parameter '{shortened(value, _SHOWN)}' is not a valid UUID"
        )
    return value


def _ids(name: str, value: str) -> tuple[int, ...]:
    parts = [part.strip() for part in value.split(",")]
    if not all(_ID.fullmatch(part) for part in parts):
        raise BadRequest(
            f"The {name} parameter '{shortened(value, _SHOWN)}' is not a valid string"
            " representation of a comma separated list of longs"
        )
    return tuple(dict.fromkeys(map(int, parts)))


def _numeric(name: str, value: str) -> int:
    if _ID.fullmatch(value) is None:
        raise BadRequest(f"The {name} parameter must be numeric")
    return int(value)
