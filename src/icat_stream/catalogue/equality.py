"""When what the catalogue holds counts as what was planned."""

import math
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones


def same_time(planned: datetime, found: datetime) -> bool:
    """Whether two aware times are the same to the second.

    Databases cut fractions.  They also hold the server's wall time, so that of an
    hour that is repeated in autumn only one comes back: such times are equal, too.
    """
    planned, found = planned.replace(microsecond=0), found.replace(microsecond=0)
    if planned == found:
        return True
    shift = abs(found - planned)
    return shift <= timedelta(hours=2) and _repeated(planned, found)


@lru_cache(maxsize=1024)
def _repeated(planned: datetime, found: datetime) -> bool:
    """Whether in some zone both times are the two readings of one wall time.

    The server does not tell its zone, only the offset of the time at hand.
    """
    wall = found.replace(tzinfo=None)
    for name in available_timezones():
        zone = ZoneInfo(name)
        readings = [wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
        # Aware times of one zone compare as wall times, fold or no fold.
        instants = {time.timestamp() for time in readings}
        if instants == {planned.timestamp(), found.timestamp()}:
            return True
    return False


def same_number(planned: float, found: float) -> bool:
    """Whether two numbers are equal but for a conversion to text and back."""
    planned = float(planned)
    return abs(planned - found) <= math.ulp(planned)


def same(planned: Any, found: Any) -> bool:
    """Whether a planned value counts as there.

    Parameters
    ----------
    planned
        Never ``None``: what is not planned is not compared.
    found
        As a search returned it: times are text, null is ``None``.
    """
    if found is None:
        # Some databases hold an empty string as null.
        return bool(planned == "")
    if isinstance(planned, datetime):
        return same_time(planned, datetime.fromisoformat(found))
    if isinstance(planned, bool) or isinstance(found, bool):
        return planned is found
    if isinstance(planned, int | float):
        return isinstance(found, int | float) and same_number(planned, found)
    return bool(planned == found)
