"""A flag that signal handlers can set."""

import time

_SLICE_S = 0.1


class StopFlag:
    """Set by signals, looked at by whoever waits.

    No :class:`threading.Event`: its ``set`` takes a lock that the very thread that is
    interrupted may hold, in ``wait``, and the process would never end.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Ask for the end."""
        self._is_set = True

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is set; return whether it is."""
        end = time.monotonic() + seconds
        while not self._is_set and (left := end - time.monotonic()) > 0:
            time.sleep(min(_SLICE_S, left))
        return self._is_set
