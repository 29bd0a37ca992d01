"""Times as the clock at the server shows them.

ICAT keeps times without a zone, in the server's own, and compares them with what the
query says as it stands. It does not tell its zone; but each time that it returns comes
with the offset that held then.
"""

import datetime as dt

from .queries import Search, select
from .schema import Field, Kind

# No zone is further from UTC.
_FURTHEST = dt.timedelta(hours=14)


class ServerClock:
    """Turns times with a zone into the server's wall time.

    The offset matters only if there is something to compare within 14 hours of a time;
    and if there is, that tells the offset. So one search for each time is enough,
    whatever the server's zone is, summer and winter.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._known: dict[tuple[str, str, dt.datetime], dt.datetime] = {}

    def wall(self, kind: Kind, field: Field, moment: dt.datetime) -> dt.datetime:
        """Return a time as the server's clock showed it.

        Parameters
        ----------
        kind, field
            What it will be compared with.
        moment
            Without a zone, it is the server's wall time already.
        """
        if moment.tzinfo is None:
            return moment
        moment = moment.astimezone(dt.UTC)
        key = (kind.name, field.name, moment)
        if key not in self._known:
            self._known[key] = self._find(kind, field, moment)
        return self._known[key]

    def _find(self, kind: Kind, field: Field, moment: dt.datetime) -> dt.datetime:
        utc = moment.replace(tzinfo=None)
        try:
            offsets = self._offsets(kind, field, utc - _FURTHEST, utc + _FURTHEST)
        except OverflowError:
            # At the end of the calendar no hour matters.
            return utc
        if len(set(offsets)) > 1:
            # The clocks were changed that day: only what lies between counts.
            low, high = utc + min(offsets), utc + max(offsets)
            offsets = self._offsets(kind, field, low, high) or offsets
        return utc + offsets[0] if offsets else utc

    def _offsets(
        self, kind: Kind, field: Field, low: dt.datetime, high: dt.datetime
    ) -> list[dt.timedelta]:
        name = f"o.{field.name}"
        found = self._search(
            select(
                kind.name,
                f"{name} >= {{ts {low:%Y-%m-%d %H:%M:%S}}}",
                f"{name} <= {{ts {high:%Y-%m-%d %H:%M:%S}}}",
                what=f"MIN({name}), MAX({name})",
            )
        )
        # Of nothing, ICAT returns a row with one null.
        row = found[0] if found and isinstance(found[0], tuple) else ()
        return [
            time.utcoffset() or dt.timedelta()
            for time in row
            if isinstance(time, dt.datetime)
        ]
