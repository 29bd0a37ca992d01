"""The ways in which handling one record can fail, as exceptions.

A consumer raises one of these; the stream core alone decides what follows: another
try in the lane, a retry topic, parking, a dead letter, a pause, a stop.  Any other
exception is a bug of ours and treated as one.
"""

from collections.abc import Iterable, Mapping
from typing import Any


class Failure(Exception):
    """Handling a record failed in a way that is foreseen.

    Parameters
    ----------
    reason
        One sentence for a person: what was found where, what was expected, what to
        do.  Never a secret, never a payload.
    """

    error_class = "failure"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        # What it was about, as far as that was known when it failed: for the journal.
        self.message_type: str | None = None
        self.message_format: str | None = None
        self.objects: Mapping[str, Any] = {}


class Rejection(Failure):
    """The record is wrong and will be wrong tomorrow: a dead letter."""

    error_class = "permanent"


def explained(rejection: Rejection, origins: Mapping[str, str]) -> Rejection:
    """Return a rejection that says where the values that it names come from.

    Parameters
    ----------
    rejection
        Names parameters by their labels, or fields as ``field:``.
    origins
        Of a plan.
    """
    reason = rejection.reason
    found = [
        f"{name} is from {origin}"
        for name, origin in origins.items()
        if (name if name.endswith(("]", ")")) else f" {name}:") in reason
    ]
    if not found:
        return rejection
    return Rejection(f"{reason} ({'; '.join(found[:5])})")


class TransientFailure(Failure):
    """It may well work in a moment: tried again, then put off."""

    error_class = "transient"


class DependencyMissing(Failure):
    """Something the record refers to is not in the catalogue yet: parked.

    Parameters
    ----------
    reason
        As for :class:`Failure`.
    missing
        What is missing, as strings that the consumer's own ``present`` understands,
        for example ``investigation:2024-0815/1``.
    """

    error_class = "dependency"

    def __init__(self, reason: str, missing: Iterable[str]) -> None:
        super().__init__(reason)
        self.missing = tuple(missing)


class NotReady(Failure):
    """What the record points to is not finished: its key waits on a timer.

    Parameters
    ----------
    reason
        As for :class:`Failure`.
    retry_in
        Seconds until it is worth looking again.
    deadline
        Seconds since the record's first handling after which the record is put off
        to a retry topic.
    """

    error_class = "not-ready"

    def __init__(self, reason: str, *, retry_in: float, deadline: float) -> None:
        super().__init__(reason)
        self.retry_in = retry_in
        self.deadline = deadline


class SystemUnavailable(Failure):
    """A whole system is down: the consumer pauses, no attempt is burnt.

    A system that answers its probe is up: the same record failing so again is in
    itself the trouble, and treated as after a :class:`TransientFailure`.

    Parameters
    ----------
    reason
        As for :class:`Failure`.
    system
        Its name for people and for ``probe``: ``icat``, ``ids``, ``journal``.
    probe_tells
        Whether a probe would find it, too.  A full disk answers every question.
    """

    error_class = "unavailable"

    def __init__(self, reason: str, *, system: str, probe_tells: bool = True) -> None:
        super().__init__(reason)
        self.system = system
        self.probe_tells = probe_tells


class LoginRefused(SystemUnavailable):
    """A system refuses our credentials: waiting does not help, the daemon stops."""

    error_class = "login-refused"
