"""Reading the paths asked for, and nothing else, from an open file."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from h5py import h5d

from icat_stream.records import Rejection

from .hdf5 import HDF5_ERRORS
from .limits import Limits
from .tree import Tree, decoded
from .values import (
    Budget,
    NoValue,
    TooMuch,
    Value,
    check_layout,
    read_attribute,
    read_units,
    read_value,
)

_NUMBERED = re.compile(r"(?<!%)%\d*b")


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
    targets
        Places of external links and virtual datasets, and the files they name.
    """

    settled: bool = True
    entries: tuple[str, ...] = ()
    values: dict[str, tuple[Value, str | None]] = field(default_factory=dict)
    asked: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    targets: list[tuple[str, str]] = field(default_factory=list)


def read(
    file: Any,
    path: str,
    asked: Collection[str],
    *,
    settled_when: str | None,
    limits: Limits,
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
    settled_when
        A path that must be there for anything to be read.
    limits
        Of what is read.
    """
    budget = Budget(limits)
    try:
        tree = Tree(file, limits, budget)
        found = Found(entries=tree.entries)
        if settled_when is not None:
            place = tree.expand(settled_when)
            found.settled = place is not None and any(True for _ in tree.locate(place))
            if not found.settled:
                return found
        for one in asked:
            place = tree.expand(one)
            if place is None:
                continue
            try:
                names = _take(tree, place, budget, found)
            except NoValue as reason:
                found.refused[one] = reason.why
                continue
            if names:
                found.asked[one] = names
    except (TooMuch, NoValue) as reason:
        raise Rejection(f"{path}: {reason.why}") from reason
    found.targets = list(dict.fromkeys([*found.targets, *tree.external]))
    return found


def _take(tree: Tree, place: str, budget: Budget, found: Found) -> list[str]:
    """Read all that one path without ``{entry}`` means and return where that is."""
    where, at, attribute = place.rpartition("@")
    if not at:
        where, attribute = place, ""
    any_name = "*" in where.rpartition("/")[2]
    names = []
    for location, item in tree.locate(where):
        name = location + at + attribute
        if name not in found.values:
            try:
                value = _read(item, attribute, location, budget, found)
            except NoValue as reason:
                # A wildcard meets groups and detector data, which nobody asked for.
                if any_name:
                    continue
                found.refused[name] = f"{name} {reason.why}"
                raise NoValue(found.refused[name]) from reason
            except HDF5_ERRORS as error:
                raise OSError(f"{name}: {error}") from error
            if value is None:
                continue
            found.values[name] = value
        names.append(name)
    return names


def _read(
    item: Any, attribute: str, location: str, budget: Budget, found: Found
) -> tuple[Value, str | None] | None:
    if attribute:
        value = read_attribute(item, attribute, budget)
        return None if value is None else (value, None)
    if not isinstance(item, h5d.DatasetID):
        raise NoValue("is a group, expected a value")
    if not check_layout(item, budget.limits):
        found.targets += [(location, name) for name in _sources(item, budget)]
        return None
    value = read_value(item, budget)
    return None if value is None else (value, read_units(item, budget))


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
