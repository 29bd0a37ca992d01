"""The stream core: from Kafka records to committed outcomes, once, whatever happens.

>>> loop = Loop("file_written", consumer, settings, journal)    # doctest: +SKIP
>>> signal.signal(signal.SIGTERM, lambda *_: loop.stop())       # doctest: +SKIP
>>> result = loop.run()                                         # doctest: +SKIP

A :class:`Loop` runs one :class:`Consumer` with its group, lanes, retry topics and
transactional producer.  Several loops may run in threads of one process; they share
nothing here.  :func:`dry_run` only looks.
"""

from .collector import relax_collector
from .consumer import Consumer, LaneScoped, Parking, Probing, Secretive
from .dryrun import dry_run
from .loop import Loop
from .results import RunResult
from .sending import announce_again, send_events
from .status import LaneStatus, LoopStatus
from .watching import Depths, Watch

__all__ = [
    "Consumer",
    "Depths",
    "LaneScoped",
    "LaneStatus",
    "Loop",
    "LoopStatus",
    "Parking",
    "Probing",
    "RunResult",
    "Secretive",
    "Watch",
    "announce_again",
    "dry_run",
    "relax_collector",
    "send_events",
]
