"""The journal, on SQLite and on PostgreSQL."""

import re
import threading
import time
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from icat_stream.config import ConfigError, JournalSettings
from icat_stream.journal import Journal, JournalRow, RowKey, Search, migrations
from icat_stream.journal.tables import metadata
from icat_stream.records import SystemUnavailable


def row(offset, *, topic="t", partition=0, time=1000, **fields):
    values = {
        "origin_topic": topic,
        "origin_partition": partition,
        "origin_offset": offset,
        "origin_time": time,
        "outcome": "ingested",
        "size": 3,
        "sha256": "0" * 64,
        "objects": {"dataset": "ä"},
        "steps": {"plan": 0.5},
    }
    return JournalRow(
        at=RowKey("g", topic, partition, offset, time), **(values | fields)
    )


def stored(journal, columns='"offset", state, text'):
    with journal._begin() as connection:
        sql = f'SELECT {columns} FROM outcomes ORDER BY topic, "offset", "time"'
        return [tuple(each) for each in connection.execute(text(sql))]


def test_rows_are_pending_and_then_committed(journal):
    rows = [row(1), row(2), row(1, topic="u")]
    journal.pending(rows)
    assert [each[1] for each in stored(journal)] == ["pending"] * 3
    journal.committed(rows[:2])
    assert [each[1] for each in stored(journal)] == ["committed"] * 2 + ["pending"]


def test_a_pending_row_may_change_a_committed_one_never_does(journal):
    journal.pending([row(1, text="first")])
    journal.pending([row(1, text="second")])
    journal.committed([row(1, text="second")])
    journal.pending([row(1, text="a late zombie")])
    journal.committed([row(1, text="a late zombie")])
    assert stored(journal) == [(1, "committed", "second")]


def test_what_was_committed_is_what_the_row_says_after_a_zombie(journal, url):
    mine = [row(n, text="mine") for n in range(3)]
    journal.pending(mine)
    zombie = Journal(JournalSettings(url=url))
    zombie.pending([row(1, text="a zombie's")])
    journal.committed(mine)
    zombie.close()
    assert {each[1:] for each in stored(journal)} == {("committed", "mine")}


def test_settling_marks_only_what_is_committed(journal):
    journal.pending([row(n) for n in range(5)])
    journal.pending([row(0, partition=1)])
    assert journal.settle("g", "t", 0, lambda offset: offset in (0, 1, 3)) == 3
    assert journal.settle("g", "t", 0, lambda offset: offset in (0, 1, 3)) == 0
    assert [each[1] for each in stored(journal)].count("pending") == 3


def test_only_the_rows_that_are_named_are_marked(journal):
    rows = [row(n) for n in range(5)]
    journal.pending(rows)
    journal.committed([rows[0], rows[3]])
    pending = [offset for offset, state, _ in stored(journal) if state == "pending"]
    assert pending == [1, 2, 4]


def test_a_topic_made_anew_does_not_overwrite_the_old_one(journal):
    journal.pending([row(1, time=1)])
    journal.committed([row(1, time=1)])
    journal.pending([row(1, time=2)])
    journal.committed([row(1, time=2)])
    assert len(stored(journal)) == 2
    assert {each[1] for each in stored(journal)} == {"committed"}


def test_text_that_a_database_cannot_hold_is_no_reason_to_stop(journal):
    journal.pending([row(1, text="nul \0, half \ud800", key="\0")])
    assert stored(journal, "text") == [("nul �, half ?",)]


def test_many_rows_and_many_writers_at_once(journal, url):
    def write(partition):
        other = Journal(JournalSettings(url=url))
        for start in range(0, 600, 200):
            rows = [row(n, partition=partition) for n in range(start, start + 200)]
            other.pending(rows)
            other.committed(rows)
        other.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each[1] for each in stored(journal)] == ["committed"] * 2400


def test_jobs_are_remembered(journal):
    assert journal.sample_of_job("j") is None
    journal.remember_job("j", "vanadium", "2024-0815")
    journal.remember_job("j", "nickel")
    assert journal.sample_of_job("j") == "nickel"


