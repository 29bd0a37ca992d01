"""What a call can be answered with when it fails."""


class IdsError(Exception):
    """A call failed, and its caller gets this as the answer."""

    code = "InternalException"
    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(IdsError):
    """The call's parameters make no sense."""

    code = "BadRequestException"
    status = 400


class InsufficientPrivileges(IdsError):
    """The caller may not, or has no valid session."""

    code = "InsufficientPrivilegesException"
    status = 403


class BadSession(InsufficientPrivileges):
    """The session is not valid, or no more."""


class NotFound(IdsError):
    """What was asked for is not there."""

    code = "NotFoundException"
    status = 404


class Internal(IdsError):
    """It is not the caller's fault."""


class Unanswered(Internal):
    """The catalogue gave no answer: nobody knows whether it did what it was told."""


class InsufficientStorage(IdsError):
    """The storage is full."""

    code = "InsufficientStorageException"


class DataNotOnline(IdsError):
    """The data has to come back from the archive first, or somebody is at it."""

    code = "DataNotOnlineException"
    status = 503


class NotImplementedHere(IdsError):
    """Known elsewhere, but not done here."""

    code = "NotImplementedException"
    status = 501


class UnknownCall(IdsError):
    """There is no such call."""

    code = "NOT_IMPLEMENTED"
    status = 501


_BY_ICAT_TYPE: dict[str, type[IdsError]] = {
    "BAD_PARAMETER": BadRequest,
    "VALIDATION": BadRequest,
    "SESSION": BadSession,
    "INSUFFICIENT_PRIVILEGES": InsufficientPrivileges,
    "NO_SUCH_OBJECT_FOUND": NotFound,
}


def from_icat(kind: str, message: str) -> IdsError:
    """Return the error that an answer of ICAT's stands for.

    Parameters
    ----------
    kind
        Type of the IcatException.
    message
        Its message.
    """
    known = _BY_ICAT_TYPE.get(kind)
    return Internal(f"{kind} {message}") if known is None else known(message)
