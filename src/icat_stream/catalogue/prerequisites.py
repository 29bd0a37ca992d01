"""Creating what has to be there before something else."""

import logging
from collections.abc import Sequence

from icat_stream.icat import (
    IcatFault,
    ResultUnknown,
    Session,
    entities,
    quote,
    select,
    shorten,
)
from icat_stream.records import (
    Failure,
    Rejection,
    TransientFailure,
    parameter_label,
)

from .reference_cache import ReferenceCache
from .resolver import Prerequisite

_log = logging.getLogger(__name__)


class Prerequisites:
    """Creates prerequisites of one plan.

    Parameters
    ----------
    session
        Of the lane.
    references
        In which they will be looked for again.
    """

    def __init__(self, session: Session, references: ReferenceCache) -> None:
        self._session = session
        self._references = references
        # What ICAT said is there when we created it.
        self._taken: set[str] = set()

    def prepare(
        self, prerequisites: Sequence[Prerequisite], written: list[str]
    ) -> None:
        """Create them; what others create meanwhile is found with the next look.

        Parameters
        ----------
        prerequisites
            What is not there.
        written
            Gets a line for each that was created.

        Raises
        ------
        Failure
            It could not be done.
        """
        for wanted in prerequisites:
            if wanted.content is None:
                continue
            what = f"{wanted.entity} {wanted.name}"
            try:
                self._session.create(wanted.entity, wanted.content)
                written.append(f"{what} created")
            except ResultUnknown as error:
                # The next look says whether it is there.
                _log.info("%s: %s; reading back", what, error.reason)
            except IcatFault as fault:
                taken = fault.kind == "OBJECT_ALREADY_EXISTS"
                if taken and what in self._taken and wanted.key is not None:
                    # Looked for since then, by its exact name, and not found.
                    raise self._misspelt(wanted, wanted.key, fault) from fault
                if not taken or what in self._taken:
                    raise self._session.failure(fault, f"to create {what}") from fault
                self._taken.add(what)
            self._references.forget(wanted.entity)

    def _misspelt(self, wanted: Prerequisite, key: str, fault: IcatFault) -> Failure:
        alike = f"o.name = {quote(key)}"
        query = select(wanted.entity, alike, then="LIMIT 0, 5")
        rows = entities(self._session.search(query, wanted.entity))
        names = {
            parameter_label(row["name"], row["units"])
            if "units" in row
            else row["name"]
            for row in rows
        }
        there = ", ".join(shorten(name) for name in sorted(names - {wanted.name}))
        what = f"{wanted.entity} {shorten(wanted.name)} is not in the catalogue, but"
        says = f"{what} ICAT says {fault.message.strip()!r}"
        if not there:
            # It may have seen another's transaction, which was undone since.
            return TransientFailure(f"{says}, and has nothing that we see")
        return Rejection(
            f"{says} and has {there}: to its database the names are equal (case, blanks"
            " at the end). Use the one that is there, or rename it"
        )
