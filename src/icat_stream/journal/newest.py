"""Which snapshot of a user or an investigation is the newest.

Snapshots carry no version, and records of one entity may be handled at the same time
by different lanes, processes and consumers.  Whoever writes one claims the entity
first and says afterwards that it is done; who finds a newer claim then applies that
one again, because its own writes may have come last.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, and_, bindparam, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from icat_stream.records import Coordinates

from .tables import newest
from .together import Together

CLAIMED = "claimed"
APPLIED = "applied"
# Of one entity; more would have to crash at the same time.
_UNFINISHED = 50
_AT = ("topic", "partition", "offset", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """What a snapshot is of.

    Parameters
    ----------
    facility
        Name of the facility.
    kind
        ``user`` or ``investigation``.
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
    """

    entity: Entity
    at: Coordinates
    time: int
    plan: str
    sha256: str

    def is_older(self, other: "Claim") -> bool:
        """Whether it is strictly older: only then may it be passed over."""
        mine, its = self.at, other.at
        if (mine.topic, mine.partition) == (its.topic, its.partition):
            return mine.offset < its.offset
        return self.time < other.time


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


class Newest:
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
        self._together = Together(begin)
        module: Any = postgresql if dialect == "postgresql" else sqlite
        self._insert = module.insert(newest).on_conflict_do_nothing()

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
        # In one order in all processes, or two of them wait for each other.
        in_order = sorted(claims, key=lambda claim: claim.entity.digest)

        def work(connection: Connection) -> dict[Entity, Decision]:
            return {
                c.entity: _again(connection, c) or _claim(connection, self._insert, c)
                for c in in_order
            }

        found = self._together.do(work)
        return [found[claim.entity] for claim in claims]

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
        return self._together.do(lambda c: _finish(c, claim, wrote, object_id))

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
        values: dict[str, Any] = {"state": APPLIED, "object_id": object_id}
    else:
        left = [each for each in row.unfinished if tuple(each) != _at(claim)]
        values = {"unfinished": left}
    connection.execute(_of(claim.entity).values(values))
    return None


# Nearly all of a nightly synchronisation: one short statement for each.
_SAME_PARTITION = and_(
    newest.c.topic == bindparam("its_topic"),
    newest.c.partition == bindparam("its_partition"),
)
_AGAIN = (
    update(newest)
    .where(
        newest.c.entity == bindparam("its_entity"),
        newest.c.state == APPLIED,
        newest.c.sha256 == bindparam("its_sha256"),
        or_(
            and_(_SAME_PARTITION, newest.c.offset <= bindparam("its_offset")),
            and_(not_(_SAME_PARTITION), newest.c.time <= bindparam("its_time")),
        ),
    )
    .values({name: bindparam(f"its_{name}") for name in _AT})
    .returning(newest.c.object_id)
)


def _again(connection: Connection, claim: Claim) -> Decision | None:
    """Take note of a snapshot that says what is applied; ``None`` for any other."""
    values = {f"its_{n}": v for n, v in zip(_AT, _at(claim), strict=True)}
    values |= {"its_entity": claim.entity.digest, "its_sha256": claim.sha256}
    row = connection.execute(_AGAIN, values).first()
    if row is None:
        return None
    return Decision(Standing.UNCHANGED, claim, row.object_id)


def _claim(connection: Connection, insert: Any, claim: Claim) -> Decision:
    values = {
        **dict(zip(_AT, _at(claim), strict=True)),
        "state": CLAIMED,
        "sha256": claim.sha256,
        "plan": claim.plan,
        "unfinished": [],
        "claimed_at": time.time_ns() // 1_000_000,
    }
    row = _locked(connection, claim.entity)
    if row is None:
        entity = claim.entity
        key = {
            "entity": entity.digest,
            "facility": _storable(entity.facility),
            "kind": entity.kind,
            "name": _storable(entity.name),
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
    )


def _at(claim: Claim) -> tuple[str, int, int, int]:
    return (claim.at.topic, claim.at.partition, claim.at.offset, claim.time)


def _storable(text: str) -> str:
    # PostgreSQL stores no NUL, and no driver encodes half a surrogate pair.
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