def test_creating_twice_and_at_the_same_time_is_fine(url):
    journals = [Journal(JournalSettings(url=url)) for _ in range(4)]
    failures = []

    def create(journal):
        try:
            journal.create()
        except SystemUnavailable as error:
            failures.append(error)

    threads = [threading.Thread(target=create, args=(j,)) for j in journals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    journals[0].ping()
    for journal in journals:
        journal.close()


def test_tables_from_before_their_revisions_were_kept_are_taken_over(url):
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(
            text("INSERT INTO jobs VALUES ('j', 'nickel', NULL, 4102444800000)")
        )
        about = '{"investigation": "A/1", "dataset": ["d 1", "d 2"]}'
        values = {
            "group": "g",
            "topic": "t",
            "partition": 0,
            "offset": 1,
            "time": 1,
            "origin_topic": "t",
            "origin_partition": 0,
            "origin_offset": 1,
            "origin_time": 1,
            "sha256": "",
            "size": 0,
            "objects": about,
            "outcome": "ingested",
            "text": "",
            "attempts": 1,
            "steps": "{}",
            "version": "",
            "state": "committed",
            "writer": "",
            "written_at": 1,
        }
        columns = ", ".join(f'"{name}"' for name in values)
        places = ", ".join(f":{name}" for name in values)
        connection.execute(
            text(f"INSERT INTO outcomes ({columns}) VALUES ({places})"), values
        )
    engine.dispose()
    journal = Journal(JournalSettings(url=url))
    journal.create()
    assert journal.sample_of_job("j") == "nickel"
    for search in (Search(investigation="A"), Search(dataset="d 2")):
        assert len(list(journal.entries.find(search))) == 1
    journal.close()


def test_the_steps_end_in_what_the_program_works_with(journal):
    with journal._begin() as connection:
        # Months are not in the metadata.
        def is_ours(name, kind, _):
            return kind != "table" or not name.startswith("outcomes_")

        options = {"include_name": is_ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_tables_of_a_newer_program_are_left_alone(journal):
    with journal._begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match=r"9999.*newer"):
        journal.create()


def test_a_database_that_is_gone_is_a_system_that_is_unavailable(tmp_path):
    journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/no/journal.db"))
    with pytest.raises(SystemUnavailable, match=r"no/journal\.db") as caught:
        journal.pending([row(1)])
    assert caught.value.system == "journal"


def test_a_password_is_never_shown(tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    settings = JournalSettings(
        url="postgresql://me@127.0.0.1:1/db", password_file=tmp_path / "secret"
    )
    journal = Journal(settings)
    with pytest.raises(SystemUnavailable) as caught:
        journal.ping()
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_a_password_among_the_options_of_the_url_is_not_shown_either():
    journal = Journal(
        JournalSettings(url="postgresql://me@127.0.0.1:1/db?password=s3cret")
    )
    with pytest.raises(SystemUnavailable, match=r"127\.0\.0\.1:1/db") as caught:
        journal.ping()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "mysql://x/y", "not a url"])
def test_an_url_that_will_not_do_is_named(url):
    with pytest.raises(ValueError, match=r"journal|sqlite"):
        Journal(JournalSettings(url=url))


@pytest.mark.parametrize(
    "fields",
    [
        {"objects": {"when": object()}},
        {"objects": {"size": float("nan")}},
        {"objects": {"text": "nul \0"}},
        {"message_type": "x" * 300, "error_class": "y" * 300},
        {"objects": {"dataset": ["half \ud800", "nul \0"]}},
        {"attempts": 2**40},
        {"origin_offset": 2**70, "origin_time": 2**70, "origin_partition": 2**40},
    ],
)
def test_values_that_a_database_refuses_are_no_reason_to_stop(journal, fields):
    journal.pending([row(1, **fields), row(2)])
    journal.committed([row(1, **fields), row(2)])
    assert [each[1] for each in stored(journal)] == ["committed", "committed"]


def test_names_in_a_list_stay_as_they_are_and_can_be_searched(journal):
    names = ["C:\\u0000 run", "half \ud800", "nul \0"]
    journal.pending([row(1, objects={"dataset": names}), row(2)])
    found = list(journal.entries.find(Search(dataset="C:\\u0000 run")))
    assert [entry.at.offset for entry in found] == [1]
    assert found[0].row.objects["dataset"] == [names[0], "half ?", "nul �"]


