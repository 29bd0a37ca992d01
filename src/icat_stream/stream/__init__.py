"""The stream core: from Kafka records to committed outcomes, once, whatever happens.

>>> loop = Loop("file_written", consumer, settings)             # doctest: +SKIP
>>> signal.signal(signal.SIGTERM, lambda *_: loop.stop())       # doctest: +SKIP
>>> result = loop.run()                                         # doctest: +SKIP

A :class:`Loop` runs one :class:`Consumer` with its group, lanes, retry topics and
transactional producer.  Several loops may run in threads of one process; they share
nothing here.  :func:`dry_run` only looks.
"""

from .consumer import (
    Consumer,
    LaneScoped,
    OutcomeTelling,
    Parking,
    Probing,
    Secretive,
)
from .consumer_lag import ConsumerLag, Depths
from .dead_letters import (
    Action,
    DeadLetter,
    DeadLetters,
    Fenced,
    Replay,
    Selection,
    Sender,
    Undecided,
    fetch,
    prepare,
    reader,
    retry_output,
)
from .dryrun import dry_run
from .event_sender import announce_again, send_events
from .gc_tuning import relax_collector
from .group_hosts import other_hosts
from .hanging_transactions import Hanging, find_hanging, free_hanging
from .loop import Loop
from .outcome_messages import outcome_row
from .outcome_reader import OutcomeReader, ReadOutcome, outcome_ends
from .outputs import Output
from .run_result import Halt, RunResult
from .status import LaneStatus, LoopStatus, PartitionStatus
from .topic_ids import TopicIds
from .topic_settings import faults as topic_faults
from .topics import group_of, retry_topics, transactional_id

__all__ = [
    "Action",
    "Consumer",
    "ConsumerLag",
    "DeadLetter",
    "DeadLetters",
    "Depths",
    "Fenced",
    "Halt",
    "Hanging",
    "LaneScoped",
    "LaneStatus",
    "Loop",
    "LoopStatus",
    "OutcomeReader",
    "OutcomeTelling",
    "Output",
    "Parking",
    "PartitionStatus",
    "Probing",
    "ReadOutcome",
    "Replay",
    "RunResult",
    "Secretive",
    "Selection",
    "Sender",
    "TopicIds",
    "Undecided",
    "announce_again",
    "dry_run",
    "fetch",
    "find_hanging",
    "free_hanging",
    "group_of",
    "other_hosts",
    "outcome_ends",
    "outcome_row",
    "prepare",
    "reader",
    "relax_collector",
    "retry_output",
    "retry_topics",
    "send_events",
    "topic_faults",
    "transactional_id",
]
