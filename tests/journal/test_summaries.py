"""What is kept of the rows says the same as the rows."""

import random

import pytest
from sqlalchemy import event

from icat_stream.config import JournalSettings
from icat_stream.journal import By, Journal, Search
from icat_stream.journal.migrations import upgrade
from icat_stream.records import Coordinates

from .test_entries import row

KINDS = ("ingested", "unchanged", "ignored", "rejected", "deferred")


def messages(seed: int, count: int):
    """Return the rows of some messages, retries and all, in any order."""
    chance = random.Random(seed)
    rows = []
    for n in range(count):
        first = ("t", n % 3, n, chance.randrange(5_000_000))
        group = chance.choice("gh")
        rows += [
            row(
                n if attempt == 0 else 10 * n + attempt,
                topic="t" if attempt == 0 else f"{group}.retry.0",
                partition=n % 3,
                time=first[3] + attempt * 60_000,
                group=group,
                origin=first,
                outcome=chance.choice(KINDS),
                text=f"run {n} waits for investigation {n % 4}",
                written_at=first[3] + attempt * 60_000 + 7,
            )
            for attempt in range(chance.choice((1, 1, 2, 4)))
        ]
    chance.shuffle(rows)
    return rows


def check(journal: Journal) -> None:
    totals = {
        (group, outcome): (total.rows, total.newest)
        for group, outcomes in journal.summaries.totals().items()
        for outcome, total in outcomes.items()
    }
    counted = journal.entries.count(Search(), [By.GROUP, By.OUTCOME])
    assert totals == {each.common: (each.rows, each.last) for each in counted}
    intervals = journal.summaries.intervals(0, ["g", "h"])
    assert all(each.begin % 900_000 == 0 for each in intervals)
    assert sum(each.rows for each in intervals) == sum(c.rows for c in counted)
    waits = {(w.group, w.reason): w.messages for w in journal.summaries.waits()}
    last = Search(outcomes=["deferred"], last=True)
    counted = journal.entries.count(last, [By.GROUP, By.REASON])
    assert waits == {each.common: each.rows for each in counted}


@pytest.mark.parametrize("seed", range(3))
def test_summaries_are_those_of_the_rows_in_whatever_order_they_come(journal, seed):
    rows = messages(seed, 60)
    for begin in range(0, len(rows), 7):
        journal.write(rows[begin : begin + 7])
    check(journal)
    # A row that comes again is none.
    journal.write(rows[:20])
    check(journal)
    assert journal.summaries.waits()


def test_rows_from_before_are_in_the_summaries(url):
    journal = Journal(JournalSettings(url=url))
    with journal._begin() as connection:
        # Before there were any.
        upgrade(connection, "0009")
    journal.upkeep()
    journal.write(messages(5, 60))
    journal.create()
    check(journal)
    journal.write(messages(6, 30))
    check(journal)
    journal.close()


def test_summaries_of_old_rows_are_dropped(url):
    journal = Journal(JournalSettings(url=url))
    journal.create()
    journal.write(messages(7, 10))
    journal.close()
    shorter = Journal(JournalSettings(url=url, retention="150d"))
    shorter.create()
    assert shorter.summaries.intervals(0, ["g", "h"]) == shorter.summaries.waits() == []
    shorter.close()


@pytest.mark.parametrize(
    "search",
    [
        Search(),
        Search(outcomes=["rejected", "deferred"]),
        Search(outcomes=["ingested"], since=1_000_000),
        Search(groups=["g"]),
        Search(groups=["g"], outcomes=["ignored"], since=0, until=2_000_000),
        Search(investigation="240815/1"),
        Search(dataset="run"),
        Search(file="run*"),
        Search(sha256="00000000"),
        Search(message=Coordinates("t", 0, 3)),
        Search(message=Coordinates("t", 0, 3), groups=["g"]),
    ],
)
def test_no_search_of_the_dashboard_reads_all_rows(tmp_path, search):
    journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db"))
    journal.create()
    journal.write(messages(8, 200))
    plans: list[str] = []

    def explain(connection, cursor, statement, parameters, *_):
        if statement.startswith("SELECT"):
            asked = connection.connection.driver_connection.cursor()
            asked.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(each[3] for each in asked.fetchall())

    engine = journal._engines.patient
    event.listen(engine, "before_cursor_execute", explain)
    list(journal.entries.find(search, limit=50, newest_first=True))
    journal.summaries.intervals(0, ["g", "h"])
    journal.summaries.totals()
    journal.summaries.waits()
    event.remove(engine, "before_cursor_execute", explain)
    journal.close()
    assert plans
    # The newest of all are the end of an index.
    scans = [plan for plan in plans if plan.startswith("SCAN outcomes")]
    assert not scans or search == Search()
    assert all("USING INDEX outcomes_time" in plan for plan in scans)
    # Nor all of one consumer.
    assert not [p for p in plans if "outcomes" in p and p.endswith("(group=?)")]
