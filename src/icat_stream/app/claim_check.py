"""Whether what was applied is still in ICAT: somebody may have deleted it there."""

import logging
import time
from collections.abc import Mapping
from contextlib import closing

from icat_stream.catalogue import Catalogue
from icat_stream.journal import Entity, Journal
from icat_stream.records import Failure
from icat_stream.telemetry import Periodic

_log = logging.getLogger(__name__)
_DAY_S = 86_400.0
# Dates of an investigation are claimed by themselves.
_ENTITIES: Mapping[str, str] = {
    "user": "User",
    "investigation": "Investigation",
    "start": "Investigation",
    "end": "Investigation",
}


def forget_deleted(journal: Journal, catalogue: Catalogue, facility: str) -> int:
    """Have users and investigations that ICAT does not have any more be written again.

    Their next snapshots are, also those that say the same as the last ones.

    Returns
    -------
    :
        How many of them there were.

    Raises
    ------
    Failure
        ICAT or the journal is down.
    """
    gone: set[tuple[str, int]] = set()
    after = ""
    with closing(catalogue.new_session()) as session:
        while some := journal.newest.applied(facility, after):
            after = some[-1][0].digest
            there = {
                entity: session.existing_ids(
                    entity,
                    {number for one, number in some if _ENTITIES[one.kind] == entity},
                )
                for entity in dict.fromkeys(_ENTITIES.values())
            }
            missing: list[Entity] = []
            for one, number in some:
                entity = _ENTITIES[one.kind]
                if number not in there[entity]:
                    missing.append(one)
                    gone.add((entity, number))
                    _log.warning(
                        "%s %s is not in ICAT any more (id %d): its next snapshot is"
                        " written again",
                        one.kind,
                        one.name,
                        number,
                    )
            if missing:
                journal.newest.missing(missing)
    return len(gone)


def daily_claim_check(
    journal: Journal, catalogue: Catalogue, facility: str
) -> Periodic:
    """Return what does so once a day."""

    def work() -> None:
        begun = time.monotonic()
        try:
            count = forget_deleted(journal, catalogue, facility)
        except Failure as error:
            _log.warning("what was deleted in ICAT is not known: %s", error)
            return
        _log.info(
            "looked for what was deleted in ICAT: %d users and investigations, %.0f s",
            count,
            time.monotonic() - begun,
        )

    return Periodic("claim check", work, _DAY_S)
