"""Which records of the events topic a consumer follows."""

from dataclasses import dataclass

from icat_stream.messages import DocumentLimits, EventMessage, read_event
from icat_stream.records import Outcome, OutcomeKind, Record

_DONE = ("ingested", "unchanged")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Reads events, and says why others than those to follow are ignored.

    Parameters
    ----------
    facility
        Whose events.
    follows
        Their kinds.
    operations
        Those that are done when an event asks for them.
    limits
        Of what is read.
    """

    facility: str
    follows: frozenset[str]
    operations: frozenset[str]
    limits: DocumentLimits

    def read(self, record: Record, cause: str) -> EventMessage | Outcome:
        """Return the event in a record, or an ``ignored`` outcome.

        Parameters
        ----------
        record
            Of the events topic.
        cause
            What our own events say brought them about; empty where we send none.

        Raises
        ------
        Undecodable
            It is no event of ours.
        """
        event = read_event(record.value, self.limits)
        for wrong, reason in (
            (self._is_other(event), f"an event of kind {event.kind[:80]!r}"),
            (
                event.operation and event.operation not in self.operations,
                f"operation {event.operation[:80]!r} is none of its",
            ),
            (event.outcome not in _DONE, f"an event of outcome {event.outcome[:80]!r}"),
            (event.facility != self.facility, f"of facility {event.facility[:80]!r}"),
            (event.cause and event.cause == cause, "an event of its own"),
        ):
            if wrong:
                return nothing(event, OutcomeKind.IGNORED, reason)
        return event

    def _is_other(self, event: EventMessage) -> bool:
        if event.kind == "operation":
            return not self.operations
        return event.kind not in self.follows


def nothing(event: EventMessage, kind: OutcomeKind, reason: str) -> Outcome:
    """Return an outcome for an event that changes nothing."""
    return Outcome(
        kind=kind,
        reason=reason,
        message_type=event.message_type,
        message_format=event.message_format,
        objects=event.objects,
    )
