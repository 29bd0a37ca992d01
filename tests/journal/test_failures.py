"""What may befall a database while it is in use: each is said, and none is for ever."""

import resource
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text

from icat_stream.config import JournalSettings
from icat_stream.journal import Journal, engines, postgres_copy
from icat_stream.records import SystemUnavailable
from plugins.postgres import do, start_patiently, superuser

from .test_journal import row, stored

IN_POSTGRES = pytest.mark.postgres


def opened(url, **settings):
    journal = Journal(JournalSettings(url=url, **settings))
    journal.create()
    return journal


def fails(journal, reason, offset=1):
    with pytest.raises(SystemUnavailable, match=reason) as failure:
        journal.write([row(offset)])
    assert failure.value.system == "journal"
    assert "\n" not in failure.value.reason


def written(journal):
    return [offset for offset, *_ in stored(journal)]


OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@IN_POSTGRES
def test_a_server_that_answers_no_more_is_given_up(proxied_postgres, monkeypatch):
    url, proxy = proxied_postgres
    monkeypatch.setattr(engines, "_LATER_S", 0.5)
    monkeypatch.setitem(engines._POSTGRES, "connect_timeout", 2)
    copy = postgres_copy.copy

    def held(*arguments):
        proxy.hold()
        copy(*arguments)

    with closing(opened(url, timeout="500ms")) as journal:
        journal.write([row(1)])
        monkeypatch.setattr(postgres_copy, "copy", held)
        fails(journal, "the server has not answered for 1 s", offset=2)
        monkeypatch.setattr(postgres_copy, "copy", copy)
        fails(journal, "connection timeout expired", offset=2)
        proxy.release()
        journal.write([row(3)])
        assert {1, 3} <= set(written(journal))


@IN_POSTGRES
def test_a_table_that_is_locked_is_waited_for_so_long(empty_postgres):
    with closing(opened(empty_postgres, timeout="500ms")) as journal:
        with superuser(empty_postgres) as connection, connection.begin():
            connection.execute(text("LOCK TABLE outcomes"))
            fails(journal, "canceling statement due to lock timeout")
            with pytest.raises(SystemUnavailable, match="lock timeout"):
                journal.probe()
        journal.probe()
        journal.write([row(1)])
        assert written(journal) == [1]


@IN_POSTGRES
def test_a_right_that_is_taken_away_and_given_back(empty_postgres):
    do(
        empty_postgres,
        "DROP ROLE IF EXISTS stream",
        "CREATE ROLE stream LOGIN",
        "GRANT ALL ON SCHEMA public TO stream",
        "GRANT TEMPORARY ON DATABASE postgres TO stream",
    )
    with closing(opened(empty_postgres.replace("postgres:@", "stream@"))) as journal:
        journal.write([row(1)])
        do(empty_postgres, "REVOKE INSERT ON outcomes FROM stream")
        fails(journal, "permission denied for table outcomes", offset=2)
        with pytest.raises(SystemUnavailable, match="permission denied"):
            journal.probe()
        do(empty_postgres, "GRANT INSERT ON outcomes TO stream")
        journal.probe()
        journal.write([row(2)])
        assert written(journal) == [1, 2]
    do(empty_postgres, "DROP OWNED BY stream", "DROP ROLE stream")


@IN_POSTGRES
def test_a_connection_that_is_ended_while_nothing_is_done_costs_nothing(
    empty_postgres,
):
    with closing(opened(empty_postgres)) as journal:
        journal.write([row(1)])
        do(empty_postgres, OTHERS)
        assert stored(journal, "state") == [("committed",)]


@IN_POSTGRES
def test_a_connection_that_is_ended_while_rows_are_on_their_way(
    empty_postgres, monkeypatch
):
    with closing(opened(empty_postgres)) as journal:
        copy = postgres_copy.copy

        def ended(*arguments):
            do(empty_postgres, OTHERS)
            copy(*arguments)

        monkeypatch.setattr(postgres_copy, "copy", ended)
        fails(journal, "connection")
        monkeypatch.undo()
        journal.write([row(1)])
        assert written(journal) == [1]


