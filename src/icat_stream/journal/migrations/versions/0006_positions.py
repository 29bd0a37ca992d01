"""Rows come from the outcomes topic, and up to where is kept with them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, and drop what marking rows twice needed.

    A row that a crash has left pending stays so: either its record's offset was
    committed, and the row is true; or the record is handled again, and the row is
    written anew.
    """
    op.create_table(
        "positions",
        sa.Column("group_id", sa.String(255), primary_key=True),
        sa.Column("topic", sa.String(249), primary_key=True),
        sa.Column("topic_id", sa.String(64), primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next", sa.BigInteger, nullable=False),
    )
    op.drop_index("outcomes_pending", "outcomes")
    op.drop_column("outcomes", "writer")
