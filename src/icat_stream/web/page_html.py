"""Pages as HTML."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response

from icat_stream import __version__
from icat_stream.records import iso, printable

from .charts import bars, strip
from .landing_page import as_script
from .lineage_graph import graph
from .sign_ins import SignIn
from .site import Site

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# In words that people use, with a sign beside the colour.
_STATES = {
    "ingested": ("in", "✓", "in the catalogue"),
    "unchanged": ("same", "=", "unchanged"),
    "deferred": ("waiting", "◷", "waiting"),
    "rejected": ("failed", "✕", "failed"),
    "ignored": ("ignored", "-", "ignored"),
}


class Templates:
    """Makes HTML of values.

    Parameters
    ----------
    site
        Links begin with its path.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._made = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_seen,
        )
        self._made.filters |= {
            "time": _time,
            "age": _age,
            "badge": _badge,
            "number": _number,
            "size": _size,
            "seconds": _seconds,
            "lines": _lines,
            "script": as_script,
        }
        self._made.globals |= {
            "link": self.link,
            "bars": bars,
            "strip": strip,
            "graph": graph,
            "state_of": lambda outcome: _STATES[outcome][2],
            "version": __version__,
            "facility": site.settings.facility,
            "read_only": site.settings.web.read_only,
        }

    def link(self, *parts: object, **query: object) -> str:
        """Return the address of a page, with every part quoted.

        Parameters
        ----------
        parts
            Of the path.
        query
            Parameters; those that are empty or ``None`` are left out.
        """
        path = "/".join(quote(str(part), safe="") for part in parts)
        given = {k: v for k, v in query.items() if v not in (None, "")}
        text = f"{self._site.path}/{path}"
        return f"{text}?{urlencode(given)}" if given else text

    def response(
        self,
        request: Request,
        name: str,
        values: Mapping[str, Any],
        *,
        sign_in: SignIn | None,
        status: int = 200,
    ) -> Response:
        """Return a page.

        Parameters
        ----------
        request
            That it answers.
        name
            Of the template.
        values
            What it shows.
        sign_in
            Who looks at it.
        status
            Of HTTP.
        """
        query = [(k, v) for k, v in request.query_params.multi_items() if k != "format"]
        text = self._made.get_template(name).render(
            values,
            viewer=sign_in,
            here=request.url.path,
            again=lambda form: f"?{urlencode([*query, ('format', form)])}",
        )
        return Response(
            text.encode("utf-8", "backslashreplace"), status, media_type="text/html"
        )


def _seen(value: Any) -> Any:
    """Show what is not seen but may act, such as a change of direction."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def _time(value: Any) -> Markup | str:
    """Return a time for the script to bring to the viewer's zone."""
    at = _moment(value)
    if at is None:
        return "-" if value is None else str(value)
    exact = iso(_milliseconds(at), seconds=True)
    shown = at.strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time datetime="{}" title="{}">{} +00:00</time>').format(
        exact, exact, shown
    )


def _age(value: Any) -> Markup | str:
    """Return how long ago something was, with the time itself as its title."""
    at = _moment(value)
    if at is None:
        return "-"
    seconds = time.time() - at.timestamp()
    exact = iso(_milliseconds(at), seconds=True)
    words = f"{_seconds(seconds)} ago" if seconds >= 0 else f"in {_seconds(-seconds)}"
    return Markup('<time class="age" datetime="{}" title="{}">{}</time>').format(
        exact, exact, words
    )


def _moment(value: Any) -> datetime | None:
    if isinstance(value, int | float):
        try:
            return _EPOCH + timedelta(milliseconds=value)
        except OverflowError:
            return None
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return found.astimezone(UTC)
    return None


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _badge(outcome: str) -> Markup:
    name, sign, words = _STATES.get(outcome, ("ignored", "·", outcome))
    return Markup('<span class="badge {}" title="{}"><i>{}</i> {}</span>').format(
        name, outcome, sign, words
    )


def _number(value: float) -> Markup:
    # The space between thousands is ours, and not to be escaped as what is not seen.
    return Markup(f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"))  # noqa: S704


def _size(value: Any) -> str:
    if value is None:
        return "-"
    size = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _seconds(value: float) -> str:
    """Return a span of time in its two largest units."""
    if value < 1:
        return f"{value * 1000:.0f} ms" if value >= 0.001 else "0 s"
    if value < 10:
        return f"{value:.1f} s"
    whole = int(value)
    for size, unit, smaller, below in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def _lines(value: str) -> Markup:
    """Return a text of several lines, each of which shows all that is in it."""
    return Markup("\n").join(escape(printable(line)) for line in value.split("\n"))
