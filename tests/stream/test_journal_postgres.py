"""What a loop does while the PostgreSQL of its journal has a bad day."""

from contextlib import closing

import pytest
from sqlalchemy import text

from plugins.postgres import do, start_patiently, superuser

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


def rows(url):
    with superuser(url) as connection:
        asked = 'SELECT "offset", state FROM outcomes ORDER BY "partition", "offset"'
        return [tuple(row) for row in connection.execute(text(asked))]


def message(name):
    return {"id": str(name), "key": f"k{name}"}


def test_a_table_that_is_locked_holds_nobody_up(stage, empty_postgres):
    stage.create(1)
    journal = {"url": empty_postgres, "timeout": "1s"}
    loop, writer = stage.start(), stage.writer(journal=journal)
    stage.wait(lambda: has_begun(empty_postgres))
    with superuser(empty_postgres) as connection, closing(connection.begin()):
        connection.execute(text("LOCK TABLE outcomes"))
        stage.send(message(1))
        stage.wait(lambda: "lock timeout" in writer.status().down)
        assert stage.events() == ["1"]
    assert writer.catch_up(180) == ""
    assert stage.stop(loop).exit_code == 0
    assert rows(empty_postgres) == [(0, "committed")]


def has_begun(url):
    with superuser(url) as connection:
        asked = "SELECT to_regclass('positions') IS NOT NULL"
        return connection.scalar(text(asked))


def test_every_record_has_its_row_after_ended_connections_and_a_restart(
    stage, empty_postgres, postgres_server
):
    stage.create(1)
    stage.switch("slow", "0.01")
    stage.send(*(message(n) for n in range(200)))
    journal = {"url": empty_postgres}
    # Two, as in two instances.
    loop, writers = stage.start(), [stage.writer(journal=journal) for _ in range(2)]
    for done in (20, 60, 100):
        stage.wait(lambda done=done: len(stage.outcomes) > done)
        do(empty_postgres, OTHERS)
    postgres_server.stop()
    try:
        stage.send(message(200))
        stage.wait(lambda: all(writer.status().down for writer in writers))
        stage.wait(lambda: sum(stage.committed().values()) == 201)
    finally:
        start_patiently(postgres_server.ensure_postgres_running)
    assert stage.stop(loop).exit_code == 0
    assert sorted(map(int, stage.events())) == list(range(201))
    assert [writer.catch_up(180) for writer in writers] == ["", ""]
    assert rows(empty_postgres) == [(n, "committed") for n in range(201)]


def test_a_right_that_is_taken_away_loses_no_row(stage, empty_postgres):
    do(
        empty_postgres,
        "DROP ROLE IF EXISTS stage",
        "CREATE ROLE stage LOGIN",
        "GRANT ALL ON SCHEMA public TO stage",
    )
    stage.create(1)
    journal = {"url": empty_postgres.replace("postgres:@", "stage@")}
    writer = stage.writer(journal=journal)
    stage.wait(lambda: has_begun(empty_postgres))
    do(empty_postgres, "REVOKE INSERT ON outcomes FROM stage")
    stage.send(message(1))
    assert stage.run().exit_code == 0
    stage.wait(lambda: "permission denied" in writer.status().down)
    do(empty_postgres, "GRANT INSERT ON outcomes TO stage")
    assert writer.catch_up(180) == ""
    assert rows(empty_postgres) == [(0, "committed")]
    writer.stop(60)
    do(empty_postgres, "DROP OWNED BY stage", "DROP ROLE stage")


def test_a_file_that_is_deleted_and_put_back_loses_no_row(stage):
    stage.create(1)
    stage.send(message(1))
    assert stage.run().exit_code == 0
    writer = stage.writer()
    assert writer.catch_up(180) == ""
    names = [file.name for file in stage.folder.glob("journal.db*")]
    for name in names:
        (stage.folder / name).rename(stage.folder / f"away-{name}")
    stage.send(message(2))
    assert stage.run().exit_code == 0
    stage.wait(lambda: "is gone" in writer.status().down)
    assert stage.events() == ["1", "2"]
    for name in names:
        (stage.folder / f"away-{name}").rename(stage.folder / name)
    assert writer.catch_up(180) == ""
    assert [row["state"] for row in stage.rows()] == ["committed"] * 2
