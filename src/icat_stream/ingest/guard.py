"""Newer wins: users and investigations come to their newest snapshot, and stay."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from icat_stream.catalogue import Applied, AppliedSnapshot
from icat_stream.journal import Claim, Entity, Newest, Standing
from icat_stream.records import (
    DependencyMissing,
    Investigation,
    OutcomeKind,
    Plan,
    Record,
    Rejection,
    User,
    as_text,
    digest,
    from_text,
)

_log = logging.getLogger(__name__)
SUPERSEDED = "superseded"
"""The reason of a record that a newer one has passed."""

Apply = Callable[[Plan], Applied]
Snapshot = User | Investigation


@dataclass(frozen=True, slots=True)
class Guarded:
    """What became of a plan's snapshots.

    Parameters
    ----------
    applied
        What is now as planned.
    superseded
        Those that a newer one has passed, and the record that did.
    """

    applied: Applied
    superseded: dict[str, str]


class Guard:
    """Lets the newest snapshot of each user and investigation through.

    Parameters
    ----------
    newest
        The table.
    facility
        The facility's name.
    """

    def __init__(self, newest: Newest, facility: str) -> None:
        self._newest = newest
        self._facility = facility

    def bring(self, plan: Plan, record: Record, apply: Apply) -> Guarded:
        """Bring the catalogue to a plan's snapshots, where they are the newest.

        Parameters
        ----------
        plan
            Of users and investigations.
        record
            Its origin tells how old the snapshots are.
        apply
            Brings the catalogue to a plan.

        Raises
        ------
        Failure
            As ``apply``; or the journal is down.
        """
        snapshots: tuple[Snapshot, ...] = (*plan.users, *plan.investigations)
        claims = [self._claim(snapshot, record) for snapshot in snapshots]
        done: list[Applied] = []
        superseded: dict[str, str] = {}
        missing: list[DependencyMissing] = []
        decisions = self._newest.claim(claims)
        for snapshot, claim, decision in zip(snapshots, claims, decisions, strict=True):
            newer: Claim | None = None
            if decision.standing is Standing.UNCHANGED:
                done.append(_unchanged(snapshot, decision.object_id or 0))
            elif decision.standing is Standing.WRITE:
                try:
                    applied = apply(_only(plan, snapshot))
                except DependencyMissing as failure:
                    # The other visits need not wait for it.
                    missing.append(failure)
                    continue
                newer = self._newest.finish(claim, claim, applied.snapshots[0].id)
                if newer is None:
                    done.append(applied)
            else:
                superseded[_name(snapshot)] = str(decision.newest.at)
                if decision.standing is Standing.REPAIR:
                    newer = decision.newest
            if newer is not None:
                superseded[_name(snapshot)] = str(newer.at)
                self._repair(claim, newer, apply)
        if missing:
            raise DependencyMissing(
                "; ".join(failure.reason for failure in missing),
                dict.fromkeys(name for failure in missing for name in failure.missing),
            )
        return Guarded(_together(done), superseded)

    def _repair(self, claim: Claim, newer: Claim | None, apply: Apply) -> None:
        """Write what is newer than our claim, until it is the newest."""
        while newer is not None:
            _log.info(
                "%s %s: written again as %s says, which came meanwhile",
                claim.entity.kind,
                claim.entity.name,
                newer.at,
            )
            number = None
            try:
                number = apply(self._plan(newer)).snapshots[0].id
            except (DependencyMissing, Rejection) as failure:
                # All of it that can be written is; the rest is its own record's.
                _log.info("%s: %s", newer.at, failure)
            newer = self._newest.finish(claim, newer, number)

    def _claim(self, snapshot: Snapshot, record: Record) -> Claim:
        kind = "user" if isinstance(snapshot, User) else "investigation"
        text = as_text(snapshot)
        return Claim(
            entity=Entity(facility=self._facility, kind=kind, name=_identity(snapshot)),
            at=record.origin,
            time=record.origin_timestamp,
            plan=text,
            sha256=digest(text),
        )

    def _plan(self, claim: Claim) -> Plan:
        if claim.entity.kind == "user":
            return Plan(facility=self._facility, users=(from_text(User, claim.plan),))
        return Plan(
            facility=self._facility,
            investigations=(from_text(Investigation, claim.plan),),
        )


def _identity(snapshot: Snapshot) -> str:
    if isinstance(snapshot, User):
        return snapshot.account or snapshot.name
    return snapshot.key


def _name(snapshot: Snapshot) -> str:
    kind = "user" if isinstance(snapshot, User) else "investigation"
    return f"{kind} {snapshot.key}"


def _only(plan: Plan, snapshot: Snapshot) -> Plan:
    if isinstance(snapshot, User):
        return Plan(facility=plan.facility, users=(snapshot,))
    return Plan(facility=plan.facility, investigations=(snapshot,))


def _unchanged(snapshot: Snapshot, number: int) -> Applied:
    user = snapshot.name if isinstance(snapshot, User) else None
    key = snapshot.investigation if isinstance(snapshot, Investigation) else None
    one = AppliedSnapshot(
        id=number, kind=OutcomeKind.UNCHANGED, user=user, investigation=key
    )
    return Applied(kind=OutcomeKind.UNCHANGED, snapshots=(one,))


def _together(done: list[Applied]) -> Applied:
    kinds = {each.kind for each in done}
    return Applied(
        kind=OutcomeKind.INGESTED
        if OutcomeKind.INGESTED in kinds
        else OutcomeKind.UNCHANGED,
        snapshots=tuple(s for each in done for s in each.snapshots),
        written=tuple(line for each in done for line in each.written),
        notes=tuple(note for each in done for note in each.notes),
    )