@IN_POSTGRES
def test_a_server_that_is_stopped_and_started(empty_postgres, postgres_server):
    with closing(opened(empty_postgres)) as journal:
        journal.write([row(1)])
        postgres_server.stop()
        try:
            fails(journal, "connection")
        finally:
            start_patiently(postgres_server.ensure_postgres_running)
        journal.write([row(2)])
        assert written(journal) == [1, 2]


@IN_POSTGRES
def test_a_partition_that_was_dropped_is_made_again_by_the_upkeep(empty_postgres):
    with closing(opened(empty_postgres)) as journal:
        do(empty_postgres, "DROP TABLE outcomes_default")
        fails(journal, "no partition of relation")
        journal.upkeep()
        journal.write([row(1)])
        assert written(journal) == [1]


@IN_POSTGRES
def test_a_server_that_only_reads(empty_postgres):
    with closing(opened(empty_postgres)) as journal:
        do(
            empty_postgres,
            "ALTER DATABASE postgres SET default_transaction_read_only=on",
        )
        try:
            do(empty_postgres, "SET transaction_read_only = off", OTHERS)
            with pytest.raises(SystemUnavailable, match="read-only transaction"):
                journal.probe()
            fails(journal, "read-only transaction")
        finally:
            do(
                empty_postgres,
                "SET transaction_read_only = off",
                "ALTER DATABASE postgres RESET default_transaction_read_only",
                OTHERS,
            )
        journal.write([row(1)])


def test_a_folder_that_is_deleted_is_noticed_and_put_back(tmp_path):
    folder = tmp_path / "journal"
    folder.mkdir()
    with closing(opened(f"sqlite:///{folder}/journal.db")) as journal:
        journal.write([row(1)])
        away = folder.rename(tmp_path / "away")
        # An open file would go on taking rows that nobody ever sees.
        fails(journal, "is gone, or is not the file that was opened first", offset=2)
        folder.mkdir()
        fails(journal, "is gone", offset=2)
        assert not list(folder.iterdir())
        folder.rmdir()
        away.rename(folder)
        journal.write([row(3)])
        assert written(journal) == [1, 3]


def test_a_file_in_place_of_the_journal_is_not_taken_for_it(tmp_path):
    with closing(opened(f"sqlite:///{tmp_path}/journal.db")) as journal:
        journal.write([row(1)])
        for file in tmp_path.iterdir():
            file.rename(file.with_name("old-" + file.name))
        other = opened(f"sqlite:///{tmp_path}/journal.db")
        fails(journal, "put it back as it was, or restart", offset=2)
        assert written(other) == []
        other.close()


def test_a_file_that_only_reads(tmp_path):
    with closing(opened(f"sqlite:///{tmp_path}/journal.db")) as journal:
        journal.write([row(1)])
    only = f"sqlite:///file:{tmp_path}/journal.db?mode=ro&uri=true"
    with closing(Journal(JournalSettings(url=only))) as journal:
        fails(journal, "attempt to write a readonly database")
        with pytest.raises(SystemUnavailable, match="readonly"):
            journal.probe()


def test_a_file_that_may_grow_no_more(tmp_path):
    with closing(opened(f"sqlite:///{tmp_path}/journal.db")) as journal:
        journal.write([row(1)])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = (tmp_path / "journal.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            fails(journal, "disk I/O error|disk is full", offset=2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        journal.write([row(2)])
        assert written(journal) == [1, 2]


def test_a_file_that_is_damaged(tmp_path):
    with closing(opened(f"sqlite:///{tmp_path}/journal.db")) as journal:
        journal.write([row(1)])
    file = tmp_path / "journal.db"
    good = file.read_bytes()
    file.write_bytes(good[:4096] + b"\xff" * (len(good) - 4096))
    with closing(Journal(JournalSettings(url=f"sqlite:///{file}"))) as journal:
        fails(journal, "malformed", offset=2)
    file.write_bytes(b"no database at all" * 1000)
    with closing(Journal(JournalSettings(url=f"sqlite:///{file}"))) as journal:
        fails(journal, "file is not a database", offset=2)


def test_a_file_that_another_process_has_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "_BUSY_S", 0.2)
    with closing(opened(f"sqlite:///{tmp_path}/journal.db")) as journal:
        with closing(sqlite3.connect(tmp_path / "journal.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            fails(journal, "database is locked")
        journal.write([row(1)])
        assert written(journal) == [1]
