"""Remembering what failed how, to tell a bad moment from a bad record."""

import threading
from collections import OrderedDict

_MOST = 1000


class FaultMemory:
    """The text of the last fault by plan, for the latest plans; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: OrderedDict[str, str] = OrderedDict()

    def seen(self, key: str, text: str) -> bool:
        """Remember a text, and return whether the last one was the same."""
        with self._lock:
            last = self._texts.pop(key, None)
            self._texts[key] = text
            if len(self._texts) > _MOST:
                self._texts.popitem(last=False)
        return last == text
