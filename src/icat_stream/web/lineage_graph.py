"""Where a dataset came from and what was made of it, drawn as SVG."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

_BOX = (220, 32)
_GAP = (60, 12)
# More would not be read; the page says how many there are.
_MOST = 12


def graph(
    name: str,
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
    link: Callable[[Any], str],
) -> Markup:
    """Return three columns: what a dataset was made from, itself, what it became.

    Parameters
    ----------
    name
        Of the dataset.
    inputs, outputs
        Each with ``id`` and ``name``.
    link
        Returns the address of a dataset.
    """
    left, right = inputs[:_MOST], outputs[:_MOST]
    rows = max(len(left), len(right), 1)
    height = rows * (_BOX[1] + _GAP[1]) - _GAP[1] + 4
    width = 3 * _BOX[0] + 2 * _GAP[0] + 4
    middle = (height - _BOX[1]) / 2
    columns = [2 + n * (_BOX[0] + _GAP[0]) for n in range(3)]
    parts = [
        Markup(
            '<svg class="lineage" viewBox="0 0 {} {}" width="{}" height="{}"'
            ' role="group" aria-label="Made from {} datasets, and {} were made of it">'
        ).format(width, height, width, height, len(inputs), len(outputs))
    ]
    for column, listed in ((0, left), (2, right)):
        top = (height - len(listed) * (_BOX[1] + _GAP[1]) + _GAP[1]) / 2
        for place, each in enumerate(listed):
            y = top + place * (_BOX[1] + _GAP[1])
            ends = (
                (columns[0] + _BOX[0], y, columns[1], middle)
                if column == 0
                else (columns[1] + _BOX[0], middle, columns[2], y)
            )
            parts += [
                _line(*ends),
                Markup('<a href="{}">').format(link(each["id"])),
                _box(columns[column], y, each["name"], "other"),
                Markup("</a>"),
            ]
    parts.append(_box(columns[1], middle, name, "this"))
    return Markup("").join([*parts, Markup("</svg>")])


def _line(x1: float, y1: float, x2: float, y2: float) -> Markup:
    half = _BOX[1] / 2
    bend = (x1 + x2) / 2
    return Markup(
        '<path d="M{:.0f} {:.0f}C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}"/>'
    ).format(x1, y1 + half, bend, y1 + half, bend, y2 + half, x2, y2 + half)


def _box(x: float, y: float, name: str, kind: str) -> Markup:
    shown = name if len(name) <= 28 else f"{name[:12]}…{name[-15:]}"
    return Markup(
        '<g class="{}"><rect x="{:.0f}" y="{:.0f}" width="{}" height="{}" rx="4"/>'
        '<text x="{:.0f}" y="{:.0f}">{}</text><title>{}</title></g>'
    ).format(kind, x, y, *_BOX, x + _BOX[0] / 2, y + 21, shown, name)
