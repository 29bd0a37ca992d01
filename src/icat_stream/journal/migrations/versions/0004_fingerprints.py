"""What became of the records whose claims are applied."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of what is there already it is not known."""
    op.add_column("newest", sa.Column("fingerprint", sa.String(64)))
    op.add_column("newest", sa.Column("fingerprint_of", sa.String(64)))
    op.add_column("newest", sa.Column("parts", sa.Integer))
    op.add_column("newest", sa.Column("told", sa.Text))
    op.create_index(
        "newest_fingerprint",
        "newest",
        ["fingerprint"],
        sqlite_where=sa.text("fingerprint IS NOT NULL"),
        postgresql_where=sa.text("fingerprint IS NOT NULL"),
    )
