"""The tables as they were before their steps were kept.

They may be there already.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create what is missing."""
    op.create_table(
        "outcomes",
        sa.Column("group", sa.String(255), primary_key=True),
        sa.Column("topic", sa.String(249), primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("origin_topic", sa.String(249), nullable=False),
        sa.Column("origin_partition", sa.Integer, nullable=False),
        sa.Column("origin_offset", sa.BigInteger, nullable=False),
        sa.Column("origin_time", sa.BigInteger, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("message_type", sa.String(64)),
        sa.Column("message_format", sa.String(32)),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("objects", sa.JSON, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("error_class", sa.String(32)),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("steps", sa.JSON, nullable=False),
        sa.Column("trace_id", sa.String(32)),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("writer", sa.String(32), nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    pending = sa.text("state = 'pending'")
    op.create_index(
        "outcomes_pending",
        "outcomes",
        ["group", "topic", "partition", "offset"],
        sqlite_where=pending,
        postgresql_where=pending,
        if_not_exists=True,
    )
    put_off = sa.text("origin_topic <> topic")
    op.create_index(
        "outcomes_origin",
        "outcomes",
        ["origin_topic", "origin_partition", "origin_offset"],
        sqlite_where=put_off,
        postgresql_where=put_off,
        if_not_exists=True,
    )
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(255), primary_key=True),
        sa.Column("sample", sa.Text, nullable=False),
        sa.Column("proposal", sa.Text),
        sa.Column("remembered_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "newest",
        sa.Column("entity", sa.String(64), primary_key=True),
        sa.Column("facility", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("object_id", sa.BigInteger),
        sa.Column("unfinished", sa.JSON, nullable=False),
        sa.Column("claimed_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
