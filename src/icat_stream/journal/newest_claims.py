"""Which snapshot of a user or an investigation is the newest.

Snapshots carry no version, and records of one entity may be handled at the same time
by different lanes, processes and consumers.  Whoever writes one claims the entity
first and says afterwards that it is done; who finds a newer claim then applies that
one again, because its own writes may have come last.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from icat_stream.records import Coordinates, InvestigationKey

from .group_commit import GroupCommit
from .storable_text import storable
from .tables import insert_new, newest

CLAIMED = "claimed"
APPLIED = "applied"
# Of one entity; more would have to crash at the same time.
_UNFINISHED = 50
_AT = ("topic", "partition", "offset", "time")
_PLACE = (*_AT, "topic_id")
_FINGERPRINT = ("fingerprint", "fingerprint_of", "parts", "told")
Place = tuple[str, int, int, int, str]
# Rows in one question; databases limit its parameters.
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """What a snapshot is of.

    Parameters
    ----------
    facility
        Name of the facility.
    kind
        ``user``, ``investigation``, or ``start`` or ``end`` of one.
    name
        Its natural key as people read it.
    """

    facility: str
    kind: str
    name: str

    @property
    def digest(self) -> str:
        """The key of its row."""
        text = "\0".join((self.facility, self.kind, self.name))
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()

    @staticmethod
    def name_of(key: InvestigationKey) -> str:
        """Return an investigation's name and visit in one.

        Where the name has slashes, several would be written the same.
        """
        return json.dumps([key.name, key.visit_id]) if "/" in key.name else str(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A snapshot that wants to be the newest.

    Parameters
    ----------
    entity
        Of which it is.
    at, time
        Where and when its record was first published; milliseconds.
    plan, sha256
        What it says, and a hash of that.
    topic_id
        Kafka's of the topic: one made anew has the name, and begins at offset 0.
        Empty where it is not known.
    fingerprint, parts
        Hash of its record, and how many claims that makes, where the next record of
        that hash need not be decoded.
    told
        What becomes of such a record; in one of its claims.
    """

    entity: Entity
    at: Coordinates
    time: int
    plan: str
    sha256: str
    topic_id: str = ""
    fingerprint: str | None = None
    parts: int | None = None
    told: str | None = None

    def is_older(self, other: "Claim") -> bool:
        """Whether it is strictly older: only then may it be passed over."""
        return _is_older(_place(self), _place(other))


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A record that may say what another one said before.

    Parameters
    ----------
    at, time, topic_id
        As of a claim.
    fingerprint
        Hash of what it says, and of how that is understood.
    """

    at: Coordinates
    time: int
    topic_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was applied of a record.

    Parameters
    ----------
    told
        As its claims said.
    ids
        ICAT's, by the digest of the entity.
    """

    told: str
    ids: Mapping[str, int | None]


class Standing(StrEnum):
    """What a claim comes to."""

    WRITE = "write"
    """It is the newest."""
    UNCHANGED = "unchanged"
    """It is the newest, and says what is applied already."""
    SUPERSEDED = "superseded"
    """A newer one is there."""
    REPAIR = "repair"
    """A newer one is there, but we may have written over it before we crashed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a claim comes to.

    Parameters
    ----------
    standing
        What follows.
    newest
        The claim that holds now.
    object_id
        ICAT's id of what is applied.
    """

    standing: Standing
    newest: Claim
    object_id: int | None = None


# Claims are looked up together; anything else is done by itself.
_Job = tuple[Claim, ...] | Callable[[Connection], Any]


