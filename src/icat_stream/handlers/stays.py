"""Times that people come for an investigation: its dates take them in."""

from icat_stream.messages import StayMessage
from icat_stream.records import (
    DependencyMissing,
    Investigation,
    InvestigationKey,
    Lookups,
    Rejection,
)

from .embargo import Embargo


class Stays:
    """Widens the dates of investigations until somebody's stay is within.

    The order of stays does not matter then, nor how often they come; but what is
    cancelled cannot be taken back, for others may have come at that time.

    Parameters
    ----------
    embargo
        From the end until data are released.
    """

    def __init__(self, embargo: Embargo) -> None:
        self._embargo = embargo

    def investigation(
        self, key: InvestigationKey, stay: StayMessage, lookups: Lookups
    ) -> Investigation:
        """Return an investigation with those dates that a stay changes.

        Raises
        ------
        DependencyMissing
            The investigation is not there yet.
        Rejection
            The stay ends before it begins.
        """
        if stay.end < stay.start:
            raise Rejection(
                f"end: {stay.end.isoformat()} is before start: {stay.start.isoformat()}"
            )
        there = lookups.investigation_details([key])
        if not there or there[0].is_stub:
            raise DependencyMissing(
                f"investigation {key} is not in the catalogue", [f"investigation:{key}"]
            )
        (held,) = there
        starts_earlier = held.start is None or stay.start < held.start
        ends_later = held.end is None or stay.end > held.end
        release = None
        if ends_later and not self._embargo.is_endless(stay.industrial, held.type):
            release = self._embargo.release(stay.end)
            if held.release is not None and held.release >= release:
                release = None
        return Investigation(
            investigation=key,
            start=stay.start if starts_earlier else None,
            end=stay.end if ends_later else None,
            release=release,
            partial=True,
        )
