"""When each check of the schedule ran."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "schedule",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("busy_until", sa.BigInteger, nullable=False),
        sa.Column("ran_at", sa.BigInteger),
    )
