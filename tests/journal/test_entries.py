"""Finding rows, on SQLite and on PostgreSQL."""

import pytest
from sqlalchemy import create_engine, text

from icat_stream.config import JournalSettings
from icat_stream.journal import By, Journal, JournalRow, RowKey, Search
from icat_stream.records import Coordinates

DAY = 86_400_000


def row(offset, *, topic="t", partition=0, time=None, group="g", origin=None, **fields):
    time = 1000 + offset if time is None else time
    first = origin or (topic, partition, offset, time)
    values = dict(
        zip(
            ("origin_topic", "origin_partition", "origin_offset", "origin_time"),
            first,
            strict=True,
        )
    )
    values |= {"outcome": "ingested", "size": 3, "sha256": "0" * 64}
    return JournalRow(
        at=RowKey(group, topic, partition, offset, time), **(values | fields)
    )


def write(journal, *rows):
    for each in rows:
        # One by one: what comes back was written later.
        journal.write([each])


def found(journal, **search):
    return [entry.at.offset for entry in journal.entries.find(Search(**search))]


def named(offset, **objects):
    return row(offset, objects=objects)


def test_rows_are_found_by_what_they_are_about(journal):
    write(
        journal,
        named(1, investigation="A/1", dataset="d", file="x_1.nxs"),
        named(2, investigation="A/2", dataset="O'Neill's", file="x_2.nxs"),
        named(3, investigation="AB/1", dataset="ünï", file="x%2.nxs"),
        named(4),
    )
    assert found(journal, investigation="A") == [1, 2]
    assert found(journal, investigation="A/2") == [2]
    assert found(journal, investigation="A*") == [1, 2, 3]
    assert found(journal, dataset="O'Neill's") == [2]
    assert found(journal, dataset="ünï") == [3]
    assert found(journal, file="x_*") == [1, 2]
    assert found(journal, file="*2.nxs") == [2, 3]
    assert found(journal, file="x%*") == [3]
    assert found(journal) == [1, 2, 3, 4]


def test_rows_are_found_by_one_of_several_names(journal):
    write(journal, named(1, investigation=["A/1", "ß/2"]), named(2, investigation="B"))
    for name in ("A", "A/1", "ß", "ß/2"):
        assert found(journal, investigation=name) == [1]
    assert found(journal, investigation="A/2") == []


def test_rows_are_found_by_time_and_outcome_and_the_rest(journal):
    write(
        journal,
        row(1, outcome="rejected", error_class="rejected", text="100% wrong"),
        row(2, group="h", sha256="ab" + "0" * 62, message_type="wrdn", key="k"),
        row(3, topic="u", trace_id="c" * 32, outcome="ignored"),
    )
    assert found(journal, since=1002) == [2, 3]
    assert found(journal, until=1002) == [1]
    assert found(journal, outcomes=["ignored", "rejected"]) == [1, 3]
    assert found(journal, text="0% w") == [1]
    assert found(journal, text="0_ w") == []
    assert found(journal, error_class="rej*") == [1]
    assert found(journal, groups=["h"]) == [2]
    assert found(journal, topics=["u", "none"]) == [3]
    assert found(journal, sha256="ab") == [2]
    assert found(journal, trace_id="ccc") == [3]
    assert found(journal, message_type="wrdn", key="k") == [2]
    assert found(journal, message=Coordinates("t", 0, 2)) == [2]


def test_a_limit_takes_the_newest(journal):
    journal.write([row(n) for n in range(1200)])
    newest = journal.entries.find(Search(), limit=3, newest_first=True)
    assert [entry.at.offset for entry in newest] == [1199, 1198, 1197]
    assert found(journal) == list(range(1200))


