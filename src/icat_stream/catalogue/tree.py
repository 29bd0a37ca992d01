"""A planned object with its branches, as XML, and beside what the catalogue holds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from icat_stream.icat import value_text
from icat_stream.records import Change

from .dataset_diff import shown
from .dataset_xml import reference
from .equality import same

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A planned object.

    Parameters
    ----------
    entity, label
        What it is; the label is for people.
    matches
        Whether a row of the catalogue is this object.
    values
        Its attributes; ``None`` for one that shall be empty.
    references
        Ids of its to-one relations.
    fixed
        Further fields as XML that never change.
    branches
        What hangs on it.
    """

    entity: str
    label: str
    matches: Callable[[Row], bool]
    values: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, int] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    branches: tuple["Branch", ...] = ()

    def content(self) -> str:
        """Return it with everything below as XML content of a bean."""
        parts = [
            (name, f"<{name}>{value_text(value)}</{name}>")
            for name, value in self.values.items()
            if value is not None
        ]
        parts += [
            (tag, reference(tag, number)) for tag, number in self.references.items()
        ]
        parts += self.fixed.items()
        for branch in self.branches:
            tag = branch.relation
            parts += [(tag, f"<{tag}>{n.content()}</{tag}>") for n in branch.nodes]
        # The order does not matter to ICAT; python-icat's is the alphabet's.
        return "".join(text for _, text in sorted(parts, key=lambda part: part[0]))

    def all(self) -> Iterator["Node"]:
        """Yield it and everything below."""
        yield self
        for branch in self.branches:
            for node in branch.nodes:
                yield from node.all()


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Objects of one to-many relation.

    Parameters
    ----------
    relation, back
        Its name, and the name of the relation back.
    entity
        Of the objects.
    nodes
        Planned.
    label
        What a row of the catalogue is for people.
    removes
        Whether a row that is not planned goes.
    """

    relation: str
    back: str
    entity: str
    nodes: tuple[Node, ...]
    label: Callable[[Row], str]
    removes: Callable[[Row], bool] = lambda _: False


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """An object that is there and differs; fields give found and planned."""

    entity: str
    id: int
    label: str
    fields: Mapping[str, tuple[Any, Any]]


@dataclass(slots=True)
class Work:
    """What brings the catalogue to a plan.

    Parameters
    ----------
    creates
        Objects with their owner: relation and id.
    updates
        Objects that differ.
    deletes
        Entity, id and label of what goes.
    same, extra
        Labels of what is as planned, and of what is there beside it.
    """

    creates: list[tuple[Node, str, int]] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    deletes: list[tuple[str, int, str]] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.creates or self.updates or self.deletes)

    def changes(self) -> Iterator[Change]:
        """Yield the differences as a person reads them."""
        for update in self.updates:
            for name, (found, planned) in update.fields.items():
                yield Change(
                    what=update.label,
                    kind="changed",
                    field=name,
                    found=shown(found),
                    planned=shown(planned),
                )
        for node, _, _ in self.creates:
            yield from new(node)
        for _, _, label in self.deletes:
            yield Change(
                what=label, kind="changed", field="-", found="there", planned="removed"
            )
        for label in self.same:
            yield Change(what=label, kind="unchanged")
        for label in self.extra:
            yield Change(what=label, kind="extra")


def new(node: Node) -> Iterator[Change]:
    """Yield the differences where nothing of an object is there."""
    for each in node.all():
        yield Change(what=each.label, kind="new")


def compare(node: Node, row: Row, work: Work | None = None) -> Work:
    """Return what brings a row of the catalogue to its plan.

    Parameters
    ----------
    node
        Planned.
    row
        With the relations of all branches.
    work
        To which it is added.
    """
    work = Work() if work is None else work
    fields = {
        name: (row.get(name), value)
        for name, value in node.values.items()
        if not _holds(value, row.get(name))
    }
    for name, number in node.references.items():
        held = (row.get(name) or {}).get("id")
        if held != number:
            fields[name] = (held, number)
    number = int(row["id"])
    if fields:
        work.updates.append(
            Update(entity=node.entity, id=number, label=node.label, fields=fields)
        )
    else:
        work.same.append(node.label)
    for branch in node.branches:
        left = list(row.get(branch.relation) or ())
        for child in branch.nodes:
            found = next((held for held in left if child.matches(held)), None)
            if found is None:
                work.creates.append((child, branch.back, number))
            else:
                left.remove(found)
                compare(child, found, work)
        for held in left:
            if branch.removes(held):
                work.deletes.append(
                    (branch.entity, int(held["id"]), branch.label(held))
                )
            else:
                work.extra.append(branch.label(held))
    return work


def _holds(planned: Any, found: Any) -> bool:
    if planned is None:
        return found is None or found == ""
    return same(planned, found)
