"""Which plans of retention were approved, and how far each was carried out."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    String,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from .storable_text import storable
from .tables import insert_new, metadata

plans = Table(
    "retention_plans",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("approved_by", Text, nullable=False),
    Column("approved_at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("datasets", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)
steps = Table(
    "retention_steps",
    metadata,
    Column("plan", String(64), primary_key=True),
    Column("dataset_id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)


class StepState(StrEnum):
    """How far a dataset of a plan is."""

    ASKED = "asked"
    ARCHIVED = "archived"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """That somebody has approved a plan.

    Parameters
    ----------
    by
        ICAT's name of the person.
    at
        Milliseconds.
    reason
        As the person gave it.
    """

    by: str
    at: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionStep:
    """What became of a dataset of a plan.

    Parameters
    ----------
    dataset_id
        ICAT's.
    state
        How far it is.
    reason
        Why it was skipped.
    """

    dataset_id: int
    state: StepState
    reason: str = ""


class RetentionPlans:
    """Approvals and steps; its methods raise as those of the journal.

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
        self._approve = insert_new(plans, dialect)
        module: Any = postgresql if dialect == "postgresql" else sqlite
        add = module.insert(steps)
        self._note = add.on_conflict_do_update(
            index_elements=["plan", "dataset_id"],
            set_={name: add.excluded[name] for name in ("state", "reason", "at")},
        )

    def approve(
        self, sha256: str, *, user: str, reason: str, datasets: int, size: int
    ) -> Approval:
        """Note that somebody approves a plan; return who did so first.

        Parameters
        ----------
        sha256
            The plan's.
        user
            ICAT's name of the person.
        reason
            As the person gave it.
        datasets, size
            How many, and their bytes.
        """
        values = {
            "sha256": sha256,
            "approved_by": user,
            "approved_at": _now(),
            "reason": storable(reason),
            "datasets": datasets,
            "bytes": size,
        }
        with self._begin() as connection:
            connection.execute(self._approve.values(values))
            found = _approval(connection, sha256)
        return found or Approval(by=user, at=_now(), reason=reason)

    def approval(self, sha256: str) -> Approval | None:
        """Return who approved a plan; ``None``: nobody."""
        with self._begin() as connection:
            return _approval(connection, sha256)

    def steps(self, sha256: str, ids: Sequence[int]) -> dict[int, RetentionStep]:
        """Return how far those datasets of a plan are that were begun.

        Parameters
        ----------
        sha256
            The plan's.
        ids
            Of some hundred datasets at most.
        """
        query = select(steps.c.dataset_id, steps.c.state, steps.c.reason).where(
            steps.c.plan == sha256, steps.c.dataset_id.in_(ids)
        )
        with self._begin() as connection:
            return {
                number: RetentionStep(
                    dataset_id=number, state=StepState(state), reason=reason
                )
                for number, state, reason in connection.execute(query)
            }

    def note(self, sha256: str, done: Sequence[RetentionStep]) -> None:
        """Keep how far some datasets of a plan are."""
        if not done:
            return
        rows = [
            {
                "plan": sha256,
                "dataset_id": each.dataset_id,
                "state": each.state.value,
                "reason": storable(each.reason),
                "at": _now(),
            }
            for each in done
        ]
        with self._begin() as connection:
            connection.execute(self._note, rows)

    def counts(self, sha256: str) -> dict[StepState, int]:
        """Return how many datasets of a plan are in each state."""
        query = (
            select(steps.c.state, func.count())
            .where(steps.c.plan == sha256)
            .group_by(steps.c.state)
        )
        with self._begin() as connection:
            return {StepState(state): n for state, n in connection.execute(query)}


def _approval(connection: Connection, sha256: str) -> Approval | None:
    query = select(plans).where(plans.c.sha256 == sha256)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Approval(by=row.approved_by, at=row.approved_at, reason=row.reason)


def _now() -> int:
    return time.time_ns() // 1_000_000