@pytest.mark.parametrize(
    ("limits", "kept"),
    [({}, b"x" * 10), ({"payload": False}, None), ({"payload_limit": 9}, None)],
)
def test_a_payload_is_kept_as_far_as_it_shall_be(url, limits, kept):
    journal = Journal(JournalSettings(url=url, **limits))
    journal.create()
    journal.pending([row(1, payload=b"x" * 10, record_key=b"k")])
    ((payload,),) = stored(journal, "payload")
    assert (payload and zlib.decompress(payload)) == kept
    journal.close()


DAY = 86_400_000


def test_old_rows_are_dropped_and_others_stay(url):
    now = time.time_ns() // 1_000_000
    journal = Journal(JournalSettings(url=url))
    journal.create()
    # Of a time that no clock shows now, but written just now: kept.
    journal.pending([row(1, time=-1), row(2, time=2**62)])
    for n, age in enumerate((400, 200, 100, 10, 0)):
        journal.pending([row(10 + n, time=now - age * DAY)])
    with journal._begin() as connection:
        sql = f"UPDATE outcomes SET written_at = time WHERE time > 0 AND time < {now}"
        connection.execute(text(sql))
    journal.close()
    shorter = Journal(JournalSettings(url=url, retention="150d"))
    shorter.create()
    assert sorted(n for n, *_ in stored(shorter)) == [1, 2, 12, 13, 14]
    shorter.close()


@pytest.mark.postgres
def test_months_are_partitions_and_rows_of_the_future_come_into_theirs(postgres):
    engine = create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    journal = Journal(JournalSettings(url=postgres))
    journal.create()
    ahead = max(n for n in inspect(engine).get_table_names() if n < "outcomes_d")
    journal.pending([row(1, time=time.time_ns() // 1_000_000), row(2, time=2**62)])
    with engine.begin() as connection:
        # As if the month were still to be made.
        sql = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = :n"
        bound = connection.scalar(text(sql), {"n": ahead})
        begin = int(re.search(r"\d{10,}", bound)[0])
        connection.execute(text(f"DROP TABLE {ahead}"))
    journal.pending([row(3, time=begin + 1)])
    with engine.begin() as reading:
        reading.execute(text("SELECT count(*) FROM outcomes"))
        # Writers would wait behind it for as long as somebody reads.
        with pytest.raises(SystemUnavailable, match="lock timeout"):
            journal.upkeep()
    journal.upkeep()
    with engine.begin() as connection:
        sql = 'SELECT tableoid::regclass::text FROM outcomes ORDER BY "offset"'
        homes = [each for (each,) in connection.execute(text(sql))]
    engine.dispose()
    journal.close()
    assert homes == [f"{datetime.now(UTC):outcomes_%Y_%m}", "outcomes_default", ahead]


@pytest.mark.postgres
def test_a_month_is_made_while_somebody_writes_into_it(postgres):
    engine = create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    journal = Journal(JournalSettings(url=postgres))
    journal.create()
    ahead = max(n for n in inspect(engine).get_table_names() if n < "outcomes_d")
    with engine.begin() as connection:
        sql = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = :n"
        bound = connection.scalar(text(sql), {"n": ahead})
        begin = int(re.search(r"\d{10,}", bound)[0])
        connection.execute(text(f"DROP TABLE {ahead}"))
    journal.pending([row(3, time=begin + 1)])
    problems = []

    def upkeep():
        while not problems:
            try:
                journal.upkeep()
            except SystemUnavailable:
                # It waits for writers no longer than its patience.
                continue
            except Exception as error:
                problems.append(error)
            return

    thread = threading.Thread(target=upkeep)
    with engine.begin() as writer:
        # A row of that month, not committed yet.
        writer.execute(
            text(
                "INSERT INTO outcomes SELECT"
                " (json_populate_record(r, '{\"offset\": 4}')).* FROM outcomes r"
            )
        )
        thread.start()
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with engine.connect() as looking:
            end = time.monotonic() + 60
            while not looking.scalar(waits):
                assert time.monotonic() < end
                looking.rollback()
    thread.join(60)
    assert not thread.is_alive()
    assert problems == []
    with engine.begin() as connection:
        assert connection.scalar(text(f"SELECT count(*) FROM {ahead}")) == 2
    engine.dispose()
    journal.close()
