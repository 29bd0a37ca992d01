"""Calling what should return soon, and may not."""

import queue
import threading
from collections.abc import Callable


class HangingError(Exception):
    """A call did not return in time; it may still do so, and have its effect."""


class BoundedCall:
    """A thread that makes calls for another one, which can then stop waiting.

    Parameters
    ----------
    name
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def call(self, function: Callable[[], object], patience: float) -> None:
        """Make a call; raise what it raises.

        Parameters
        ----------
        function
            To be called.
        patience
            Seconds.

        Raises
        ------
        HangingError
            It has not returned: leave this caller alone and make another one.
        """
        answer: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._calls.put((function, answer))
        try:
            error = answer.get(timeout=patience)
        except queue.Empty:
            raise HangingError(f"no return after {patience:.0f} s") from None
        if error is not None:
            raise error

    def close(self) -> None:
        """End the thread after the call it is at."""
        self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            function, answer = item
            try:
                function()
            except BaseException as error:
                answer.put(error)
            else:
                answer.put(None)


_Call = tuple[Callable[[], object], "queue.SimpleQueue[BaseException | None]"]
