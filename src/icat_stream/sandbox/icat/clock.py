"""Time as the server keeps it: the wall time of its zone, in whole seconds."""

import datetime as dt
from zoneinfo import ZoneInfo


class Clock:
    """Converts between instants and what the database holds.

    The database has no zones, so of the hour that comes twice in October only the
    second is ever given back; a real server does the same.

    Parameters
    ----------
    zone
        Name of the server's time zone.
    """

    def __init__(self, zone: str = "UTC") -> None:
        self.zone = ZoneInfo(zone)

    def store(self, moment: dt.datetime) -> dt.datetime:
        """Return what the database keeps of a moment; without zone it is local.

        Parameters
        ----------
        moment
            The moment as given.

        Raises
        ------
        ValueError
            If the moment lies outside the years 1 to 9999.
        """
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self.zone)
        try:
            # By way of UTC, since an hour that does not exist is moved forward.
            local = moment.astimezone(dt.UTC).astimezone(self.zone)
        except OverflowError as error:
            raise ValueError(f"{moment} is outside the calendar") from error
        return local.replace(microsecond=0, tzinfo=None, fold=0)

    def show(self, stored: dt.datetime) -> dt.datetime:
        """Return the moment that a stored time stands for.

        Parameters
        ----------
        stored
            From the database.
        """
        shown = stored.replace(tzinfo=self.zone, fold=1)
        offset = (shown.utcoffset() or dt.timedelta()).total_seconds()
        if offset % 60:
            # Before there were zones, places had seconds of their own; XML has none.
            whole = dt.timedelta(minutes=int(offset / 60))
            shown = shown.replace(tzinfo=dt.timezone(whole))
        return shown

    def now(self) -> dt.datetime:
        """Return the present as the database keeps it."""
        return self.store(dt.datetime.now(dt.UTC))
