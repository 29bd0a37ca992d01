"""Reading the paths asked for, and nothing else, from an open file."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from h5py import h5d

from icat_stream.records import Rejection

from .hdf5 import HDF5_ERRORS
from .tree import ENTRY, Tree, decoded
from .values import (
    Budget,
    LeftOut,
    NoValue,
    TooMuch,
    Value,
    check_layout,
    read_attribute,
    read_units,
    read_value,
)

_NUMBERED = re.compile(r"(?<!%)%\d*b")


# Reasons that one note names.
_REASONS = 3


@dataclass(slots=True)
class Found:
    """What the file says.

    Parameters
    ----------
    settled
        Whether the path that tells the end of writing is there; if not, nothing
        else was read.
    entries
        Names of the NXentry groups, the default one first.
    values
        Value and units by the path in the file.
    asked
        For each path asked for, the paths in the file that it means, in order.
    refused
        Why there is no value, for paths in the file and for those asked for that
        mean them.
    notes
        For paths asked for, what was left out on the way to them.
    targets
        Places of external links and virtual datasets, and the files they name.
    """

    settled: bool = True
    entries: tuple[str, ...] = ()
    values: dict[str, tuple[Value, str | None]] = field(default_factory=dict)
    asked: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    targets: list[tuple[str, str]] = field(default_factory=list)


def read(
    file: Any,
    path: str,
    asked: Collection[str],
    budget: Budget,
    *,
    settled_when: str | None = None,
    encoding: str | None = None,
    order: str = "natural",
) -> Found:
    """Read what is at the paths asked for.

    Parameters
    ----------
    file
        An open low-level file.
    path
        Of the file, for errors.
    asked
        Paths inside it.
    budget
        What may be read.
    settled_when
        A path that must be there for anything to be read.
    encoding, order
        See :class:`~icat_stream.records.FieldPath`.
    """
    found = Found()
    try:
        tree = Tree(file, budget.limits, order)
        if settled_when is not None:
            place = tree.expand(settled_when)
            found.settled = place is not None and any(True for _ in tree.locate(place))
            if not found.settled:
                return found
        reading = _Reading(tree, budget, encoding, found)
        for one in asked:
            reading.take(one)
        if any(one.lstrip("/").startswith(ENTRY) for one in asked):
            found.entries = tree.entries
    except (TooMuch, NoValue) as reason:
        raise Rejection(f"{path}: {reason.why}") from reason
    found.targets = list(dict.fromkeys([*found.targets, *tree.external]))
    return found


class _Reading:
    """One look at a file, and what it gives.

    Parameters
    ----------
    tree
        Leads to what is asked for.
    budget, encoding
        What may be read, and how.
    found
        Is filled.
    """

    def __init__(
        self, tree: Tree, budget: Budget, encoding: str | None, found: Found
    ) -> None:
        self._tree = tree
        self._budget = budget
        self._encoding = encoding
        self._found = found

    def take(self, asked: str) -> None:
        """Read all that one path means."""
        left_out = self._tree.left_out = []
        try:
            place = self._tree.expand(asked)
            names = [] if place is None else self._places(place)
        except NoValue as reason:
            self._found.refused[asked] = reason.why
            return
        if names:
            self._found.asked[asked] = names
        if left_out:
            self._found.notes[asked] = _summary(left_out)

    def _places(self, place: str) -> list[str]:
        """Read all that one path without ``{entry}`` means and return where it is."""
        where, at, attribute = place.rpartition("@")
        if not at:
            return self._read_all(place, "")
        # Few names have an @ in them, but nothing forbids it.
        return self._read_all(where, attribute) or self._read_all(place, "")

    def _read_all(self, where: str, attribute: str) -> list[str]:
        any_name = "*" in where.rpartition("/")[2]
        found = self._found
        names = []
        for location, item in self._tree.locate(where):
            name = f"{location}@{attribute}" if attribute else location
            if name not in found.values:
                try:
                    value = self._read(item, attribute, location)
                except NoValue as reason:
                    why = f"{name} {reason.why}"
                    if any_name or isinstance(reason, LeftOut):
                        self._tree.left_out.append(why)
                        continue
                    found.refused[name] = why
                    raise NoValue(why) from reason
                except HDF5_ERRORS as error:
                    raise OSError(f"{name}: {error}") from error
                if value is None:
                    continue
                found.values[name] = value
            names.append(name)
        return names

    def _read(
        self, item: Any, attribute: str, location: str
    ) -> tuple[Value, str | None] | None:
        budget, encoding = self._budget, self._encoding
        if attribute:
            value = read_attribute(item, attribute, budget, encoding)
            return None if value is None else (value, None)
        if not isinstance(item, h5d.DatasetID):
            raise NoValue("is a group, expected a value")
        if not check_layout(item, budget.limits):
            sources = _sources(item, budget)
            self._found.targets += [(location, name) for name in sources]
            raise LeftOut(
                f"is a virtual dataset of {', '.join(sources[:_REASONS]) or 'nothing'}"
                + (f" and {len(sources) - _REASONS} more" * (len(sources) > _REASONS))
                + ", which is not read"
            )
        value = read_value(item, budget, encoding)
        return None if value is None else (value, read_units(item, budget, encoding))


def _summary(reasons: list[str]) -> str:
    more = len(reasons) - _REASONS
    return "; ".join(reasons[:_REASONS]) + (f"; and {more} more" if more > 0 else "")


def _sources(dataset: Any, budget: Budget) -> list[str]:
    """Names of the other files that a virtual dataset is made of."""
    properties = dataset.get_create_plist()
    count = properties.get_virtual_count()
    if count > budget.limits.members:
        raise NoValue(
            f"is made of {count:,} sources, expected at most {budget.limits.members:,}"
        )
    names = {properties.get_virtual_filename(number) for number in range(count)}
    texts = {decoded(name) if isinstance(name, bytes) else name for name in names}
    if any(_NUMBERED.search(text) for text in texts):
        raise NoValue("names its sources by a pattern (%b), expected their names")
    return sorted(texts - {"."})
