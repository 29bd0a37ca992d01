"""The journal's upkeep, beside the daemon's work."""

import logging

from icat_stream.journal import Journal
from icat_stream.records import Failure
from icat_stream.telemetry import Periodic

_log = logging.getLogger(__name__)
_EVERY_S = 3600.0


def journal_upkeep(journal: Journal) -> Periodic:
    """Return what has the journal make its months and drop what is too old.

    Parameters
    ----------
    journal
        Its tables are there, and as they should be just now.
    """

    def work() -> None:
        try:
            journal.upkeep()
        except Failure as error:
            _log.warning("the journal's upkeep: %s; again in an hour", error)

    return Periodic("upkeep", work, _EVERY_S)
