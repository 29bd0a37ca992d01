"""With SQLite, one machine reads a group: its journal is seen by nobody else."""

import logging
import socket
import time
from collections.abc import Callable, Sequence

from icat_stream.config import Settings
from icat_stream.records import ExitCode
from icat_stream.stream import Halt, other_hosts
from icat_stream.telemetry import Periodic

from .stop_flag import StopFlag

_log = logging.getLogger(__name__)
# Somebody who died is a member until the session is over; a new machine may have come
# in its place.
_SESSION_S = 15.0
_BETWEEN_S = 1.0
_EVERY_S = 60.0


class SqliteHost:
    """Looks whether another machine reads the groups of the consumers that run."""

    def __init__(self, settings: Settings, names: Sequence[str]) -> None:
        self._settings = settings
        self._names = names
        self._needed = settings.journal.url.startswith("sqlite")

    def check(self, stopping: StopFlag) -> None:
        """Return if we are alone.

        Raises
        ------
        Halt
            Another machine is there, and stays.
        """
        end = time.monotonic() + _SESSION_S
        while self._needed and (others := self._others()):
            if time.monotonic() > end:
                raise Halt(ExitCode.USAGE, self._text(others))
            if stopping.wait(_BETWEEN_S):
                return

    def watch(self, found: Callable[[str], None]) -> Periodic:
        """Return what looks again, for two that began at the same time.

        Parameters
        ----------
        found
            Called with what is to be said where it is this machine that has to go.
        """

        def work() -> None:
            if not self._needed:
                return
            others = self._others()
            if others and max(others) < socket.gethostname():
                found(self._text(others))
            elif others:
                _log.error("%s; it will end", self._text(others))

        return Periodic("sqlite host", work, _EVERY_S)

    def _others(self) -> set[str]:
        return other_hosts(self._settings, self._names)

    def _text(self, others: set[str]) -> str:
        return (
            f"group {self._settings.kafka.group_id} is read from"
            f" {', '.join(sorted(others))} as well, and journal.url is an SQLite file,"
            " which only one machine can have: use PostgreSQL for several machines, or"
            " give this one a kafka.group_id of its own"
        )
