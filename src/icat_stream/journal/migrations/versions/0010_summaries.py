"""How many rows each quarter of an hour has, and what waits now: kept by triggers."""
# ruff: noqa: S608

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_MESSAGE = (
    '"group"',
    "origin_topic",
    "origin_partition",
    "origin_offset",
    "origin_time",
)
_KEY = ", ".join(_MESSAGE)
# Whatever writes a row, these follow in its transaction; of a row that is there already
# nothing is added.
_TALLY = """
INSERT INTO tallies ("group", outcome, quarter, records, newest)
SELECT "group", outcome, "time" / 900000 * 900000, count(*), max("time")
FROM ADDED WHERE true GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT ("group", outcome, quarter) DO UPDATE SET
records = tallies.records + excluded.records,
newest = CASE WHEN excluded.newest > tallies.newest THEN excluded.newest
ELSE tallies.newest END;"""
# As Search.last has it: what comes after the first row comes from a retry topic.
_LATER = f"""
EXISTS (SELECT 1 FROM outcomes later WHERE later.origin_topic <> later.topic
AND {" AND ".join(f"later.{name} = ADDED.{name}" for name in _MESSAGE)}
AND (later.written_at > ADDED.written_at
OR later.written_at = ADDED.written_at AND later."time" > ADDED."time"))"""
_WAITS = f"""
INSERT INTO waiting ({_KEY}, "time", text) SELECT {_KEY}, "time", text
FROM ADDED WHERE outcome = 'deferred' AND NOT {_LATER}
ON CONFLICT ({_KEY}) DO UPDATE SET "time" = excluded."time", text = excluded.text;"""
_IS_OVER = f"""
DELETE FROM waiting WHERE EXISTS (SELECT 1 FROM ADDED
WHERE {" AND ".join(f"waiting.{name} = ADDED.{name}" for name in _MESSAGE)}
AND ADDED.outcome <> 'deferred' AND ADDED.origin_topic <> ADDED.topic
AND NOT {_LATER});"""
_POSTGRESQL = f"""
CREATE FUNCTION summarise_outcomes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
{_TALLY} {_WAITS} {_IS_OVER} RETURN NULL; END $$;
CREATE TRIGGER outcomes_summaries AFTER INSERT ON outcomes
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION summarise_outcomes()
"""


def upgrade() -> None:
    """Make the tables, fill them with what is there, and keep them from now on."""
    name = sa.String(255)
    op.create_table(
        "tallies",
        sa.Column("group", name, primary_key=True),
        sa.Column("outcome", sa.String(16), primary_key=True),
        sa.Column("quarter", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("records", sa.BigInteger, nullable=False),
        sa.Column("newest", sa.BigInteger, nullable=False),
    )
    op.create_index("tallies_quarter", "tallies", ["quarter"])
    op.create_table(
        "waiting",
        sa.Column("group", name, primary_key=True),
        sa.Column("origin_topic", sa.String(249), primary_key=True),
        sa.Column(
            "origin_partition", sa.Integer, primary_key=True, autoincrement=False
        ),
        sa.Column(
            "origin_offset", sa.BigInteger, primary_key=True, autoincrement=False
        ),
        sa.Column("origin_time", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    for statement in (_TALLY, _WAITS):
        op.execute(statement.replace("ADDED", "outcomes").removesuffix(";"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_POSTGRESQL.replace("ADDED", "added"))
    else:
        for statement in _sqlite():
            op.execute(statement)
    op.drop_index("outcomes_outcome", "outcomes")
    op.create_index("outcomes_kind", "outcomes", ["group", "outcome", "time"])


def _sqlite() -> tuple[str, ...]:
    """Return the same for one row at a time."""
    same = " AND ".join(f"waiting.{name} = NEW.{name}" for name in _MESSAGE)
    new = ", ".join(f"NEW.{name}" for name in _MESSAGE)
    later = _LATER.replace("ADDED", "NEW")
    return (
        """CREATE TRIGGER outcomes_tallied AFTER INSERT ON outcomes BEGIN
INSERT INTO tallies ("group", outcome, quarter, records, newest) VALUES
(NEW."group", NEW.outcome, NEW."time" / 900000 * 900000, 1, NEW."time")
ON CONFLICT ("group", outcome, quarter) DO UPDATE SET
records = records + 1, newest = max(newest, excluded.newest); END""",
        f"""CREATE TRIGGER outcomes_waits AFTER INSERT ON outcomes
WHEN NEW.outcome = 'deferred' AND NOT {later} BEGIN
INSERT INTO waiting ({_KEY}, "time", text) VALUES ({new}, NEW."time", NEW.text)
ON CONFLICT ({_KEY}) DO UPDATE SET "time" = excluded."time", text = excluded.text;
END""",
        f"""CREATE TRIGGER outcomes_is_over AFTER INSERT ON outcomes
WHEN NEW.outcome <> 'deferred' AND NEW.origin_topic <> NEW.topic AND NOT {later}
BEGIN DELETE FROM waiting WHERE {same}; END""",
    )
