"""Finding one's way in a file that is not to be trusted.

Links are looked at before they are followed, a bounded number of times: soft ones
inside the file, external ones only where that is wanted, into files held by the same
rules.  A group's names are listed only where there is
no other way: the root, for its entries, and wherever a path has a ``*``.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from h5py import h5g, h5l, h5o

from .limits import Limits
from .other_files import Home, OtherFiles
from .values import Budget, LeftOut, NoValue, TooMuch, read_attribute

ENTRY = "{entry}"
"""What stands for the default entry, as the first component of a path."""

_CLASS = re.compile(r"\{(NX\w+)(\*?)\}")
_DIGITS = re.compile("([0-9]+)")


class Tree:
    """The objects of one open file.

    Parameters
    ----------
    file
        A low-level file.
    limits
        Of what is listed and followed.
    order
        Of names: ``natural``, which is by their letters and the numbers in them, or
        ``creation``.
    folder
        Of the file.
    others
        Opens what external links lead to; ``None`` follows none.
    """

    def __init__(
        self,
        file: Any,
        limits: Limits,
        order: str = "natural",
        folder: str = "",
        others: OtherFiles | None = None,
    ) -> None:
        self._root = h5o.open(file, b"/")
        self._main = Home(self._root, folder)
        self._others = others
        self._limits = limits
        # What says which groups are entries is nothing that anybody asked for.
        self._budget = Budget(replace(limits, values=2 * limits.members + 1))
        self._order = order
        self._groups: dict[str, Any] = {"": self._root}
        self._names: dict[str, list[str]] = {}
        self._listed = 0
        self._hops = 0
        self.external: list[tuple[str, str]] = []
        """Places of external links that were met, and the files they name."""
        self.left_out: list[str] = []
        """What was met on the way and not followed, until somebody clears it."""

    def home(self, item: Any) -> Home:
        """Return the file that an object is in."""
        if self._others is None:
            return self._main
        return self._others.home(item, self._main)

    def follow(self, root: Any, path: bytes, at: str) -> Any | None:
        """Open what a path means in another file, on behalf of what is at `at`."""
        self._hops = 0
        return self._walk(root, path, at)

    def target(self, name: str, home: Home) -> str:
        """Return the name of another file as the main one would have it."""
        return name if home is self._main else os.path.join(home.folder, name)

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """Names of the NXentry groups, the default one first."""
        return self._entries[0]

    def expand(self, path: str) -> str | None:
        """Put the default entry in for ``{entry}``; ``None`` if there is no entry."""
        first, slash, rest = path.lstrip("/").partition("/")
        name, at, attribute = first.partition("@")
        if name != ENTRY:
            return "/" + path.lstrip("/")
        entries, notes = self._entries
        self.left_out += notes
        if not entries:
            return None
        return f"/{entries[0]}{at}{attribute}{slash}{rest}"

    def locate(self, path: str) -> Iterator[tuple[str, Any]]:
        """Open all objects that a path leads to, with the paths they are at."""
        # Most paths asked for are in a group that another one has led to already.
        folder, _, last = path.rpartition("/")
        if folder in self._groups and last not in ("", ".") and "*" not in last:
            yield from self._descend(folder, [last])
            return
        names = [name for name in path.split("/") if name not in ("", ".")]
        if not names:
            yield "/", self._root
        else:
            yield from self._descend("", names)

    def _descend(self, where: str, names: list[str]) -> Iterator[tuple[str, Any]]:
        name, rest = names[0], names[1:]
        for candidate in self._candidates(where, name):
            at = f"{where}/{candidate}"
            member = self._groups.get(at)
            if member is None:
                self._hops = 0
                member = self._open(self._groups[where], encoded(candidate), at)
            if member is None:
                continue
            if not rest:
                yield at, member
            elif isinstance(member, h5g.GroupID):
                self._groups[at] = member
                yield from self._descend(at, rest)

    def pass_over_links(self) -> None:
        """Take down what of the root may be an entry in another file, not followed."""
        if self._others is None:
            for name in self._members(""):
                if self._leads_away(name):
                    self._open(self._root, encoded(name), f"/{name}")

    def _candidates(self, where: str, name: str) -> list[str]:
        if found := _CLASS.fullmatch(name):
            return self._of_class(where, found[1], many=bool(found[2]))
        return self._matching(where, name) if "*" in name else [name]

    def _of_class(self, where: str, wanted: str, *, many: bool) -> list[str]:
        """Return the names of a group's members of a class, each member once."""
        found: dict[Any, str] = {}
        for name in self._members(where):
            self._hops = 0
            member = self._open(self._groups[where], encoded(name), f"{where}/{name}")
            if isinstance(member, h5g.GroupID) and self._class(member) == wanted:
                found.setdefault(member, name)
        names = list(found.values())
        if len(names) > 1 and not many:
            raise NoValue(
                f"{where or '/'} has {len(names)} groups {wanted}"
                f" ({', '.join(names[:3])}{', …' * (len(names) > 3)}), expected one;"
                f" {{{wanted}*}} stands for all of them"
            )
        return names

    def _matching(self, where: str, pattern: str) -> list[str]:
        parts = (re.escape(part) for part in pattern.split("*"))
        matches = re.compile(".*".join(parts), re.DOTALL).fullmatch
        return [name for name in self._members(where) if matches(name)]

    def _members(self, where: str) -> list[str]:
        if where in self._names:
            return self._names[where]
        group = self._groups[where]
        self._listed += group.get_num_objs()
        if self._listed > self._limits.members:
            raise TooMuch(
                f"{where or '/'} makes {self._listed:,} names to look through,"
                f" expected at most {self._limits.members:,}"
            )
        names: list[str] = []
        group.links.iterate(lambda name: names.append(decoded(name)))
        if self._order == "creation":
            self._names[where] = self._by_creation(where, names)
        else:
            self._names[where] = sorted(names, key=_natural)
        return self._names[where]

    def _by_creation(self, where: str, names: list[str]) -> list[str]:
        links = self._groups[where].links
        made = {name: links.get_info(encoded(name)) for name in names}
        if not all(info.corder_valid for info in made.values()):
            raise NoValue(
                f"{where or '/'} does not say in which order its members were made,"
                " expected a group that tracks it (track_order), or order: natural"
            )
        return sorted(names, key=lambda name: made[name].corder)

    def _open(self, group: Any, name: bytes, at: str) -> Any | None:
        """Open a member, or what its soft link means; ``None`` if there is none."""
        links = group.links
        try:
            kind = links.get_info(name).type
        except (KeyError, RuntimeError):
            if links.exists(name):
                raise
            return None
        if kind == h5l.TYPE_HARD:
            return h5o.open(group, name)
        if kind == h5l.TYPE_EXTERNAL:
            file, inside = links.get_val(name)
            return self._elsewhere(group, decoded(file), inside, at)
        if kind != h5l.TYPE_SOFT:
            raise NoValue(f"{at} is a link of a kind that only its writer knows")
        target = links.get_val(name)
        start = self.home(group).root if target.startswith(b"/") else group
        found = self._walk(start, target, at)
        if found is None:
            self.left_out.append(
                f"{at} is a soft link to {decoded(target)}, which leads to nothing"
            )
        return found

    def _elsewhere(self, group: Any, file: str, inside: bytes, at: str) -> Any | None:
        """Open what an external link means."""
        home = self.home(group)
        self.external.append((at, self.target(file, home)))
        link = f"{at} is an external link to {decoded(inside)} in {file}"
        if self._others is None:
            self.left_out.append(f"{link}, not followed without follow_links: true")
            return None
        try:
            found = self._walk(self._others.open(file, home.folder).root, inside, at)
        except LeftOut as reason:
            self.left_out.append(f"{link}, {reason.why}")
            return None
        if found is None:
            self.left_out.append(f"{link}, which leads to nothing")
        return found

    def _walk(self, found: Any, target: bytes, at: str) -> Any | None:
        """Follow the steps of a link's target."""
        self._hops += 1
        if self._hops > self._limits.soft_links:
            raise NoValue(
                f"{at} leads over more than {self._limits.soft_links} links,"
                " probably in a circle"
            )
        for step in target.split(b"/"):
            if step in (b"", b"."):
                continue
            found = (
                self._open(found, step, at) if isinstance(found, h5g.GroupID) else None
            )
            if found is None:
                break
        return found

    @cached_property
    def _entries(self) -> tuple[tuple[str, ...], list[str]]:
        """The entries, and what else may have been one."""
        before, self.left_out = self.left_out, []
        try:
            return self._list_entries(), self.left_out
        finally:
            self.left_out = before

    def _list_entries(self) -> tuple[str, ...]:
        entries = [name for name in self._members("") if self._is_entry(name)]
        default = _default(self._root, self._budget)
        if not default:
            return self._without_default(entries)
        first = self._named_entry(default, entries)
        if first is not None:
            return (first, *(name for name in entries if name != first))
        if self.left_out:
            # It is another scan's than any that is here.
            self.left_out[0] = f"@default names {default!r}: {self.left_out[0]}"
            return ()
        if len(entries) > 1:
            self.left_out.append(
                f"@default names {default!r}, which is no NXentry: {entries[0]} is"
                f" the first of {len(entries)}"
            )
        return tuple(entries)

    def _without_default(self, entries: list[str]) -> tuple[str, ...]:
        """Return the entries unless one in another file may come before them."""
        if self._others is not None:
            return tuple(entries)
        names = self._members("")
        first = names.index(entries[0]) if entries else len(names)
        links = [name for name in names[:first] if self._leads_away(name)]
        if links:
            self._open(self._root, encoded(links[0]), f"/{links[0]}")
        return tuple(entries)

    def _leads_away(self, name: str) -> bool:
        return bool(self._root.links.get_info(encoded(name)).type == h5l.TYPE_EXTERNAL)

    def _named_entry(self, name: str, entries: list[str]) -> str | None:
        """Return the name of the entry that a member of the root leads to."""
        if name in entries:
            return name
        self._hops = 0
        member = self._open(self._root, encoded(name), f"/{name}")
        if not isinstance(member, h5g.GroupID) or self._class(member) != "NXentry":
            return None
        for entry in entries:
            if self._groups[f"/{entry}"] == member:
                return entry
        self._groups[f"/{name}"] = member
        return name

    def _is_entry(self, name: str) -> bool:
        kind = self._root.links.get_info(encoded(name)).type
        if kind == h5l.TYPE_EXTERNAL and self._others is not None:
            self._hops = 0
            member = self._open(self._root, encoded(name), f"/{name}")
        elif kind == h5l.TYPE_HARD:
            member = h5o.open(self._root, encoded(name))
        else:
            return False
        if not isinstance(member, h5g.GroupID) or self._class(member) != "NXentry":
            return False
        self._groups[f"/{name}"] = member
        return True

    def _class(self, group: Any) -> Any:
        """Return what a group says that it is."""
        try:
            return read_attribute(group, "NX_class", self._budget)
        except NoValue:
            return None


def _default(root: Any, budget: Budget) -> str:
    """Return the member that ``@default`` of the root names, if it names one."""
    try:
        # Whatever text it is: it has to be that of a name.
        value = read_attribute(root, "default", budget, "latin-1")
    except NoValue:
        return ""
    if not isinstance(value, str):
        return ""
    return value.strip("/").partition("/")[0]


def _natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Sort the numbers in names as numbers: 2 before 10."""
    parts: list[str | tuple[int, str]] = list(_DIGITS.split(name))
    for at in range(1, len(parts), 2):
        digits = str(parts[at]).lstrip("0")
        parts[at] = len(digits), digits
    return parts, name


def encoded(name: str) -> bytes:
    """Make HDF5's form of a name."""
    return name.encode("utf-8", "surrogateescape")


def decoded(name: bytes) -> str:
    """Make the name of HDF5's form; what is not UTF-8 survives the way back."""
    return name.decode("utf-8", "surrogateescape")
