"""Payloads, names to search by, and months as partitions in PostgreSQL."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# An asterisk stands for a list of names, which is in the objects.
_SQLITE = """UPDATE outcomes SET NAME = CASE json_type(objects, '$.NAME')
 WHEN 'text' THEN substr(json_extract(objects, '$.NAME'), 1, 255)
 WHEN 'array' THEN '*' END"""
_POSTGRESQL = """UPDATE outcomes SET NAME = CASE json_typeof(objects->'NAME')
 WHEN 'string' THEN left(objects->>'NAME', 255)
 WHEN 'array' THEN '*' END"""
_KEY = ("group", "topic", "partition", "offset", "time")


def upgrade() -> None:
    """Add columns and indexes; in PostgreSQL move all rows to a partition."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    collation = "C" if is_postgresql else None
    names = ("investigation", "dataset", "file")
    for name in names:
        column = sa.Column(name, sa.String(255, collation=collation))
        op.add_column("outcomes", column)
    op.add_column("outcomes", sa.Column("payload", sa.LargeBinary))
    op.add_column("outcomes", sa.Column("record_key", sa.LargeBinary))
    op.add_column("outcomes", sa.Column("headers", sa.JSON))
    # Rows from before are searched by their names as well.
    told = _POSTGRESQL if is_postgresql else _SQLITE
    for name in names:
        op.execute(told.replace("NAME", name))
    if is_postgresql:
        _partition()
    op.create_index("outcomes_time", "outcomes", ["time"])
    op.create_index("outcomes_outcome", "outcomes", ["outcome", "time"])
    op.create_index("outcomes_sha256", "outcomes", ["sha256"])
    for name in names:
        known = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"outcomes_{name}",
            "outcomes",
            [name],
            sqlite_where=known,
            postgresql_where=known,
        )
    op.create_index("jobs_remembered_at", "jobs", ["remembered_at"])


def _partition() -> None:
    # What is there goes to the default partition; upkeep moves it to its months.
    key = ", ".join(f'"{name}"' for name in _KEY)
    for statement in (
        "DROP INDEX outcomes_pending",
        "DROP INDEX outcomes_origin",
        "ALTER TABLE outcomes RENAME TO outcomes_default",
        "ALTER TABLE outcomes_default RENAME CONSTRAINT outcomes_pkey"
        " TO outcomes_default_pkey",
        f"CREATE TABLE outcomes (LIKE outcomes_default, PRIMARY KEY ({key}))"
        ' PARTITION BY RANGE ("time")',
        "ALTER TABLE outcomes ATTACH PARTITION outcomes_default DEFAULT",
        'CREATE INDEX outcomes_pending ON outcomes ("group", topic, "partition",'
        " \"offset\") WHERE state = 'pending'",
        "CREATE INDEX outcomes_origin ON outcomes (origin_topic, origin_partition,"
        " origin_offset) WHERE origin_topic <> topic",
    ):
        op.execute(statement)
