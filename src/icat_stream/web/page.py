"""A page: one set of values, shown as HTML, JSON or CSV."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from icat_stream.icat import IcatFault
from icat_stream.records import Failure

from .sign_ins import SignIn
from .site import Site

_T = TypeVar("_T")


class NotThere(Exception):
    """The page is not there, or this person may not see it; the text names it."""


class Unfit(Exception):
    """What was asked cannot be asked; the text says what can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page shows.

    Parameters
    ----------
    template
        Makes HTML of it.
    title
        Of the page.
    values
        What it is about: the same in HTML and JSON.
    table
        Which of the values is a table: rows for CSV.
    status
        Of HTTP.
    """

    template: str
    title: str
    values: Mapping[str, Any]
    table: str | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The address, below the site's, of a page to go on with."""

    address: str


@dataclass(slots=True)
class PageRequest:
    """A request for a page, and who makes it.

    Parameters
    ----------
    site
        What there is.
    request
        As it came.
    sign_in
        Who asks.
    form
        What was sent with it.
    missing
        Systems that did not answer, with the reason; the page shows the rest.
    """

    site: Site
    request: Request
    sign_in: SignIn
    form: Mapping[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def part(self, system: str, call: Callable[[], _T]) -> _T | None:
        """Return a part of the page; ``None`` if its system does not answer."""
        if system in self.missing:
            return None
        try:
            return call()
        except (Failure, IcatFault) as failure:
            self.missing[system] = str(failure)
            return None

    def path(self, name: str) -> str:
        """Return a part of the address."""
        return str(self.request.path_params[name])

    def number(self, name: str) -> int:
        """Return a part of the address that is an id.

        Raises
        ------
        NotThere
            It cannot be one.
        """
        text = self.path(name)
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise NotThere(f"“{text[:40]}” is no number of anything in the catalogue.")
        return int(text)

    def query(self, name: str, longest: int = 500) -> str:
        """Return a parameter of the address without spaces around it; or nothing.

        Raises
        ------
        Unfit
            It is longer than anything that can be looked for.
        """
        text = self.request.query_params.get(name, "").strip()
        if len(text) > longest:
            raise Unfit(f"{name} has {len(text)} characters; at most {longest} can be.")
        return text.replace("\0", "")


def wanted(request: Request) -> str:
    """Return ``html``, ``json`` or ``csv``, as the address or Accept asks for."""
    named = request.query_params.get("format")
    if named in ("json", "csv", "html"):
        return named
    accepted = request.headers.get("accept", "")
    if "text/html" in accepted:
        return "html"
    if "application/json" in accepted:
        return "json"
    return "csv" if "text/csv" in accepted else "html"


def as_json(values: Mapping[str, Any], status: int = 200) -> Response:
    """Return values as JSON."""
    text = json.dumps(values, ensure_ascii=False, default=str)
    return Response(
        text.encode("utf-8", "backslashreplace"), status, media_type="application/json"
    )


def as_csv(rows: Sequence[Mapping[str, Any]]) -> Response:
    """Return rows as CSV that a spreadsheet does not take for formulas."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
    content = text.getvalue().encode("utf-8", "backslashreplace")
    return Response(content, media_type="text/csv; charset=utf-8")


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list | tuple):
        value = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
