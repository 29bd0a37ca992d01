"""The journal's tables."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

metadata = MetaData()

# Compared byte by byte, so that names with one beginning are one range.
_NAME = String(255).with_variant(String(255, collation="C"), "postgresql")
SEVERAL = "*"
"""Stands for more names than one: they are in ``objects``."""
COMMITTED = "committed"

outcomes = Table(
    "outcomes",
    metadata,
    Column("group", String(255), primary_key=True),
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    # Milliseconds since the epoch, as Kafka gives them.
    Column("time", BigInteger, primary_key=True, autoincrement=False),
    Column("origin_topic", String(249), nullable=False),
    Column("origin_partition", Integer, nullable=False),
    Column("origin_offset", BigInteger, nullable=False),
    Column("origin_time", BigInteger, nullable=False),
    Column("key", Text),
    Column("message_type", String(64)),
    Column("message_format", String(32)),
    Column("sha256", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    Column("objects", JSON, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error_class", String(32)),
    Column("text", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("steps", JSON, nullable=False),
    Column("trace_id", String(32)),
    Column("version", String(64), nullable=False),
    # Anything else was left open by a crash of an earlier version.
    Column("state", String(16), nullable=False),
    Column("written_at", BigInteger, nullable=False),
    Column("investigation", _NAME),
    Column("dataset", _NAME),
    Column("file", _NAME),
    # The record itself, compressed, without its secrets; absent where it is not kept.
    Column("payload", LargeBinary),
    Column("record_key", LargeBinary),
    Column("headers", JSON(none_as_null=True)),
)
# The way of a retried record; what was never put off is found by its primary key.
Index(
    "outcomes_origin",
    outcomes.c.origin_topic,
    outcomes.c.origin_partition,
    outcomes.c.origin_offset,
    sqlite_where=text("origin_topic <> topic"),
    postgresql_where=text("origin_topic <> topic"),
)

Index("outcomes_time", outcomes.c.time)
Index("outcomes_kind", outcomes.c.group, outcomes.c.outcome, outcomes.c.time)
Index("outcomes_sha256", outcomes.c.sha256)
for _name in ("investigation", "dataset", "file"):
    Index(
        f"outcomes_{_name}",
        outcomes.c[_name],
        sqlite_where=text(f"{_name} IS NOT NULL"),
        postgresql_where=text(f"{_name} IS NOT NULL"),
    )

# Both are kept by triggers, which a migration makes.
tallies = Table(
    "tallies",
    metadata,
    Column("group", String(255), primary_key=True),
    Column("outcome", String(16), primary_key=True),
    # When a quarter of an hour begins, and the newest time of a row in it.
    Column("quarter", BigInteger, primary_key=True, autoincrement=False),
    Column("records", BigInteger, nullable=False),
    Column("newest", BigInteger, nullable=False),
)
Index("tallies_quarter", tallies.c.quarter)
# Messages whose last row is `deferred`, with its time and its reason.
waiting = Table(
    "waiting",
    metadata,
    Column("group", String(255), primary_key=True),
    Column("origin_topic", String(249), primary_key=True),
    Column("origin_partition", Integer, primary_key=True, autoincrement=False),
    Column("origin_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("origin_time", BigInteger, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(255), primary_key=True),
    Column("sample", Text, nullable=False),
    Column("proposal", Text),
    Column("remembered_at", BigInteger, nullable=False),
)
Index("jobs_remembered_at", jobs.c.remembered_at)

# The newest snapshot of each user and investigation, as far as this program knows.
newest = Table(
    "newest",
    metadata,
    # A hash of facility, kind and name, which together may be too long for a key.
    Column("entity", String(64), primary_key=True),
    Column("facility", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("name", Text, nullable=False),
    # Where its record was first published.
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    # Kafka's, empty where it is not known.
    Column("topic_id", String(64), nullable=False, server_default=""),
    Column("state", String(16), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("plan", Text, nullable=False),
    # The plan that was applied last, for those who follow; a claim replaces the other.
    Column("applied", Text),
    # ICAT's, once it is applied.
    Column("object_id", BigInteger),
    # Hash of the record that is applied, if the same one need not be decoded; hash of
    # the plan that this was said of, as versions before it leave all this alone; how
    # many rows are of it; and in one of them what became of it.
    Column("fingerprint", String(64)),
    Column("fingerprint_of", String(64)),
    Column("parts", Integer),
    Column("told", Text),
    # Older claims that may still write, or have written after it.
    Column("unfinished", JSON, nullable=False),
    Column("claimed_at", BigInteger, nullable=False),
)
Index(
    "newest_fingerprint",
    newest.c.fingerprint,
    sqlite_where=text("fingerprint IS NOT NULL"),
    postgresql_where=text("fingerprint IS NOT NULL"),
)

# What integrations have written to other systems.
exports = Table(
    "exports",
    metadata,
    # The consumer's name.
    Column("system", String(255), primary_key=True),
    # A hash of the document's name, which may be too long for a key.
    Column("key", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    # Grows with each reading of the catalogue.
    Column("version", BigInteger, nullable=False),
    # Of what the system holds, where that is known.
    Column("sha256", String(64)),
)

# When each check of the schedule ran, and until when a process is at it; milliseconds.
schedule = Table(
    "schedule",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("begun_at", BigInteger, nullable=False),
    Column("busy_until", BigInteger, nullable=False),
    Column("ran_at", BigInteger),
)

# Up to where the outcomes topic is in the journal.
positions = Table(
    "positions",
    metadata,
    Column("group_id", String(255), primary_key=True),
    Column("topic", String(249), primary_key=True),
    # Kafka's, empty where it is not known: a topic made anew has another.
    Column("topic_id", String(64), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
)


def insert_new(table: Table, dialect: str) -> Any:
    """Return an insert that leaves alone a row which is there already.

    Parameters
    ----------
    table
        Of the journal.
    dialect
        ``postgresql`` or ``sqlite``.
    """
    module: Any = postgresql if dialect == "postgresql" else sqlite
    return module.insert(table).on_conflict_do_nothing()
