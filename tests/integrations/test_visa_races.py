"""Teams that change while several are at it: at no time does anybody see too much.

Longer: ``VISA_PROPOSALS=2000 VISA_SNAPSHOTS=8 pytest …``.
"""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import create_engine, text

from icat_stream.records import (
    Investigation,
    Member,
    SystemUnavailable,
    TransientFailure,
)

from .investigation_systems import state
from .test_visa import system, visa

__all__ = ["system", "visa"]

PATIENCE_S = 120.0
PROPOSALS = int(os.environ.get("VISA_PROPOSALS", "3"))
SNAPSHOTS = int(os.environ.get("VISA_SNAPSHOTS", "4"))
CUTS = int(os.environ.get("VISA_CUTS", "3"))
PEOPLE = [f"person-{number}" for number in range(12)]


class Watch:
    """Looks every 10 ms who has access, and who should not have it.

    What has been written once is behind: from then on, only that team and newer ones
    may be seen.
    """

    def __init__(self, url, teams):
        self._engine = create_engine(url.replace("://", "+psycopg://", 1))
        self._teams = teams
        self.behind = {}
        self.looks = 0
        self.wrong = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self):
        self._stop.set()
        self._thread.join()
        self._engine.dispose()

    def _run(self):
        query = text("SELECT experiment_id, user_id FROM visa.experiment_user")
        while not self._stop.wait(0.01):
            behind = dict(self.behind)
            with self._engine.connect() as connection:
                pairs = [tuple(row) for row in connection.execute(query)]
            self.looks += 1
            for experiment, user in pairs:
                number = int(experiment)
                newer = self._teams[number][behind.get(number, 0) :]
                if not any(user in team for team in newer):
                    self.wrong.append((experiment, user))


def test_at_no_time_is_there_a_pair_of_an_older_team(
    make, new, event, keys, visa, system, journal, postgres
):
    chance = random.Random(17)
    numbers = [new() for _ in range(PROPOSALS)]
    teams = {
        number: [
            set(chance.sample(PEOPLE, chance.randint(0, 4))) for _ in range(SNAPSHOTS)
        ]
        for number in numbers
    }
    # Old snapshots come again, and out of order; the newest one wins.
    sent = [(n, at) for n in numbers for at in range(SNAPSHOTS)] * 2
    chance.shuffle(sent)
    applied: dict[int, int] = {}
    lock = threading.Lock()
    system.options["timeout"] = 20
    consumers = [make() for _ in range(3)]
    watch = Watch(postgres, teams)

    def work(consumer, sending):
        try:
            for number, at in sending:
                announce(consumer, number, at)
        finally:
            consumer.leave_lane()

    def announce(consumer, number, at):
        with lock:
            members = tuple(
                Member(user=user, role="Participant")
                for user in sorted(teams[number][at])
            )
            planned = Investigation(investigation=keys[number], members=members)
            state(journal, planned, at + 1)
            newest = applied[number] = max(applied.get(number, 0), at)
        record = event(number)
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                consumer.handle(record)
                break
            except (SystemUnavailable, TransientFailure):
                # Somebody else is at it, or was cut off: as the daemon does, each waits
                # for a time of its own before it is at it again.
                if time.monotonic() > end:
                    raise
                time.sleep(chance.uniform(0.05, 1.0))
        with lock:
            watch.behind[number] = max(watch.behind.get(number, 0), newest)

    def cut():
        """Kill the connections that write, somewhere in their work."""
        for _ in range(CUTS):
            time.sleep(chance.random())
            visa.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <>"
                " pg_backend_pid() AND query LIKE '%visa.%' AND query NOT LIKE"
                " 'SELECT experiment_id%'"
            )

    try:
        with ThreadPoolExecutor(4) as pool:
            at_work = [pool.submit(cut)]
            at_work += [
                pool.submit(work, consumer, sent[start::3])
                for start, consumer in enumerate(consumers)
            ]
            for done in at_work:
                done.result()
    finally:
        watch.end()
    assert watch.wrong == []
    assert watch.looks > 10
    assert visa.team == {
        (str(number), user) for number in numbers for user in teams[number][-1]
    }