class NewestClaims:
    """The newest claim of each entity.

    Its methods raise as those of :class:`~icat_stream.journal.Journal`, of which it
    is a part.

    Parameters
    ----------
    begin
        Begins a transaction.
    dialect
        ``postgresql`` or ``sqlite``.
    """

    def __init__(
        self, begin: Callable[[], AbstractContextManager[Connection]], dialect: str
    ) -> None:
        self._begin = begin
        self._insert = insert_new(newest, dialect)
        self._together: GroupCommit[_Job, Any] = GroupCommit(begin, self._work)

    def claim(self, claims: Sequence[Claim]) -> list[Decision]:
        """Claim entities, each for the newest of its snapshots.

        Parameters
        ----------
        claims
            Of different entities.

        Returns
        -------
        :
            In the order of the claims.
        """
        decisions: list[Decision] = self._together.do(tuple(claims))
        return decisions

    def finish(self, claim: Claim, wrote: Claim, object_id: int | None) -> Claim | None:
        """Say that the catalogue was written.

        Parameters
        ----------
        claim
            Ours.
        wrote
            What was written: ours, or the one that came to be the newest.
        object_id
            ICAT's id of what was written.

        Returns
        -------
        :
            The newest claim, if it is another than what was written: it is to be
            written as well, and this to be called again.
        """
        newer: Claim | None = self._together.do(
            lambda connection: _finish(connection, claim, wrote, object_id)
        )
        return newer

    def newer(self, wrote: Claim) -> Claim | None:
        """Return the newest claim, if it is another than what was written."""
        newer: Claim | None = self._together.do(
            lambda connection: _newer(connection, wrote)
        )
        return newer

    def missing(self, entities: Sequence[Entity]) -> None:
        """Say that what may have been applied is not in the catalogue any more.

        The next snapshot is written then, even if it says the same as the last one.
        """
        keys = sorted(entity.digest for entity in entities)
        gone = (
            update(newest)
            .where(newest.c.entity.in_(keys), newest.c.state == APPLIED)
            .values(state=CLAIMED)
        )
        self._together.do(lambda connection: connection.execute(gone).rowcount)

    def recall(self, repeats: Sequence[Repeat]) -> list[Recalled | None]:
        """Take note of records that say what is applied.

        Parameters
        ----------
        repeats
            The older of two comes first.

        Returns
        -------
        :
            ``None`` for one that says something else, is older than what is applied,
            or of which nothing was kept.
        """
        # By itself: with claims, rows would be locked in another order.
        with self._begin() as connection:
            return _recall(connection, repeats)

    def applied(
        self, facility: str, after: str = "", most: int = _AT_ONCE
    ) -> list[tuple[Entity, int]]:
        """Return entities whose newest claim is applied, with ICAT's ids.

        Parameters
        ----------
        facility
            Whose.
        after
            Digest of the last one that was returned before.
        most
            How many at once.
        """
        query = (
            select(newest.c.kind, newest.c.name, newest.c.object_id)
            .where(newest.c.entity > after, newest.c.state == APPLIED)
            .where(newest.c.facility == storable(facility))
            .where(newest.c.object_id.is_not(None))
            .order_by(newest.c.entity)
            .limit(most)
        )
        rows = self._together.do(lambda connection: connection.execute(query).all())
        return [
            (Entity(facility=facility, kind=row.kind, name=row.name), row.object_id)
            for row in rows
        ]

    def _work(self, connection: Connection, jobs: Sequence[_Job]) -> list[Any]:
        groups = [job for job in jobs if isinstance(job, tuple)]
        claimed = iter(self._claim_all(connection, groups))
        return [
            next(claimed) if isinstance(job, tuple) else job(connection) for job in jobs
        ]

    def _claim_all(
        self, connection: Connection, groups: Sequence[tuple[Claim, ...]]
    ) -> list[list[Decision]]:
        places = [
            (claim.entity.digest, number, index)
            for number, group in enumerate(groups)
            for index, claim in enumerate(group)
        ]
        # In one order in all processes, or two of them wait for each other.
        places.sort()
        first: dict[str, Claim] = {}
        for entity, number, index in places:
            first.setdefault(entity, groups[number][index])
        same = _again(connection, first)
        found: list[list[Any]] = [[None] * len(group) for group in groups]
        for entity, number, index in places:
            claim = groups[number][index]
            # Another claim of the same entity comes after the first.
            decision = same.get(entity) if claim is first[entity] else None
            found[number][index] = decision or _claim(connection, self._insert, claim)
        return found


