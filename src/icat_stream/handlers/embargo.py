"""Until when data of an investigation are its team's alone."""

from collections.abc import Iterable
from datetime import datetime

from icat_stream.records import Rejection


class Embargo:
    """Says when data are released.

    Parameters
    ----------
    years
        From the end.
    industrial_types
        Types of investigations whose data are never released.
    """

    def __init__(self, years: int, industrial_types: Iterable[str]) -> None:
        self._years = years
        self._industrial = {each.casefold() for each in industrial_types}

    def is_endless(self, industrial: bool | None, type_: str | None) -> bool:
        """Return whether data are never released.

        Parameters
        ----------
        industrial
            As stated; ``None``: the type says it.
        type_
            Of the investigation.
        """
        if industrial is not None:
            return industrial
        return (type_ or "").casefold() in self._industrial

    def release(self, end: datetime) -> datetime:
        """Return when data are released.

        Raises
        ------
        Rejection
            It is outside the calendar.
        """
        year = end.year + self._years
        if year > 9999:
            raise Rejection(
                f"end: {end.isoformat()} plus an embargo of {self._years} years is"
                " outside the calendar"
            )
        try:
            return end.replace(year=year)
        except ValueError:
            # The 29th of February.
            return end.replace(year=year, day=28)
