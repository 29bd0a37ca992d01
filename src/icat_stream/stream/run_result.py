"""How a run ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from icat_stream.records import ExitCode, OutcomeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a loop ended, and what became of the records it saw.

    Parameters
    ----------
    name
        Of the consumer.
    exit_code
        Never ``DEFERRED``.
    reason
        Why it ended, for people; empty when it was asked to stop or was done.
    counts
        Records by outcome; each original record counts once, by its last outcome.
    """

    name: str
    exit_code: ExitCode
    reason: str = ""
    counts: Mapping[OutcomeKind, int] = field(default_factory=dict)

    @property
    def announced(self) -> int:
        """How many original records were seen."""
        return sum(self.counts.values())


class Halt(Exception):
    """The loop must end, and this is why.

    Parameters
    ----------
    code
        Of the command.
    reason
        What was found, what was expected, what to do.
    """

    def __init__(self, code: ExitCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
