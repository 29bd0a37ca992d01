"""When two times are the same one."""

from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(milliseconds: int, *, seconds: bool = False) -> str:
    """Return a time as people and programs read it; absurd ones as numbers."""
    try:
        time = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return f"{milliseconds} ms"
    timespec = "seconds" if seconds else "milliseconds"
    return time.isoformat(timespec=timespec).replace("+00:00", "Z")


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
    for zone in _zones():
        readings = [wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
        # Aware times of one zone compare as wall times, fold or no fold.
        instants = {time.timestamp() for time in readings}
        if instants == {planned.timestamp(), found.timestamp()}:
            return True
    return False


@cache
def _zones() -> tuple[ZoneInfo, ...]:
    # To find and read them all again takes 0.1 s, once for each time that differs.
    return tuple(ZoneInfo(name) for name in sorted(available_timezones()))
