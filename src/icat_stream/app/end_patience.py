"""How long a run until the end waits for what is down."""

import time
from collections.abc import Iterable

from icat_stream.stream import LoopStatus

# A group takes that long to notice that a member of it has died.
_JOINING_S = 60.0


class EndPatience:
    """Tells when a run until the end has waited in vain for long enough.

    Parameters
    ----------
    seconds
        Of waiting for the same consumer, without a break.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[str, float] = {}

    def exhausted(self, loops: Iterable[LoopStatus]) -> dict[str, str]:
        """Return why consumers do not get on, by name, once that takes too long.

        Parameters
        ----------
        loops
            How all of them are just now.
        """
        now = time.monotonic()
        waiting = {
            status.name: status
            for status in loops
            if status.ended is None
            and (status.down or _is_held_up(status) or not status.joined)
        }
        self._since = {name: self._since.get(name, now) for name in waiting}
        found = {}
        for name, status in waiting.items():
            seconds = self._seconds
            if status.down:
                reason = "; ".join(f"{who}: {why}" for who, why in status.down.items())
            elif _is_held_up(status):
                reason = (
                    f"{', '.join(status.held_up)} cannot be read, as a transaction"
                    " there is not decided (see `icat_stream docs"
                    " hanging-transaction`)"
                )
            elif not status.lanes:
                # It asks Kafka for its topics before it has any.
                reason = "Kafka does not answer"
            else:
                reason = "the group gives it no partitions"
                seconds = max(seconds, _JOINING_S)
            if now - self._since[name] >= seconds:
                found[name] = (
                    f"the end was not reached: {reason} (waited {seconds:g} s, see"
                    " --wait)"
                )
        return found


def _is_held_up(status: LoopStatus) -> bool:
    """Whether nothing is left to do but to wait for somebody's transaction."""
    return bool(status.held_up) and status.in_flight == 0