def _finish(
    connection: Connection, claim: Claim, wrote: Claim, object_id: int | None
) -> Claim | None:
    row = _locked(connection, claim.entity)
    if row is None:
        return None
    now = _held(claim.entity, row)
    if _at(now) != _at(wrote):
        return now
    if _at(wrote) == _at(claim):
        values: dict[str, Any] = {
            "state": APPLIED,
            "object_id": object_id,
            "applied": _stated(row.applied, wrote.plan),
        }
    else:
        left = [each for each in row.unfinished if tuple(each) != _at(claim)]
        values = {"unfinished": left}
    connection.execute(_of(claim.entity).values(values))
    return None


def _stated(before: str | None, plan: str) -> str:
    """Return all that is stated once a plan is applied.

    What it does not speak of stays as it was stated before.
    """
    if before is None:
        return plan
    old, new = json.loads(before), json.loads(plan)
    cleared = new.get("cleared", ())
    found = old | {n: v for n, v in new.items() if v is not None or n in cleared}
    if old.get("stated") and new.get("stated"):
        details = {n: v for n, v in new["stated"].items() if v is not None}
        found["stated"] = old["stated"] | details
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def _newer(connection: Connection, wrote: Claim) -> Claim | None:
    row = _locked(connection, wrote.entity)
    if row is None:
        return None
    now = _held(wrote.entity, row)
    return None if _at(now) == _at(wrote) else now


# Nearly all of a nightly synchronisation: two short statements for all that wait.
# Whatever is claimed after them is locked by then, in one order.
_HELD = (
    select(newest.c.entity, newest.c.sha256, newest.c.object_id, newest.c.state)
    .add_columns(*(newest.c[name] for name in _PLACE))
    .where(newest.c.entity.in_(bindparam("entities", expanding=True)))
    .order_by(newest.c.entity)
    .with_for_update()
)
_MOVED = (
    update(newest)
    .where(newest.c.entity == bindparam("its_entity"))
    .values({name: bindparam(f"its_{name}") for name in _PLACE})
)
_AGAIN = _MOVED.values({name: bindparam(f"its_{name}") for name in _FINGERPRINT})


def _again(connection: Connection, claims: Mapping[str, Claim]) -> dict[str, Decision]:
    """Take note of snapshots that say what is applied; return these only."""
    decisions = {}
    noted = []
    entities = list(claims)
    for begin in range(0, len(entities), _AT_ONCE):
        some = entities[begin : begin + _AT_ONCE]
        for row in connection.execute(_HELD, {"entities": some}):
            claim = claims[row.entity]
            held = tuple(row[4:])
            if (
                row.state == APPLIED
                and row.sha256 == claim.sha256
                and not _is_older(_place(claim), held)
            ):
                decisions[row.entity] = Decision(
                    Standing.UNCHANGED, claim, row.object_id
                )
                place = _followed(claim, held)
                noted.append(_moved(row.entity, place) | _fingerprint(claim, "its_"))
    if noted:
        connection.execute(_AGAIN, noted)
    return decisions


_KEPT = (
    select(newest.c.entity, newest.c.object_id, *(newest.c[n] for n in _FINGERPRINT))
    .add_columns(*(newest.c[name] for name in _PLACE))
    .where(newest.c.fingerprint.in_(bindparam("fingerprints", expanding=True)))
    .where(newest.c.state == APPLIED)
    .where(newest.c.fingerprint_of == newest.c.sha256)
    .order_by(newest.c.entity)
    .with_for_update()
)


