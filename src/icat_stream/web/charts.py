"""Charts as SVG, each bar a link to what is behind it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from icat_stream.records import iso

_HEIGHT = 120
_WIDTH = 960
# From below.
_ORDER = ("ingested", "unchanged", "ignored", "deferred", "rejected")


def bars(
    intervals: Iterable[Mapping[str, Any]],
    *,
    since: int,
    width: int,
    count: int,
    label: str,
    link: Callable[[int, int, str], str],
) -> Markup:
    """Return stacked bars.

    Parameters
    ----------
    intervals
        Each with ``begin``, ``outcome`` and ``rows``.
    since, width, count
        Where the first interval begins, how long each is (milliseconds), how many.
    label
        What the chart tells, for who cannot see it.
    link
        Returns the address of what is behind a bar: from, until, outcome.
    """
    found: dict[int, dict[str, int]] = {}
    for each in intervals:
        place = (each["begin"] - since) // width
        if 0 <= place < count:
            bar = found.setdefault(place, {})
            bar[each["outcome"]] = bar.get(each["outcome"], 0) + each["rows"]
    most = max((sum(bar.values()) for bar in found.values()), default=0)
    step = _WIDTH / count
    parts = [
        Markup(
            '<svg class="bars" viewBox="0 0 {} {}" preserveAspectRatio="none"'
            ' role="group" aria-label="{}">'
        ).format(_WIDTH, _HEIGHT, label)
    ]
    for place, bar in sorted(found.items()):
        below = 0.0
        begin = since + place * width
        for outcome in _ORDER:
            rows = bar.get(outcome, 0)
            if not rows:
                continue
            said = f"{rows} {outcome}, {iso(begin, seconds=True)}"
            # One failure among thousands is to be seen.
            height = max(3.0, rows / most * (_HEIGHT - 12))
            parts.append(
                Markup(
                    # By keyboard one goes through the table instead.
                    '<a href="{}" tabindex="-1" aria-label="{}"><rect class="{}"'
                    ' x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                    "<title>{}</title></rect></a>"
                ).format(
                    link(begin, begin + width, outcome),
                    said,
                    outcome,
                    place * step + 1,
                    _HEIGHT - below - height,
                    step - 2,
                    height,
                    said,
                )
            )
            below += height
    return Markup("").join([*parts, Markup("</svg>")])


def strip(
    marks: Sequence[Mapping[str, Any]],
    *,
    begin: int,
    end: int,
    label: str,
    link: Callable[[Any], str],
) -> Markup:
    """Return a strip of time with a mark for each thing.

    Parameters
    ----------
    marks
        Each with ``at`` (milliseconds), ``outcome``, ``name`` and, where it is in the
        catalogue, ``dataset``.
    begin, end
        Of the strip, milliseconds.
    label
        What it tells, for who cannot see it.
    link
        Returns the address of a dataset.
    """
    span = max(1, end - begin)
    parts = [
        Markup(
            '<svg class="strip" viewBox="0 0 {} 32" preserveAspectRatio="none"'
            ' role="group" aria-label="{}"><rect class="ground" x="0" y="14" width="{}"'
            ' height="4"/>'
        ).format(_WIDTH, label, _WIDTH)
    ]
    for mark in marks:
        place = (mark["at"] - begin) / span * (_WIDTH - 8)
        parts.append(
            Markup(
                '<a href="{}" tabindex="-1" aria-label="{}"><rect class="{}" x="{:.1f}"'
                ' y="4" width="6" height="24"><title>{}</title></rect></a>'
            ).format(
                "#not-in" if mark["dataset"] is None else link(mark["dataset"]),
                mark["name"],
                mark["outcome"],
                min(max(place, 0.0), _WIDTH - 6.0),
                mark["name"],
            )
        )
    return Markup("").join([*parts, Markup("</svg>")])