def test_the_whole_way_of_a_message_from_any_of_its_places(journal):
    origin = ("t", 0, 5, 1005)
    write(
        journal,
        row(5, outcome="deferred"),
        row(0, topic="g.retry.0", time=2000, origin=origin, outcome="deferred"),
        row(9, topic="g.retry.1", time=3000, origin=origin),
        row(5, group="other", outcome="ignored"),
        row(6),
        row(0, topic="h.retry.0", time=2000, origin=("t", 0, 6, 1006)),
    )
    way = [("g", "t"), ("g", "g.retry.0"), ("g", "g.retry.1")]
    for place in (Coordinates("g.retry.0", 0, 0), Coordinates("g.retry.1", 0, 9)):
        entries = journal.entries.way(place)
        assert [(e.row.at.group, e.row.at.topic) for e in entries] == way
    entries = journal.entries.way(Coordinates("t", 0, 5))
    assert [(e.row.at.group, e.row.at.topic) for e in entries] == [*way, ("other", "t")]
    only = journal.entries.way(Coordinates("t", 0, 5), "other")
    assert [e.row.at.group for e in only] == ["other"]
    assert journal.entries.way(Coordinates("t", 1, 5)) == []


def test_the_last_row_tells_what_became_of_a_message_in_the_end(journal):
    write(
        journal,
        row(5, outcome="deferred"),
        row(5, group="other", outcome="rejected"),
        row(0, topic="r", time=2000, origin=("t", 0, 5, 1005), outcome="rejected"),
        row(1, topic="r", time=2001, origin=("t", 0, 5, 1005)),
        row(6, outcome="rejected"),
    )
    ends = journal.entries.find(Search(last=True))
    assert [(e.row.at.group, e.at.offset, e.row.outcome) for e in ends] == [
        ("other", 5, "rejected"),
        ("g", 6, "rejected"),
        ("g", 1, "ingested"),
    ]
    assert found(journal, last=True, outcomes=["deferred"]) == []


def test_counts(journal):
    write(
        journal,
        row(1, time=DAY),
        row(2, time=2 * DAY - 1),
        row(3, time=2 * DAY, outcome="rejected", error_class="bug"),
    )
    (whole,) = journal.entries.count(Search())
    assert (whole.rows, whole.size, whole.first, whole.last) == (3, 9, DAY, 2 * DAY)
    by_day = journal.entries.count(Search(), [By.DAY, By.OUTCOME])
    assert {count.common: count.rows for count in by_day} == {
        (1, "ingested"): 2,
        (2, "rejected"): 1,
    }
    bugs = journal.entries.count(Search(outcomes=["rejected"]), [By.ERROR_CLASS])
    assert [count.common for count in bugs] == [("bug",)]
    assert journal.entries.count(Search(groups=["none"])) == []


def test_many_rows_are_read_page_by_page_each_once(journal, url):
    rows = [
        row(n, time=n // 7, topic=f"t{n % 3}", group=f"g{n % 2}") for n in range(5_000)
    ]
    journal.write(rows)
    entries = journal.entries
    oldest = [entry.row.at for entry in entries.find(Search())]
    assert len(oldest) == 5_000
    assert sorted(oldest) == sorted(each.at for each in rows)
    assert [at.time for at in oldest] == sorted(at.time for at in oldest)
    newest = [e.row.at for e in entries.find(Search(), limit=4_500, newest_first=True)]
    assert newest == oldest[::-1][:4_500]
    # Between two pages there is no transaction: it would keep a database from cleaning
    # up for as long as somebody reads.
    reading = entries.find(Search())
    next(reading)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as looking:
        if url.startswith("sqlite"):
            is_busy = looking.scalar(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        else:
            is_busy = looking.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE state LIKE 'idle in transaction%'"
                )
            )
        assert is_busy == 0
    engine.dispose()
    assert len(list(reading)) == 4_999


def test_what_is_read_slowly_keeps_nobody_from_writing(journal, url):
    journal.write([row(n) for n in range(600)])
    entries = journal.entries.find(Search())
    first = next(entries)
    other = Journal(JournalSettings(url=url))
    write(other, row(1000))
    other.close()
    assert first.at.offset == 0
    assert len(list(entries)) == 599


def test_tables_that_are_not_there_are_not_current(url):
    journal = Journal(JournalSettings(url=url))
    assert not journal.is_current()
    journal.create()
    assert journal.is_current()
    journal.close()


@pytest.mark.parametrize("time", [0, -1, 2**62])
def test_absurd_times_are_found(journal, time):
    write(journal, row(1, time=time))
    assert found(journal) == [1]
