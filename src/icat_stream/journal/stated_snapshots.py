"""What user offices state of users and investigations."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TypeVar

from sqlalchemy import Connection, select

from icat_stream.config import DISABLED_SUFFIX
from icat_stream.records import Investigation, InvestigationKey, User, from_text

from .newest_claims import Entity
from .tables import newest

_AT_ONCE = 1_000
_T = TypeVar("_T", User, Investigation)


class StatedSnapshots:
    """What is stated of users and investigations, as it was last applied.

    For what ICAT has no field for, and for who is stated to be in a team, whether or
    not the catalogue keeps those who left.  Who is not in an answer is not stated: it
    is in ICAT by somebody else, or from before this program.

    Its methods raise as those of :class:`~icat_stream.journal.Journal`.

    Parameters
    ----------
    begin
        Begins a transaction; ``None`` where there is no journal yet.
    facility
        Name of the facility.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[Connection]] | None,
        facility: str,
    ) -> None:
        self._begin = begin
        self._facility = facility

    def users(self, names: Iterable[str]) -> dict[str, User]:
        """Return what is stated of users, by name.

        Parameters
        ----------
        names
            As ICAT has them, also of those who are disabled.
        """
        accounts = {name: name.removesuffix(DISABLED_SUFFIX) for name in names}
        found = self._applied(User, "user", accounts.values())
        return {
            n: found[account] for n, account in accounts.items() if account in found
        }

    def investigations(
        self, keys: Iterable[InvestigationKey]
    ) -> dict[InvestigationKey, Investigation]:
        """Return what is stated of investigations, but for their dates.

        ``members`` of ``None``: nobody stated a team.

        Parameters
        ----------
        keys
            Of the facility.
        """
        named = {key: Entity.name_of(key) for key in keys}
        found = self._applied(Investigation, "investigation", named.values())
        return {key: found[name] for key, name in named.items() if name in found}

    def _applied(
        self, what: type[_T], kind: str, names: Iterable[str]
    ) -> dict[str, _T]:
        if self._begin is None:
            return {}
        entities = [
            Entity(facility=self._facility, kind=kind, name=n)
            for n in dict.fromkeys(names)
        ]
        digests = {entity.digest: entity.name for entity in entities}
        numbers = list(digests)
        found = {}
        with self._begin() as connection:
            for begin in range(0, len(numbers), _AT_ONCE):
                query = select(newest.c.entity, newest.c.applied).where(
                    newest.c.entity.in_(numbers[begin : begin + _AT_ONCE]),
                    newest.c.applied.is_not(None),
                )
                for row in connection.execute(query):
                    found[digests[row.entity]] = from_text(what, row.applied)
        return found
