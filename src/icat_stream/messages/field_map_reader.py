"""Reading an object of a document's tree into a dataclass, by a table of rules."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .conversions import Conversion, Unfit, printable, shown

_MOST_EXTRAS = 20
MOST_PROBLEMS = 100
"""After so many reading ends."""
_LONGEST_NAME = 300
# Parts of a text that is a list: more is no list that anybody wrote.
_MOST_PARTS = 10_000
ABSENT = object()
"""What stands at a path where nothing stands; ``None`` is something."""
# What schema validators put into elements.
_NO_FIELDS = frozenset({"xmlns", "schemalocation", "nonamespaceschemalocation"})
Path = tuple[str, ...]
Known = dict[str, Any]
"""Names that are read, as a tree; the leaf is ``None``: all below it is taken."""


def plain_name(name: str) -> str:
    """Return a name as it is compared: snake case, camel case, attributes alike."""
    # Names that others chose are not remembered if they are many megabytes.
    return _short(name) if len(name) <= _LONGEST_NAME else _plain(name)


def _plain(name: str) -> str:
    return name.removeprefix("@").replace("_", "").replace("-", "").lower()


_short = lru_cache(maxsize=10_000)(_plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a value comes from.

    Parameters
    ----------
    paths
        Tried in turn; the first that is there counts.
    value
        Instead of a path: always this.
    """

    paths: tuple[Path, ...] = ()
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """How one field of a message is found and read.

    Parameters
    ----------
    name
        Of the field.
    sources
        Several only for lists: all that they give together.
    required
        Whether a message without it is refused.
    many
        Whether it is a list.
    convert
        For plain values; the table's otherwise.
    tables
        For objects: how each source's objects are read.
    default
        Where nothing is found, by configuration.
    split
        A text is cut at this.
    join
        All that is found becomes one text, with this between.
    """

    name: str
    sources: tuple[Source, ...]
    required: bool = False
    many: bool = False
    convert: Conversion | None = None
    tables: tuple["Table", ...] = ()
    default: Any = None
    split: str | None = None
    join: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How an object becomes a dataclass.

    Parameters
    ----------
    target
        The dataclass.
    rules
        Its fields.
    plain
        The field that is meant where a plain value stands in the object's place.
    """

    target: type
    rules: tuple[FieldRule, ...]
    plain: FieldRule | None = None


class TooManyProblems(Exception):
    """It is not worth while to look for more."""


class Reading:
    """One message being read; collects what is wrong with it, and what is empty."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.empty: list[str] = []

    def object(self, table: Table, node: Any, where: str) -> Any:
        """Return the dataclass that a table makes of an object.

        Parameters
        ----------
        table
            The rules.
        node
            The object.
        where
            Its path, with a slash at its end, for problems.
        """
        if not isinstance(node, dict):
            if table.plain is None or isinstance(node, list) or node is None:
                self._problem(where, "expected an object with fields", node)
                return None
            values = {table.plain.name: self._convert(table.plain, node, where)}
            missing = []
            for rule in table.rules:
                if rule.name not in values:
                    # Constants and defaults: there is no place to look at.
                    values[rule.name] = self._field(rule, {}, where)
                if rule.required and values[rule.name] is None:
                    missing.append(rule.name)
        else:
            members, twice = _by_plain_name(node)
            for name, first, second in twice:
                self._report(
                    f"{where}{printable(name)}: is given twice, as {printable(first)}"
                    f" and as {printable(second)}"
                )
            values, missing = {}, []
            for rule in table.rules:
                value = self._field(rule, members, where)
                if value is not None:
                    values[rule.name] = value
                elif rule.required:
                    missing.append(rule.name)
                elif not where and _is_named(rule, members):
                    self.empty.append(rule.name)
        if self.problems or any(values.get(name) is None for name in missing):
            return None
        return table.target(**{k: v for k, v in values.items() if v is not None})

    def _field(self, rule: FieldRule, members: Mapping[str, Any], where: str) -> Any:
        before = len(self.problems)
        found: list[Any] = []
        for index, source in enumerate(rule.sources):
            if source.value is not None:
                found.append(source.value)
                continue
            for place, node in _places(rule, source, members, where):
                if rule.tables:
                    if not rule.many and isinstance(node, list):
                        self._problem(place, "expected one object", node)
                        continue
                    found.append(self.object(rule.tables[index], node, f"{place}/"))
                elif rule.split is not None and isinstance(node, str):
                    parts = node.split(rule.split, _MOST_PARTS)
                    if len(parts) > _MOST_PARTS:
                        expected = f"expected at most {_MOST_PARTS} parts"
                        self._problem(place, expected, node)
                        continue
                    found += [self._convert(rule, part, place) for part in parts]
                else:
                    found.append(self._convert(rule, node, place))
        found = [value for value in found if value is not None]
        if len(self.problems) > before:
            return None
        return self._result(rule, found, members, where)

    def _result(
        self, rule: FieldRule, found: list[Any], members: Mapping[str, Any], where: str
    ) -> Any:
        if not found:
            if rule.default is not None:
                return (rule.default,) if rule.many else rule.default
            if rule.required:
                self._missing(rule, members, where)
            return None
        if rule.many:
            return tuple(found)
        if rule.join is not None:
            return rule.join.join(str(value) for value in found)
        if len(found) > 1:
            path = where + "/".join(rule.sources[0].paths[0])
            self._report(f"{path}: expected one, found {len(found)}")
            return None
        return found[0]

    def _missing(self, rule: FieldRule, members: Mapping[str, Any], where: str) -> None:
        paths = [path for source in rule.sources for path in source.paths]
        named = " or ".join(dict.fromkeys("/".join(path) for path in paths))
        for path in paths:
            there = members.get(plain_name(path[0]))
            if len(path) > 1 and there not in (None, ""):
                self._problem(f"{where}{named}", f"is required, below {path[0]}", there)
                return
        self._report(f"{where}{named}: is required")

    def _convert(self, rule: FieldRule, node: Any, where: str) -> Any:
        if rule.convert is None:
            raise TypeError(f"field {rule.name} is an object and has no conversion")
        try:
            return rule.convert(node)
        except Unfit as error:
            self._problem(where, str(error), node)
            return None

    def _report(self, problem: str) -> None:
        self.problems.append(problem)
        if len(self.problems) >= MOST_PROBLEMS:
            raise TooManyProblems

    def _problem(self, where: str, expected: str, found: Any) -> None:
        where = where.rstrip("/") or "-"
        self._report(f"{where}: {expected} (found: {shown(found)})")


