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
from icat_stream.journal import (
    Fenced,
    Journal,
    JournalRow,
    Move,
    RowKey,
    Search,
    migrations,
)
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


def test_a_row_that_is_there_stays_as_it_is(journal):
    journal.write([row(1, text="first")])
    journal.write([row(1, text="second"), row(2), row(1, topic="u")])
    assert {each[1] for each in stored(journal)} == {"committed"}
    assert sorted(each[2] for each in stored(journal)) == ["", "", "first"]


def test_of_one_that_comes_twice_at_once_there_is_one_row(journal):
    journal.write([row(1, text="aborted"), row(2), row(1, text="it")])
    assert [each[0] for each in stored(journal)] == [1, 2]


WHOSE = ("g", "outcomes", "an-id")


def test_rows_come_with_the_places_that_they_came_from(journal):
    journal.project(*WHOSE, [Move(1, None, 5), Move(0, None, 3)], [row(1), row(2)])
    journal.project(*WHOSE, [Move(0, 3, 9)], [row(3)])
    assert journal.positions("g", "outcomes") == {("an-id", 0): 9, ("an-id", 1): 5}
    assert journal.positions("other", "outcomes") == {}
    assert len(stored(journal)) == 3


@pytest.mark.parametrize("before", [None, 2, 4])
def test_who_comes_late_writes_nothing(journal, before):
    journal.project(*WHOSE, [Move(0, None, 3)], [row(1)])
    with pytest.raises(Fenced):
        journal.project(*WHOSE, [Move(0, before, 9), Move(1, None, 7)], [row(2)])
    assert journal.positions("g", "outcomes") == {("an-id", 0): 3}
    assert [each[0] for each in stored(journal)] == [1]


def test_of_many_that_write_the_same_one_has_written(journal, url):
    others = [Journal(JournalSettings(url=url)) for _ in range(4)]
    fenced = []

    def write(journal):
        before = None
        for after in range(1, 41):
            moves = [Move(n, before, after) for n in (2, 0, 1)]
            try:
                journal.project(*WHOSE, moves, [row(after)])
            except Fenced:
                fenced.append(after)
            before = after

    threads = [threading.Thread(target=write, args=(each,)) for each in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in others:
        each.close()
    assert len(stored(journal)) == 40
    assert len(fenced) == 3 * 40
    places = journal.positions("g", "outcomes")
    assert places == {("an-id", n): 40 for n in range(3)}


def test_a_topic_made_anew_does_not_overwrite_the_old_one(journal):
    journal.write([row(1, time=1)])
    journal.write([row(1, time=2)])
    assert len(stored(journal)) == 2
    assert {each[1] for each in stored(journal)} == {"committed"}


def test_text_that_a_database_cannot_hold_is_no_reason_to_stop(journal):
    journal.write([row(1, text="nul \0, half \ud800", key="\0")])
    assert stored(journal, "text") == [("nul �, half ?",)]


def test_many_rows_and_many_writers_at_once(journal, url):
    def write(partition):
        other = Journal(JournalSettings(url=url))
        for start in range(0, 600, 200):
            rows = [row(n, partition=partition) for n in range(start, start + 200)]
            other.write(rows)
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
        insert = text(f"INSERT INTO outcomes ({columns}) VALUES ({places})")
        connection.execute(insert, values)
        # A crash has left these; of the second Kafka has committed nothing.
        for offset in (2, 3):
            left = {"offset": offset, "text": "left", "state": "pending"}
            connection.execute(insert, values | left)
    engine.dispose()
    journal = Journal(JournalSettings(url=url))
    journal.create()
    assert journal.sample_of_job("j") == "nickel"
    for search in (Search(investigation="A"), Search(dataset="d 2")):
        assert len(list(journal.entries.find(search))) == 3
    journal.write([row(3, time=1, text="handled again")])
    assert stored(journal) == [
        (1, "committed", ""),
        (2, "pending", "left"),
        (3, "committed", "handled again"),
    ]
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
        journal.write([row(1)])
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
    journal.write([row(1, **fields), row(2)])
    assert [each[1] for each in stored(journal)] == ["committed", "committed"]


def test_names_in_a_list_stay_as_they_are_and_can_be_searched(journal):
    names = ["C:\\u0000 run", "half \ud800", "nul \0"]
    journal.write([row(1, objects={"dataset": names}), row(2)])
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
    journal.write([row(1, payload=b"x" * 10, record_key=b"k")])
    ((payload,),) = stored(journal, "payload")
    assert (payload and zlib.decompress(payload)) == kept
    journal.close()


DAY = 86_400_000


def test_old_rows_are_dropped_and_others_stay(url):
    now = time.time_ns() // 1_000_000
    journal = Journal(JournalSettings(url=url))
    journal.create()
    # Of a time that no clock shows now, but written just now: kept.
    journal.write([row(1, time=-1), row(2, time=2**62)])
    for n, age in enumerate((400, 200, 100, 10, 0)):
        journal.write([row(10 + n, time=now - age * DAY)])
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
    journal.write([row(1, time=time.time_ns() // 1_000_000), row(2, time=2**62)])
    with engine.begin() as connection:
        # As if the month were still to be made.
        sql = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = :n"
        bound = connection.scalar(text(sql), {"n": ahead})
        begin = int(re.search(r"\d{10,}", bound)[0])
        connection.execute(text(f"DROP TABLE {ahead}"))
    journal.write([row(3, time=begin + 1)])
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
    journal.write([row(3, time=begin + 1)])
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
