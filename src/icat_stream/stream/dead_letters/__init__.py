"""Dead letters: listed, replayed and discarded, each exactly once."""

from .group_sender import Fenced, Sender, Undecided, prepare, retry_output
from .letters import DeadLetter, DeadLetters, Selection, answering, reader, spans
from .markers import Action, marked, said, state_topic
from .replay import Replay, fetch

__all__ = [
    "Action",
    "DeadLetter",
    "DeadLetters",
    "Fenced",
    "Replay",
    "Selection",
    "Sender",
    "Undecided",
    "answering",
    "fetch",
    "marked",
    "prepare",
    "reader",
    "retry_output",
    "said",
    "spans",
    "state_topic",
]
