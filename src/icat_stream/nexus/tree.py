"""Finding one's way in a file that is not to be trusted.

Links are looked at before they are followed: soft ones a bounded number of times and
inside the file, external ones never.  A group's names are listed only where there is
no other way: the root, for its entries, and wherever a path has a ``*``.
"""

import re
from collections.abc import Iterator
from typing import Any

from h5py import h5g, h5l, h5o

from .limits import Limits
from .values import Budget, NoValue, TooMuch, read_attribute

_ENTRY = "{entry}"


class Tree:
    """The objects of one open file.

    Parameters
    ----------
    file
        A low-level file.
    limits
        Of what is listed and followed.
    budget
        For the attributes that say which groups are entries.
    """

    def __init__(self, file: Any, limits: Limits, budget: Budget) -> None:
        self._root = h5o.open(file, b"/")
        self._limits = limits
        self._groups: dict[str, Any] = {"": self._root}
        self._names: dict[str, list[str]] = {}
        self._listed = 0
        self._hops = 0
        self.external: list[tuple[str, str]] = []
        """Places of external links that were met, and the files they name."""
        self.entries: tuple[str, ...] = self._list_entries(budget)
        """Names of the NXentry groups, the default one first."""

    def expand(self, path: str) -> str | None:
        """Put the default entry in for ``{entry}``; ``None`` if there is no entry."""
        first, slash, rest = path.lstrip("/").partition("/")
        name, at, attribute = first.partition("@")
        if name != _ENTRY:
            return "/" + path.lstrip("/")
        if not self.entries:
            return None
        return f"/{self.entries[0]}{at}{attribute}{slash}{rest}"

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
        for candidate in self._matching(where, name) if "*" in name else [name]:
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
        self._names[where] = sorted(names)
        return self._names[where]

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
            file, _ = links.get_val(name)
            self.external.append((at, decoded(file)))
            return None
        if kind != h5l.TYPE_SOFT:
            raise NoValue(f"{at} is a link of a kind that only its writer knows")
        self._hops += 1
        if self._hops > self._limits.soft_links:
            raise NoValue(
                f"{at} leads over more than {self._limits.soft_links} soft links,"
                " probably in a circle"
            )
        target = links.get_val(name)
        found = self._root if target.startswith(b"/") else group
        for step in target.split(b"/"):
            if step in (b"", b"."):
                continue
            if not isinstance(found, h5g.GroupID):
                return None
            found = self._open(found, step, at)
        return found

    def _list_entries(self, budget: Budget) -> tuple[str, ...]:
        entries = [name for name in self._members("") if self._is_entry(name, budget)]
        default = _text(self._root, "default", budget).strip("/").partition("/")[0]
        return tuple(sorted(entries, key=lambda name: name != default))

    def _is_entry(self, name: str, budget: Budget) -> bool:
        if self._root.links.get_info(encoded(name)).type != h5l.TYPE_HARD:
            return False
        member = h5o.open(self._root, encoded(name))
        if not isinstance(member, h5g.GroupID):
            return False
        self._groups[f"/{name}"] = member
        return _text(member, "NX_class", budget) == "NXentry"


def _text(found: Any, attribute: str, budget: Budget) -> str:
    """Return an attribute, or nothing where it is no text and so names nothing."""
    try:
        value = read_attribute(found, attribute, budget)
    except NoValue:
        return ""
    return value if isinstance(value, str) else ""


def encoded(name: str) -> bytes:
    """Make HDF5's form of a name."""
    return name.encode("utf-8", "surrogateescape")


def decoded(name: bytes) -> str:
    """Make the name of HDF5's form; what is not UTF-8 survives the way back."""
    return name.decode("utf-8", "surrogateescape")