def _recall(connection: Connection, repeats: Sequence[Repeat]) -> list[Recalled | None]:
    kept: dict[str, list[Any]] = {}
    fingerprints = list(dict.fromkeys(each.fingerprint for each in repeats))
    for begin in range(0, len(fingerprints), _AT_ONCE):
        some = fingerprints[begin : begin + _AT_ONCE]
        for row in connection.execute(_KEPT, {"fingerprints": some}):
            kept.setdefault(row.fingerprint, []).append(row)
    held = {row.entity: tuple(row[-5:]) for rows in kept.values() for row in rows}
    found: list[Recalled | None] = []
    moved: dict[str, Place] = {}
    for each in repeats:
        rows = kept.get(each.fingerprint, [])
        place = (*each.at, each.time, each.topic_id)
        told = next((row.told for row in rows if row.told is not None), None)
        if (
            told is None
            # Another record has claimed some of it since.
            or len(rows) != rows[0].parts
            or any(_is_older(place, held[row.entity]) for row in rows)
        ):
            found.append(None)
            continue
        for row in rows:
            held[row.entity] = moved[row.entity] = place
        found.append(Recalled(told, {row.entity: row.object_id for row in rows}))
    if moved:
        values = [_moved(entity, place) for entity, place in sorted(moved.items())]
        connection.execute(_MOVED, values)
    return found


def _moved(entity: str, place: Place) -> dict[str, Any]:
    values = {f"its_{n}": v for n, v in zip(_PLACE, place, strict=True)}
    return {"its_entity": entity, **values}


def _fingerprint(claim: Claim, prefix: str = "") -> dict[str, Any]:
    values = (claim.fingerprint, claim.sha256, claim.parts, claim.told)
    named = zip(_FINGERPRINT, values, strict=True)
    return {prefix + name: value for name, value in named}


def _claim(connection: Connection, insert: Any, claim: Claim) -> Decision:
    values = {
        **dict(zip(_PLACE, _place(claim), strict=True)),
        "state": CLAIMED,
        "sha256": claim.sha256,
        "plan": claim.plan,
        "unfinished": [],
        **_fingerprint(claim),
        "claimed_at": time.time_ns() // 1_000_000,
    }
    row = _locked(connection, claim.entity)
    if row is None:
        entity = claim.entity
        key = {
            "entity": entity.digest,
            "facility": storable(entity.facility),
            "kind": entity.kind,
            "name": storable(entity.name),
        }
        if connection.execute(insert.values(key | values)).rowcount == 1:
            return Decision(Standing.WRITE, claim)
        # Another process was quicker.
        row = _locked(connection, claim.entity)
        if row is None:
            raise LookupError(f"the row of {entity.kind} {entity.name} went away")
    held = _held(claim.entity, row)
    if claim.is_older(held):
        mine = any(tuple(each) == _at(claim) for each in row.unfinished)
        return Decision(Standing.REPAIR if mine else Standing.SUPERSEDED, held)
    unfinished = [each for each in row.unfinished if tuple(each) != _at(claim)]
    if row.state == CLAIMED and _at(held) != _at(claim):
        unfinished.append(list(_at(held)))
    values["unfinished"] = unfinished[-_UNFINISHED:]
    values["topic_id"] = _followed(claim, _place(held))[-1]
    connection.execute(_of(claim.entity).values(values))
    return Decision(Standing.WRITE, claim)


def _locked(connection: Connection, entity: Entity) -> Any:
    query = select(newest).where(newest.c.entity == entity.digest).with_for_update()
    return connection.execute(query).one_or_none()


def _of(entity: Entity) -> Any:
    return update(newest).where(newest.c.entity == entity.digest)


def _held(entity: Entity, row: Any) -> Claim:
    return Claim(
        entity=entity,
        at=Coordinates(row.topic, row.partition, row.offset),
        time=row.time,
        plan=row.plan,
        sha256=row.sha256,
        topic_id=row.topic_id,
    )


def _is_older(mine: Place, its: Place) -> bool:
    topic, partition, offset, when, topic_id = mine
    if (topic, partition, topic_id) == (its[0], its[1], its[4]):
        return offset < its[2]
    return when < its[3]


def _place(claim: Claim) -> Place:
    return (*_at(claim), claim.topic_id)


def _followed(claim: Claim, held: Place) -> Place:
    """Return a claim's place; a record that comes again by a retry topic has its id."""
    place = _place(claim)
    return held if place[:-1] == held[:-1] and not claim.topic_id else place


def _at(claim: Claim) -> tuple[str, int, int, int]:
    return (claim.at.topic, claim.at.partition, claim.at.offset, claim.time)
