"""Reading the paths asked for, and nothing else, from an open file."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from h5py import h5d

from icat_stream.records import Rejection

from .hdf5 import HDF5_ERRORS
from .other_files import OtherFiles
from .tree import ENTRY, Tree
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
from .virtual import VirtualDataset, sources

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
    others: OtherFiles | None = None,
    aligned: bool = False,
    each_entry: bool = False,
) -> Found:
    """Read what is at the paths asked for.

    Parameters
    ----------
    file
        An open low-level file.
    path
        Of the file.
    asked
        Paths inside it.
    budget
        What may be read.
    settled_when
        A path that must be there for anything to be read.
    encoding, order, aligned, each_entry
        See :class:`~icat_stream.records.FieldPath`.
    others
        Opens the files that it refers to; ``None`` leaves them alone.
    """
    found = Found()
    try:
        tree = Tree(file, budget.limits, order, os.path.dirname(path), others)
        if settled_when is not None:
            place = tree.expand(settled_when)
            found.settled = place is not None and any(True for _ in tree.locate(place))
            if not found.settled:
                return found
        reading = _Reading(tree, budget, encoding, others, found, aligned)
        if each_entry:
            reading.take_each_entry(asked)
        else:
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
    budget, encoding, others
        What may be read, and how.
    found
        Is filled.
    aligned
        Whether what has no value at a match of ``*`` keeps its place.
    """

    def __init__(
        self,
        tree: Tree,
        budget: Budget,
        encoding: str | None,
        others: OtherFiles | None,
        found: Found,
        aligned: bool,
    ) -> None:
        self._tree = tree
        self._budget = budget
        self._encoding = encoding
        self._others = others
        self._found = found
        self._aligned = aligned

    def take_each_entry(self, asked: Collection[str]) -> None:
        """Read all that paths mean in each NXentry."""
        tree = self._tree
        tree.left_out = []
        tree.pass_over_links()
        if tree.left_out:
            self._found.notes[ENTRY] = _summary(tree.left_out)
        for one in asked:
            rest = one.lstrip("/").removeprefix(ENTRY)
            for entry in tree.entries:
                self.take(f"/{entry}{rest}")

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
        if self._aligned and "*" in place:
            return self._read_aligned(*((where, attribute) if at else (place, "")))
        if not at:
            return self._read_all(place, "")
        # Few names have an @ in them, but nothing forbids it.
        return self._read_all(where, attribute) or self._read_all(place, "")

    def _read_aligned(self, where: str, attribute: str) -> list[str]:
        """Read one value for each match of the last ``*``.

        Returns
        -------
        :
            Where each is, or would be.
        """
        star = where.rindex("*")
        end = where.find("/", star)
        head, rest = (where, "") if end < 0 else (where[:end], where[end:])
        names = []
        for location, _ in list(self._tree.locate(head)):
            place = f"{location}{rest}"
            inside = (f"{location}/", f"{location}@")
            try:
                found = self._read_all(place, attribute)
            except NoValue as reason:
                self._tree.left_out.append(reason.why)
                found = []
            name = next(
                (one for one in found if one == location or one.startswith(inside)),
                f"{place}@{attribute}" if attribute else place,
            )
            value = self._found.values.get(name, ((), None))[0]
            if isinstance(value, tuple) and value:
                raise NoValue(
                    f"{name} holds {len(value):,} values, expected one at each match of"
                    " *, as the variable is aligned"
                )
            names.append(name)
        return names

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
        found: Any = item
        if not check_layout(item, budget.limits):
            found = self._virtual(item, location)
        value = read_value(found, budget, encoding)
        return None if value is None else (value, read_units(item, budget, encoding))

    def _virtual(self, item: Any, location: str) -> VirtualDataset:
        limits = self._budget.limits
        home = self._tree.home(item)
        names = sources(item, limits)
        self._found.targets += [
            (location, self._tree.target(name, home)) for name in names
        ]
        if self._others is None:
            raise LeftOut(
                f"is a virtual dataset of {', '.join(names[:_REASONS])}"
                + (f" and {len(names) - _REASONS} more" * (len(names) > _REASONS))
                + ", which is not read without follow_links: true"
            )
        return VirtualDataset(item, self._tree, self._others, limits)


def _summary(reasons: list[str]) -> str:
    more = len(reasons) - _REASONS
    return "; ".join(reasons[:_REASONS]) + (f"; and {more} more" if more > 0 else "")
