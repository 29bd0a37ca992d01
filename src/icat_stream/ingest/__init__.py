"""A handler, the catalogue and the data service joined into one consumer."""

from .consumer import IngestConsumer, Ping, RecordConsumer, RunningConsumer, apply
from .newest_wins import NewestWins

__all__ = [
    "IngestConsumer",
    "NewestWins",
    "Ping",
    "RecordConsumer",
    "RunningConsumer",
    "apply",
]
