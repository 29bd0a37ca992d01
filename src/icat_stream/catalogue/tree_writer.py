"""Bringing one tree of the catalogue to its plan, whatever is there already."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from icat_stream.icat import (
    IcatFault,
    ResultUnknown,
    Schema,
    Session,
    entities,
    fingerprint,
    passing,
    select,
)
from icat_stream.records import Change, Rejection, TransientFailure

from .dataset_xml import reference, rewritten
from .fault_memory import FaultMemory
from .reference_cache import ReferenceCache
from .tree import Node, Row, Work, compare, new

_log = logging.getLogger(__name__)
_ROUNDS = 6
# Somebody else was quicker: what is there now tells what is left to do.
_OVERTAKEN = {"OBJECT_ALREADY_EXISTS", "NO_SUCH_OBJECT_FOUND"}
_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTree:
    """A plan, resolved.

    Parameters
    ----------
    node
        The object and what hangs on it.
    row
        What the catalogue holds of it.
    forbidden
        Why it may not be created, if so.
    """

    node: Node
    row: Row | None
    forbidden: str | None = None


@dataclass(slots=True, kw_only=True)
class TreeWriter:
    """One tree's way into the catalogue.

    Parameters
    ----------
    session
        Of the lane.
    schema, references, memory
        Of the catalogue.
    written
        Lines that say what was written.
    """

    session: Session
    schema: Schema
    references: ReferenceCache
    memory: FaultMemory
    written: list[str] = field(default_factory=list)

    def diff(self, seed: ResolvedTree) -> Sequence[Change]:
        """Return a plan beside what is there."""
        if seed.row is None:
            if seed.forbidden is not None:
                raise Rejection(seed.forbidden)
            return tuple(new(seed.node))
        return tuple(compare(seed.node, seed.row).changes())

    def bring(self, look: Callable[[], ResolvedTree], doing: str, digest: str) -> int:
        """Bring the catalogue to a plan and return the object's id.

        Parameters
        ----------
        look
            Resolves the plan and reads what is there; called again after a write
            whose result is unknown.
        doing
            What is planned, for people.
        digest
            Of the plan: tells one that fails from another.

        Raises
        ------
        Failure
            It could not be done, or not yet.
        """
        unknown: ResultUnknown | None = None
        overtaken: IcatFault | None = None
        for _ in range(_ROUNDS):
            seed = look()
            try:
                if seed.row is None:
                    if seed.forbidden is not None:
                        raise Rejection(seed.forbidden)
                    return self._create(seed.node, doing)
                work = compare(seed.node, seed.row)
                if work:
                    self._write(work)
                elif unknown is not None:
                    self.written.append(f"{doing} (read back)")
                return int(seed.row["id"])
            except ResultUnknown as error:
                _log.info("%s: %s; reading back", doing, error.reason)
                unknown = error
            except IcatFault as fault:
                if fault.kind not in _OVERTAKEN:
                    raise self._refused(fault, doing, digest) from fault
                # An id from the cache may be of something that was deleted.
                self.references.forget()
                overtaken = fault
        if unknown is not None:
            raise TransientFailure(
                f"{doing}: no answer to a write ({unknown.reason}), and it is not"
                " there (yet) when read back"
            ) from unknown
        if overtaken is not None and overtaken.kind == "OBJECT_ALREADY_EXISTS":
            # It may have seen another's transaction, which was undone since.
            raise TransientFailure(
                f"{doing}: ICAT says {overtaken.message.strip()!r}, but nothing of"
                " exactly that name is found: does it differ in case or in blanks at"
                " its end, or may our account not read it?"
            ) from overtaken
        raise TransientFailure(
            f"{doing}: still not as planned after {_ROUNDS} rounds: others write it,"
            " too"
        )

    def _create(self, node: Node, doing: str) -> int:
        count = sum(1 for _ in node.all())
        number = self.session.create(node.entity, node.content(), count)
        below = f" with {count - 1} objects below it" if count > 1 else ""
        self.written.append(f"{doing} created{below}")
        return number

    def _write(self, work: Work) -> None:
        by_entity: dict[str, list[tuple[int, str]]] = {}
        for entity, number, label in work.deletes:
            by_entity.setdefault(entity, []).append((number, label))
        for entity, gone in by_entity.items():
            self.session.delete_many(entity, [number for number, _ in gone])
            self.written += [f"{label} removed" for _, label in gone]
        for update in work.updates:
            changes = {name: planned for name, (_, planned) in update.fields.items()}
            query = select(update.entity, f"o.id = {update.id}", then="INCLUDE 1")
            rows = entities(self.session.search(query, update.entity))
            if not rows:
                raise IcatFault("NO_SUCH_OBJECT_FOUND", f"{update.label} went away")
            self.session.update(
                update.entity, rewritten(self.schema, update.entity, rows[0], changes)
            )
            self.written.append(f"{update.label}: {', '.join(changes)} updated")
        pairs = [
            (node.entity, node.content() + reference(back, number))
            for node, back, number in work.creates
        ]
        for start in range(0, len(pairs), _BATCH):
            batch = pairs[start : start + _BATCH]
            self.session.create_many(batch[0][0], batch)
        self.written += [f"{node.label} created" for node, _, _ in work.creates]

    def _refused(self, fault: IcatFault, doing: str, digest: str) -> Exception:
        self.references.forget()
        failure = self.session.failure(fault, f"to write {doing}")
        # Other kinds have causes that others can take away, such as a session.
        if (
            fault.kind == "INTERNAL"
            and isinstance(failure, TransientFailure)
            and not passing(fault)
            and self.memory.is_permanent(f"{doing}\0{digest}", fingerprint(fault))
        ):
            return Rejection(f"{failure.reason} (the same again, and to nothing else)")
        return failure
