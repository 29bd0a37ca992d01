"""Failed logins: who guesses has to wait, longer each time."""

import threading
import time
from collections import OrderedDict

# Nobody mistypes more often before a look at the keyboard.
_FREE = 5
# Many people may share an address.
_FREE_OF_ADDRESS = 50
_LONGEST_S = 900.0
_MOST = 100_000


class LoginAttempts:
    """Counts failures of each user and each address; safe for threads."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, user: str, address: str) -> float:
        """Return how many seconds a login has to wait; 0: it may be tried."""
        with self._lock:
            return max(
                self._left(f"user {user}", _FREE),
                self._left(f"address {address}", _FREE_OF_ADDRESS),
            )

    def failed(self, user: str, address: str) -> None:
        """Note a failure."""
        with self._lock:
            for key in (f"user {user}", f"address {address}"):
                count, _ = self._failures.pop(key, (0, 0.0))
                self._failures[key] = count + 1, time.monotonic()
            while len(self._failures) > _MOST:
                self._failures.popitem(last=False)

    def succeeded(self, user: str) -> None:
        """Forget a user's failures; an address that guesses others goes on waiting."""
        with self._lock:
            self._failures.pop(f"user {user}", None)

    def _left(self, key: str, free: int) -> float:
        count, last = self._failures.get(key, (0, 0.0))
        age = time.monotonic() - last
        if age > _LONGEST_S:
            self._failures.pop(key, None)
            return 0.0
        if count < free:
            return 0.0
        return max(0.0, min(_LONGEST_S, 2.0 ** min(count - free, 20)) - age)
