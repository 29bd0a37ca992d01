"""Writes that got no answer and may still be carried out."""

import hashlib
import threading
import time
from collections import OrderedDict

from icat_stream.records import TransientFailure

_MOST = 10_000


class UnansweredWrites:
    """What is only looked for, and not sent again, for a while; thread-safe.

    That a proxy gave up waiting, or we did, tells nothing of the server behind: sent
    again at once, several of the same would be carried out beside each other.

    Parameters
    ----------
    look_for
        Seconds.
    """

    def __init__(self, look_for: float) -> None:
        self._look_for = look_for
        self._lock = threading.Lock()
        self._until: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def add(self, request: str, reason: str) -> None:
        """Note that a request got no answer.

        Parameters
        ----------
        request
            All of it that is the same when it is sent again.
        reason
            What came instead of an answer.
        """
        with self._lock:
            self._until[_key(request)] = (time.monotonic() + self._look_for, reason)
            if len(self._until) > _MOST:
                self._until.popitem(last=False)

    def check(self, request: str, doing: str) -> None:
        """See that a request may be sent (again).

        Parameters
        ----------
        request
            As for :meth:`add`.
        doing
            What it asks for, for people.

        Raises
        ------
        TransientFailure
            It may still be carried out.
        """
        # Nearly always: a large request costs milliseconds to hash.
        if not self._until:
            return
        now = time.monotonic()
        with self._lock:
            while self._until and next(iter(self._until.values()))[0] <= now:
                self._until.popitem(last=False)
            until, reason = self._until.get(_key(request), (now, ""))
        if until > now:
            raise TransientFailure(
                f"{doing}: no answer to a write ({reason}), and it is not there (yet)"
                " when read back; the server may still be at it: not sent again for"
                f" {until - now:.0f} s"
            )


def _key(request: str) -> bytes:
    return hashlib.sha256(request.encode(errors="replace")).digest()
