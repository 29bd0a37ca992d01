"""What a data service answers, and which failure of a record it means."""

import json
from dataclasses import dataclass
from typing import Any

from icat_stream.icat import (
    gateway_refusal,
    has_given_up,
    is_gateway_refusal,
    is_not_there,
)
from icat_stream.records import (
    Failure,
    Rejection,
    SystemUnavailable,
    TransientFailure,
    without_session_ids,
)

SYSTEM = "ids"
_NO_SESSION = ("unable to find user by sessionid", "has expired")


@dataclass(frozen=True, slots=True)
class IdsAnswer:
    """An HTTP response of the data service."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked."""
        return self.status < 300

    @property
    def error(self) -> tuple[str, str]:
        """Code and message of the service's own errors; empty where it is no such.

        Session ids in the message, which it quotes in some, are masked.
        """
        found = self.content
        if "code" not in found:
            return "", ""
        message = without_session_ids(str(found.get("message", "")))
        return str(found["code"]), message

    @property
    def content(self) -> dict[str, Any]:
        """Its JSON object; empty where it is no such."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Unanswered(TransientFailure):
    """A write was sent and no answer came: the service may still be at it."""


class SessionGone(Exception):
    """The data service does not know the ICAT session (any more)."""


class NameTaken(Exception):
    """The data service found the name of an upload in the catalogue already."""


class NotOnline(Exception):
    """The data are in the archive only, on their way, or busy."""


class NotOffered(Exception):
    """The data service does not do such a thing."""


def unavailable(reason: str, *, probe_tells: bool = True) -> SystemUnavailable:
    """Return the failure that says the data service is down."""
    return SystemUnavailable(reason, system=SYSTEM, probe_tells=probe_tells)


def failure_of(
    answer: IdsAnswer, doing: str, *, writes: bool = True
) -> Failure | Exception:
    """Return what an answer other than success means.

    Parameters
    ----------
    answer
        Of the service.
    doing
        What it was asked for: ``put of a.nxs``.
    writes
        Whether that changes something.
    """
    code, message = answer.error
    text = f"the data service refused {doing}: {code}: {message[:300]}"
    if code and any(hint in message.lower() for hint in _NO_SESSION):
        return SessionGone(text)
    match code:
        case "DataNotOnlineException":
            return NotOnline(text)
        case "NotImplementedException":
            return NotOffered(text)
        case "InsufficientStorageException":
            return unavailable(text, probe_tells=False)
        case "InsufficientPrivilegesException" | "BadRequestException":
            return Rejection(text)
        case "InternalException" if "OBJECT_ALREADY_EXISTS" in message:
            return NameTaken(text)
        case "":
            text = f"HTTP {answer.status} that is none of the data service's"
            if is_gateway_refusal(answer.status):
                return gateway_refusal(
                    answer.status, doing, name="the data service", system=SYSTEM
                )
            gave_up = has_given_up(answer.status)
            if writes and gave_up:
                return Unanswered(f"{doing}: {text}")
            if gave_up or is_not_there(answer.status):
                return unavailable(f"the data service is not there: {text}")
            return TransientFailure(f"{doing}: {text}")
        case _:
            return TransientFailure(text)
