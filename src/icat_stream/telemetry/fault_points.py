"""Places at which the tests let the process die."""

import os
import signal
from itertools import count

_NAME, _, _HIT = os.environ.get("ICAT_STREAM_FAULT", "").partition(":")
_hits = count(1)


def _point(name: str) -> None:
    if name == _NAME and next(_hits) == int(_HIT or 1):
        os.kill(os.getpid(), signal.SIGKILL)


def _nothing(name: str) -> None:
    pass


# Decided once, so that production pays for one empty call.
fault_point = _point if _NAME else _nothing
"""Kill the process here if ``ICAT_STREAM_FAULT`` is ``<name>[:<n-th hit>]``."""
