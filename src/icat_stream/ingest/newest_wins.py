"""Newer wins: users and investigations come to their newest snapshot, and stay."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from icat_stream.journal import (
    Claim,
    Decision,
    Entity,
    NewestClaims,
    Recalled,
    Repeat,
    Standing,
)
from icat_stream.records import (
    Applied,
    AppliedSnapshot,
    DependencyMissing,
    Investigation,
    InvestigationKey,
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


class TopicIdentity(Protocol):
    """Tells Kafka's ids of topics."""

    def __call__(self, topic: str, *, renewed: bool = False) -> str:
        """Return a topic's id, asked for anew if wanted; empty where it has none."""
        ...


Snapshot = User | Investigation
# Kinds of claims; the others are dates of investigations, which may be said alone.
_WHOLE = ("user", "investigation")


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A record of which it is enough to know that it came again.

    Parameters
    ----------
    fingerprint
        Hash of all that its plan follows from.
    told
        What to recall then, as JSON takes it.
    """

    fingerprint: str
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewestApplied:
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


class NewestWins:
    """Lets the newest snapshot of each user and investigation through.

    Parameters
    ----------
    newest
        The table.
    facility
        The facility's name.
    topic_ids
        ``None`` where records are of no topic.
    """

    def __init__(
        self,
        newest: NewestClaims,
        facility: str,
        topic_ids: TopicIdentity | None = None,
    ) -> None:
        self._newest = newest
        self._facility = facility
        self._topic_ids = topic_ids

    def bring(
        self,
        plan: Plan,
        record: Record,
        apply: Apply,
        repeatable: Repeatable | None = None,
    ) -> NewestApplied:
        """Bring the catalogue to a plan's snapshots, where they are the newest.

        Parameters
        ----------
        plan
            Of users and investigations.
        record
            Its origin tells how old the snapshots are.
        apply
            Brings the catalogue to a plan.
        repeatable
            What to recall where the next record says the same.

        Raises
        ------
        Failure
            As ``apply``; or the journal is down.
        """
        snapshots: tuple[Snapshot, ...] = (*plan.users, *plan.investigations)
        topic_id = self._topic_id(record)
        parts = [
            [self._claim(kind, part, record, topic_id) for kind, part in _parts(whole)]
            for whole in snapshots
        ]
        claims = [claim for each in parts for claim in each]
        if repeatable is not None:
            told = _kept(repeatable, snapshots, parts)
            claims = [
                replace(
                    claim,
                    fingerprint=repeatable.fingerprint,
                    parts=len(claims),
                    told=told if claim is claims[0] else None,
                )
                for claim in claims
            ]
        decisions = self._newest.claim(claims)
        if _passed_by_offset(claims, decisions) and self._topic_ids is not None:
            # Is it still the topic that it was when it was asked about?
            anew = self._topic_ids(record.origin.topic, renewed=True)
            if anew != topic_id:
                return self.bring(plan, record, apply, repeatable)
        decided = iter(zip(claims, decisions, strict=True))
        done: list[Applied] = []
        superseded: dict[str, str] = {}
        missing: list[DependencyMissing] = []
        for whole, mine in zip(snapshots, parts, strict=True):
            claimed = [next(decided) for _ in mine]
            try:
                applied, newer = self._bring(whole, claimed, apply)
            except DependencyMissing as failure:
                # The other visits need not wait for it.
                missing.append(failure)
                continue
            if applied is not None:
                done.append(applied)
            superseded |= newer
        if missing:
            raise DependencyMissing(
                "; ".join(failure.reason for failure in missing),
                dict.fromkeys(name for failure in missing for name in failure.missing),
            )
        return NewestApplied(_together(done), superseded)

    def recall(
        self, records: Sequence[tuple[Record, str]]
    ) -> list[tuple[Mapping[str, Any], Applied] | None]:
        """Return what is applied already of records, without looking into them.

        Parameters
        ----------
        records
            With hashes of their contents; the older of two comes first.

        Returns
        -------
        :
            What was to be recalled, and what is applied; ``None`` for a record that
            has to be handled.

        Raises
        ------
        Failure
            The journal is down.
        """
        found = self._newest.recall(
            [
                Repeat(
                    at=record.origin,
                    time=record.origin_timestamp,
                    topic_id=self._topic_id(record),
                    fingerprint=fingerprint,
                )
                for record, fingerprint in records
            ]
        )
        return [None if each is None else _recalled(each) for each in found]

    def missing(self, keys: Iterable[InvestigationKey]) -> None:
        """Say that investigations are not in the catalogue, whatever was applied.

        Raises
        ------
        Failure
            The journal is down.
        """
        self._newest.missing(
            [
                Entity(facility=self._facility, kind=kind, name=Entity.name_of(key))
                for key in keys
                for kind in ("investigation", "start", "end")
            ]
        )

    def _bring(
        self,
        whole: Snapshot,
        claimed: Sequence[tuple[Claim, Decision]],
        apply: Apply,
    ) -> tuple[Applied | None, dict[str, str]]:
        """Bring one snapshot; return what was applied, and what newer ones passed."""
        first, standing = claimed[0][0], claimed[0][1].standing
        # What is created needs its dates at once, whoever said the newest ones.
        everything = standing is Standing.WRITE and first.entity.kind in _WHOLE
        applied: Applied | None = None
        passed = {
            claim: decision.newest
            for claim, decision in claimed
            if decision.standing in (Standing.SUPERSEDED, Standing.REPAIR)
        }
        writing = {
            claim: decision.newest
            for claim, decision in claimed
            if everything or decision.standing is Standing.WRITE
        }
        behind = {
            claim: decision.newest
            for claim, decision in claimed
            if decision.standing is Standing.REPAIR and claim not in writing
        }
        failure: DependencyMissing | Rejection | None = None
        if writing:
            try:
                applied = apply(self._plan(writing.values()))
            except (DependencyMissing, Rejection) as error:
                # Nobody tries again soon, and some of it may be written.
                failure = error
            for claim, wrote in writing.items():
                newer = (
                    self._newest.newer(wrote)
                    if applied is None
                    else self._newest.finish(claim, wrote, applied.snapshots[0].id)
                )
                if newer is not None:
                    passed[claim] = behind[claim] = newer
        elif len(passed) < len(claimed):
            ids = [d.object_id for _, d in claimed if d.standing is Standing.UNCHANGED]
            applied = _unchanged(whole, ids[0] or 0)
        for claim, newer in behind.items():
            self._repair(claim, newer, apply)
        if len(passed) == len(claimed):
            applied = None
        elif failure is not None:
            raise failure
        return applied, _told(passed)

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
                number = apply(self._plan([newer])).snapshots[0].id
            except (DependencyMissing, Rejection) as failure:
                # All of it that can be written is; the rest is its own record's.
                _log.info("%s: %s", newer.at, failure)
            newer = self._newest.finish(claim, newer, number)

    def _topic_id(self, record: Record) -> str:
        # What comes by a retry topic may be of a topic that is gone.
        if self._topic_ids is None or record.at != record.origin:
            return ""
        return self._topic_ids(record.origin.topic)

    def _claim(self, kind: str, part: Snapshot, record: Record, topic_id: str) -> Claim:
        text = as_text(part)
        return Claim(
            entity=Entity(facility=self._facility, kind=kind, name=_identity(part)),
            at=record.origin,
            time=record.origin_timestamp,
            plan=text,
            sha256=digest(text),
            topic_id=topic_id,
        )

    def _plan(self, claims: Iterable[Claim]) -> Plan:
        """Return the plan of claims of one user, or of parts of one investigation."""
        first, *others = claims
        if first.entity.kind == "user":
            return Plan(facility=self._facility, users=(from_text(User, first.plan),))
        planned = from_text(Investigation, first.plan)
        for claim in others:
            part = from_text(Investigation, claim.plan)
            planned = replace(
                planned,
                start=part.start or planned.start,
                end=part.end or planned.end,
                cleared=(*planned.cleared, *part.cleared),
            )
        return Plan(facility=self._facility, investigations=(planned,))


def _kept(
    repeatable: Repeatable,
    snapshots: Sequence[Snapshot],
    parts: Sequence[Sequence[Claim]],
) -> str:
    wholes = [
        {"entity": mine[0].entity.digest, "user": whole.name}
        if isinstance(whole, User)
        else {
            "entity": mine[0].entity.digest,
            "investigation": asdict(whole.investigation),
        }
        for whole, mine in zip(snapshots, parts, strict=True)
    ]
    return json.dumps({"told": dict(repeatable.told), "snapshots": wholes})


def _recalled(recalled: Recalled) -> tuple[Mapping[str, Any], Applied]:
    kept = json.loads(recalled.told)
    snapshots = tuple(
        AppliedSnapshot(
            id=recalled.ids[whole["entity"]] or 0,
            kind=OutcomeKind.UNCHANGED,
            user=whole.get("user"),
            investigation=InvestigationKey(**whole["investigation"])
            if "investigation" in whole
            else None,
        )
        for whole in kept["snapshots"]
    )
    applied = Applied(kind=OutcomeKind.UNCHANGED, snapshots=snapshots)
    return kept["told"], applied


def _passed_by_offset(claims: Iterable[Claim], decisions: Iterable[Decision]) -> bool:
    """Whether a record of the same partition of the same topic is in our way."""
    return any(
        claim.topic_id
        and decision.newest.topic_id == claim.topic_id
        and decision.newest.at[:2] == claim.at[:2]
        and claim.is_older(decision.newest)
        for claim, decision in zip(claims, decisions, strict=True)
    )


def _parts(snapshot: Snapshot) -> list[tuple[str, Snapshot]]:
    """Return what is claimed by itself: the snapshot, and each date that it states."""
    if isinstance(snapshot, User):
        return [("user", snapshot)]
    key = snapshot.investigation
    dates: list[tuple[str, Snapshot]] = []
    for name in ("start", "end"):
        value: datetime | None = getattr(snapshot, name)
        if name in snapshot.cleared:
            part = Investigation(investigation=key, cleared=(name,))
        elif name == "start":
            part = Investigation(investigation=key, start=value)
        else:
            part = Investigation(investigation=key, end=value)
        if value is not None or part.cleared:
            dates.append((name, part))
    rest = replace(
        snapshot,
        start=None,
        end=None,
        cleared=tuple(n for n in snapshot.cleared if n not in ("start", "end")),
    )
    if dates and rest == Investigation(investigation=key):
        return dates
    return [("investigation", rest), *dates]


def _identity(snapshot: Snapshot) -> str:
    if isinstance(snapshot, User):
        return snapshot.account or snapshot.name
    return Entity.name_of(snapshot.investigation)


def _told(passed: Mapping[Claim, Claim]) -> dict[str, str]:
    """Return what was passed by which record; parts only where they differ."""
    told: dict[str, str] = {}
    for claim, newer in passed.items():
        kind, name = claim.entity.kind, claim.entity.name
        at = str(newer.at)
        if at not in told.values():
            what = kind if kind in _WHOLE else f"{kind} of investigation"
            told[f"{what} {name}"] = at
    return told


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
