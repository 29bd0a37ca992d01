"""What can go wrong in a call, and which failure of a record it means."""

import re

from icat_stream.records import (
    Failure,
    Rejection,
    SystemUnavailable,
    TransientFailure,
    without_session_ids,
)

SYSTEM = "icat"

_PASSING = re.compile(
    r"deadlock|lock wait|time-?d?\s?out|connection|communications link|try restarting",
    re.IGNORECASE,
)
_PERMANENT = {
    "BAD_PARAMETER",
    "INSUFFICIENT_PRIVILEGES",
    "NOT_IMPLEMENTED",
    "OBJECT_ALREADY_EXISTS",
    "VALIDATION",
}


class IcatFault(Exception):
    """ICAT answered that it did not do what it was asked.

    Parameters
    ----------
    kind
        ICAT's own type, such as ``VALIDATION``; empty where it gave none.
    message
        Its text; session ids in it are masked.
    """

    def __init__(self, kind: str, message: str) -> None:
        # ICAT quotes them in some faults.
        message = without_session_ids(message)
        super().__init__(f"{kind or 'no type'}: {message}")
        self.kind = kind
        self.message = message


class ResultUnknown(Exception):
    """A call was sent and no usable answer came: it may have been carried out.

    Parameters
    ----------
    reason
        What happened instead of an answer.
    pending
        Whether the server may still be at it.
    """

    def __init__(self, reason: str, *, pending: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pending = pending


class FacilityMissing(Failure):
    """The configured facility is not in the catalogue, so nothing can work."""

    error_class = "configuration"


def unavailable(reason: str) -> SystemUnavailable:
    """Return the failure that says ICAT is down."""
    return SystemUnavailable(reason, system=SYSTEM)


def passing(fault: IcatFault) -> bool:
    """Whether a fault's text tells of a state that passes, such as a deadlock."""
    return _PASSING.search(fault.message) is not None


def fingerprint(fault: IcatFault) -> str:
    """Return a fault's text without what differs from try to try (ids, times)."""
    return re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", fault.message)[:500]


def failure_of(fault: IcatFault, doing: str) -> Failure:
    """Return the failure of the record that a fault means.

    Parameters
    ----------
    fault
        Not one of a session; those are dealt with where the session is.
    doing
        What was tried, for the reason: ``creating Dataset x``.
    """
    reason = f"ICAT refused {doing}: {fault.kind or 'fault'}: {fault.message[:500]}"
    if fault.kind in _PERMANENT:
        return Rejection(reason)
    return TransientFailure(reason)
