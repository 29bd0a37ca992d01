"""Bringing a user or an investigation of the catalogue to a snapshot of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from icat_stream.records import (
    AppliedSnapshot,
    Change,
    Investigation,
    OutcomeKind,
    TransientFailure,
    User,
    digest,
)

from .prerequisites import Prerequisites
from .snapshot_trees import USER, Found, SnapshotResolver, missing_users, uses
from .tree_writer import ResolvedTree, TreeWriter
from .validation import Checker

# What is created is found with the next look: a type, then a sample, then a group.
_LOOKS = 4


@dataclass(slots=True, kw_only=True)
class SnapshotWriter:
    """One snapshot's way into the catalogue.

    Parameters
    ----------
    looking
        Resolves it and reads what is there.
    growth
        Writes.
    notes
        What was left out by policy.
    """

    looking: SnapshotResolver
    tree: TreeWriter
    notes: tuple[str, ...] = ()
    _preparation: Prerequisites = field(init=False)
    _found: Found | None = None

    def __post_init__(self) -> None:
        self._preparation = Prerequisites(self.looking.session, self.looking.references)

    def diff(self, planned: User | Investigation) -> Sequence[Change]:
        """Return the snapshot beside what is there; reads only.

        Raises
        ------
        Failure
            As :meth:`apply`.
        """
        self._check(planned)
        found = self._look(planned)
        new = [
            Change(what=f"{each.entity} {each.name}", kind="new")
            for each in found.prerequisites
        ]
        waiting = [
            Change(
                what=f"InvestigationUser {name} (waits: no such user yet)", kind="new"
            )
            for name in found.missing_users
        ]
        return [*new, *self.tree.diff(found.seed), *waiting]

    def apply(self, planned: User | Investigation) -> AppliedSnapshot:
        """Bring the catalogue to the snapshot.

        Raises
        ------
        DependencyMissing
            Members are not in the catalogue; all else is written.
        Failure
            It could not be done, or not yet.
        """
        self._check(planned)
        entity = type(planned).__name__
        number = self.tree.bring(
            self._looker(planned), f"{entity} {planned.key}", digest(planned)
        )
        found = self._found
        if found is not None and isinstance(planned, Investigation):
            self.notes = found.notes
            if found.missing_users:
                raise missing_users(planned, found.missing_users)
        written = bool(self.tree.written)
        return AppliedSnapshot(
            id=number,
            kind=OutcomeKind.INGESTED if written else OutcomeKind.UNCHANGED,
            user=planned.name if isinstance(planned, User) else None,
            investigation=planned.investigation
            if isinstance(planned, Investigation)
            else None,
        )

    def _looker(self, planned: User | Investigation) -> Callable[[], ResolvedTree]:
        def look() -> ResolvedTree:
            for _ in range(_LOOKS):
                found = self._look(planned)
                if not found.prerequisites:
                    self._found = found
                    return found.seed
                self._preparation.prepare(found.prerequisites, self.tree.written)
            raise TransientFailure(
                f"{planned.key}: what it refers to was created and is not found"
            )

        return look

    def _look(self, planned: User | Investigation) -> Found:
        if isinstance(planned, User):
            return self.looking.user(planned)
        found = self.looking.investigation(planned)
        self._checker().parameter_values(
            uses(planned), found.types, f"investigation {planned.key}"
        )
        return found

    def _check(self, planned: User | Investigation) -> None:
        if isinstance(planned, User):
            self._checker().user(planned, USER)
        else:
            self._checker().investigation(
                planned, one_in_any_letters=self.looking.references.ignore_case
            )

    def _checker(self) -> Checker:
        return Checker(self.looking.schema, self.looking.ignore_case)
