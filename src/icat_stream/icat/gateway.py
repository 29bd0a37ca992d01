"""What stands between us and a server, and answers in its place."""

from collections.abc import Mapping

from icat_stream.records import Failure, LoginRefused, Rejection

# Also an application server whose ICAT or data service is not (yet) deployed.
_NOT_THERE = {404, 503}
_GAVE_UP = {502, 504}
_TOO_LARGE: Mapping[int, str] = {
    413: "a body",
    414: "an address",
    431: "header fields",
}
_NOT_ADMITTED = {401, 403, 407}


def is_not_there(status: int) -> bool:
    """Whether HTTP's status, without a body of the server, says that it is away."""
    return status in _NOT_THERE


def has_given_up(status: int) -> bool:
    """Whether a proxy sent the request on and waited in vain.

    A question can be asked again; a write may have been carried out.
    """
    return status in _GAVE_UP


def gateway_refusal(status: int, doing: str, *, name: str, system: str) -> Failure:
    """Return the failure that a refusal means which the server itself did not send.

    Parameters
    ----------
    status
        Of HTTP, with a body that is none of the server's own.
    doing
        What was asked for.
    name
        Of the server, for people.
    system
        As :class:`~icat_stream.records.SystemUnavailable` calls it.

    Returns
    -------
    :
        Its text tells what to do.  Only where :func:`is_gateway_refusal`.
    """
    said = f"HTTP {status} to {doing}, and not from {name} itself"
    if status in _TOO_LARGE:
        return Rejection(
            f"{said}: a proxy in front of it takes no request with {_TOO_LARGE[status]}"
            " this large; raise its limit"
        )
    return LoginRefused(
        f"{said}: a proxy or firewall in front of it does not let us through",
        system=system,
    )


def is_gateway_refusal(status: int) -> bool:
    """Whether a status without the server's own body will not pass by waiting."""
    return status in _TOO_LARGE or status in _NOT_ADMITTED
