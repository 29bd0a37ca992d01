"""Remembering what failed how, to tell a bad moment from a bad record."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

_MOST = 1000
# Longer than all tries in a lane, shorter than the first delay of a retry topic: a
# database that fails over must not look like a bad record.
_STAGE_S = 20.0


@dataclass(slots=True)
class _Fault:
    text: str
    first: float
    last: float


class FaultMemory:
    """The last fault of each plan, for the latest plans; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: OrderedDict[str, _Fault] = OrderedDict()

    def is_permanent(self, key: str, text: str, now: float | None = None) -> bool:
        """Remember a fault, and tell whether it is the plan that is at fault.

        It is if the plan failed the same way in an earlier stage of its retries, and
        nothing else has done so meanwhile.

        Parameters
        ----------
        key
            Of the plan.
        text
            Of the fault, without what differs from try to try.
        now
            Monotonic seconds, for tests.
        """
        now = time.monotonic() if now is None else now
        with self._lock:
            fault = self._faults.pop(key, None)
            if fault is None or fault.text != text:
                fault = _Fault(text, now, now)
            fault.last = now
            self._faults[key] = fault
            if len(self._faults) > _MOST:
                self._faults.popitem(last=False)
            return now - fault.first >= _STAGE_S and not any(
                other is not fault and other.text == text and other.last >= fault.first
                for other in self._faults.values()
            )
