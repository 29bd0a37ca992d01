"""Kafka's ids of the topics that claims came by."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of what is there already it is not known."""
    column = sa.Column("topic_id", sa.String(64), nullable=False, server_default="")
    op.add_column("newest", column)
