"""What the data service's client needs of the catalogue, which it does not know."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from icat_stream.records import Datafile, Plan


class CatalogueSession(Protocol):
    """A session, and a look at what is catalogued."""

    @property
    def session_id(self) -> str:
        """ICAT's session id."""
        ...

    def renew_session(self) -> None:
        """Have the next :attr:`session_id` be a new one."""
        ...

    def datafile_rows(
        self, dataset_id: int, names: Collection[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """Return those datafiles of a dataset that are catalogued, by name."""
        ...


class Uploader(Protocol):
    """Brings files in."""

    def put(self, datafile: Datafile, *, dataset_id: int, format_id: int) -> None:
        """Bring one file in."""
        ...

    def verify(self, datafile: Datafile, *, dataset_id: int) -> None:
        """See that one that is catalogued already arrived whole."""
        ...


class AppliedPlan(Protocol):
    """What became of a plan in the catalogue."""

    @property
    def dataset_ids(self) -> Sequence[int]:
        """ICAT's ids of the plan's datasets."""
        ...

    def also(self, lines: Sequence[str]) -> Self:
        """Return the same with further lines of what was written."""
        ...


AppliedT = TypeVar("AppliedT", bound=AppliedPlan, covariant=True)


class CatalogueLane(CatalogueSession, Protocol[AppliedT]):
    """A session that can apply plans."""

    def apply(self, plan: Plan, store: Uploader | None = None) -> AppliedT:
        """Bring the catalogue to a plan."""
        ...
