"""Digests in the locations of datafiles that are in the catalogue.

A digest holds the Datafile's id, so that it can only follow the creation.
"""

from dataclasses import dataclass

from icat_stream.icat import Session, shorten
from icat_stream.records import Dataset, LocationKey, Rejection

from .dataset_diff import Comparison

# Their JSON stays far below the 2 MB that application servers take as a form.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class LocationSigner:
    """Signs locations for a data service that wants them signed.

    Parameters
    ----------
    session
        Of the lane.
    key
        The data service's; ``None`` where it wants none.
    """

    session: Session
    key: LocationKey | None

    def wanted(self, planned: Dataset) -> bool:
        """Whether files of a dataset are to be signed once they are there."""
        return self.key is not None and any(
            file.location is not None for file in planned.datafiles
        )

    def check(self, planned: Dataset, room: int | None) -> None:
        """See that signed locations fit into the catalogue.

        Parameters
        ----------
        planned
            The dataset.
        room
            How many characters a location may have.

        Raises
        ------
        Rejection
            One does not.
        """
        if room is None or not self.wanted(planned):
            return
        for file in planned.datafiles:
            length = len(file.location or "") + LocationKey.LENGTH
            if length > room:
                raise Rejection(
                    f"Datafile {shorten(file.name)}: location: {shorten(file.location)}"
                    f" has {length} characters with its digest (ids.key_file), at most"
                    f" {room} are allowed"
                )

    def signed(self, datafile: int, location: str) -> str:
        """Return a location as the catalogue shall have it."""
        return location if self.key is None else self.key.signed(datafile, location)

    def sign(self, found: Comparison, name: str) -> str:
        """Sign the locations of a dataset that are not, and say that it is complete.

        Parameters
        ----------
        found
            With the datafiles that lack a digest; all else is there, or is no matter.
        name
            The dataset's, for people.

        Returns
        -------
        :
            What was done.
        """
        changes: list[tuple[str, dict[str, object]]] = [
            (
                "Datafile",
                {
                    "id": each.id,
                    "location": self.signed(each.id, each.fields["location"][2]),
                },
            )
            for each in found.unsigned
        ]
        if found.complete:
            changes.append(("Dataset", {"id": found.holding.id, "complete": True}))
        for start in range(0, len(changes), _BATCH):
            self.session.overwrite("Datafile", changes[start : start + _BATCH])
        return f"Dataset {name}: {len(found.unsigned)} locations signed"