def _by_plain_name(
    node: Mapping[str, Any],
) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """Return the members, and those that are there in two spellings."""
    members: dict[str, Any] = {}
    names: dict[str, str] = {}
    twice = []
    for name, value in node.items():
        known = plain_name(name)
        if known in names:
            twice.append((known, names[known], name))
        names[known] = name
        members[known] = value
    return members, twice


def _is_named(rule: FieldRule, members: Mapping[str, Any]) -> bool:
    """Whether there is something, if only null, where a field is looked for."""
    return any(
        at(members.get(plain_name(path[0]), ABSENT), path[1:]) is not ABSENT
        for source in rule.sources
        for path in source.paths
    )


def _places(
    rule: FieldRule, source: Source, members: Mapping[str, Any], where: str
) -> Iterator[tuple[str, Any]]:
    """Yield what stands at the first path that is there, or at all that are joined."""
    for path in source.paths:
        begin = members.get(plain_name(path[0]), ABSENT)
        if begin is ABSENT:
            continue
        nodes = [begin] if len(path) == 1 else list(_walk(begin, path[1:]))
        if rule.many or rule.join is not None:
            nodes = [
                item
                for node in nodes
                for item in (node if isinstance(node, list) else [node])
            ]
        place = where + "/".join(path)
        numbered = len(nodes) > 1
        there = False
        for number, node in enumerate(nodes):
            if node is not None and node != "" and node != []:
                there = True
                yield (f"{place}[{number}]" if numbered else place), node
        if there and rule.join is None:
            return


def _walk(node: Any, path: Path) -> Iterator[Any]:
    if node is ABSENT:
        return
    if not path:
        yield node
    elif isinstance(node, list):
        for item in node:
            yield from _walk(item, path)
    elif isinstance(node, dict):
        wanted = plain_name(path[0])
        for name, value in node.items():
            if plain_name(name) == wanted:
                yield from _walk(value, path[1:])


def at(tree: Any, path: Path) -> Any:
    """Return what stands at a path, the first in lists; or :data:`ABSENT`."""
    return next(_walk(tree, path), ABSENT)


def unread(tree: Any, known: Known) -> list[str]:
    """Return the paths of what is in a document and in no table, the first twenty."""
    found: dict[str, None] = {}

    def look(node: Any, known: Known, where: str) -> None:
        if len(found) > _MOST_EXTRAS:
            return
        if isinstance(node, list):
            for item in node:
                look(item, known, where)
        elif isinstance(node, dict):
            for name, value in node.items():
                plain = plain_name(name)
                if plain in known:
                    below = known[plain]
                    if below is not None:
                        look(value, below, f"{where}{name}/")
                elif plain not in _NO_FIELDS and plain != "#text":
                    found[printable(f"{where}{name}")] = None

    look(tree, known, "")
    names = list(found)
    return names[:_MOST_EXTRAS] + (["…"] if len(names) > _MOST_EXTRAS else [])
