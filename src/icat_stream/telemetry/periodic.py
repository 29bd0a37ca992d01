"""Work that is done again and again beside everything else."""

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Periodic:
    """Calls something every so often, from a thread that nobody waits for.

    What it raises is logged as a bug, and the next call comes all the same.

    Parameters
    ----------
    name
        Of the thread.
    work
        Called again and again.
    every
        Seconds between the end of one call and the next.
    at_once
        Whether the first call comes at the start, or only then.
    close
        Called in that thread at its end.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        every: float,
        *,
        at_once: bool = False,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._work = work
        self._every = every
        self._at_once = at_once
        self._close = close
        self._stopping = threading.Event()
        # It may hang in a socket or in the kernel; the process shall not wait for it.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def is_stopping(self) -> bool:
        """Whether the end was asked for."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Ask for the end."""
        self._stopping.set()

    def join(self, seconds: float) -> None:
        """Wait for the end so long; a call that hangs is left behind."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        waits = 0.0 if self._at_once else self._every
        while not self._stopping.wait(waits):
            waits = self._every
            try:
                self._work()
            except Exception:
                _log.exception("%s: a bug", self._name)
        self._close()
