"""The journal's upkeep, beside the daemon's work."""

import logging
import threading

from icat_stream.journal import Journal
from icat_stream.records import Failure

_log = logging.getLogger(__name__)
_EVERY_S = 3600.0


class Upkeep:
    """Has the journal make its months and drop what is too old, once an hour.

    Parameters
    ----------
    journal
        Its tables are there, and as they should be just now.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._stopping = threading.Event()
        # It may wait for a database that hangs; the process shall not wait for it.
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for the end."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            try:
                self._journal.upkeep()
            except Failure as error:
                _log.warning("the journal's upkeep: %s; again in an hour", error)
