"""What was applied last of users and investigations, beside what is claimed."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and fill it where the newest claim is applied."""
    op.add_column("newest", sa.Column("applied", sa.Text))
    op.execute("UPDATE newest SET applied = plan WHERE state = 'applied'")
