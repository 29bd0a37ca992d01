"""The journal's PostgreSQL crashes under the daemon, which is killed meanwhile."""

import os
import signal
from functools import partial

import pytest
from sqlalchemy import text

from faults.outside import kill
from faults.waiting import wait_until
from plugins.postgres import start_patiently, superuser

DOWN = "the journal is not written for now"


def crash(server):
    """End PostgreSQL as a crash would: it has to recover when it starts."""
    pid = int((server.pgdata / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    wait_until(lambda: not (server.pgdata / "postmaster.pid").exists(), "it is gone")


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.timeout(900)
def test_it_goes_on_without_it_and_each_row_comes_later(
    facility, empty_postgres, proxied_postgres, postgres_server
):
    # Its socket is not for the daemon, whom permissions bind.
    facility.configure(journal={"url": proxied_postgres[0]})

    def rows():
        with superuser(empty_postgres) as connection:
            asked = "SELECT state, COUNT(*) FROM outcomes GROUP BY state"
            return dict(tuple(row) for row in connection.execute(text(asked)))

    def times_down():
        return (facility.folder / "daemon.log").read_text().count(DOWN)

    def is_down_again(before):
        return times_down() > before

    def events():
        return len(facility.read("icat-stream.events"))

    def is_beyond(number):
        return events() > number

    daemon = facility.start()
    facility.announce(10)
    wait_until(lambda: events() == 10, "before anything happens")
    for all_done, is_killed in ((60, False), (110, True)):
        before = times_down()
        facility.announce(40)
        wait_until(partial(is_beyond, all_done - 40), "it is in the middle of it")
        crash(postgres_server)
        try:
            facility.announce(10)
            wait_until(partial(is_down_again, before), "it says what is down")
            wait_until(partial(is_beyond, all_done - 1), "it goes on meanwhile")
            assert daemon.poll() is None
            if is_killed:
                kill(daemon)
                # It also begins without it.
                daemon = facility.start()
                before = times_down()
                wait_until(partial(is_down_again, before), "it says so again")
        finally:
            start_patiently(postgres_server.ensure_postgres_running)
        wait_until(lambda done=all_done: rows() == {"committed": done}, "all rows")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0
    assert rows() == {"committed": 110}
    datasets, datafiles = facility.datasets()
    assert len(datasets) == datafiles == events() == 110
    assert facility.read("icat-stream.dead-letters") == []
