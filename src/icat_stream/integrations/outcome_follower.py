"""An integration that tells another system what became of records."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from icat_stream.config import Section
from icat_stream.records import Failure, JournalRow, Outcome

from .integration import Document
from .target_system import TargetSystem

_Options = TypeVar("_Options", bound=Section)


class OutcomeFollower(TargetSystem[_Options]):
    """Follows the outcomes topic.

    Outcomes come again: the key of a document is that of its outcome.
    """

    follows: ClassVar[frozenset[str]] = frozenset({"outcome"})

    @abstractmethod
    def wanted(self, row: JournalRow) -> Document | Outcome:
        """Return what the system shall hold, or why nothing follows.

        Parameters
        ----------
        row
            What became of a record; without its payload, key and headers.
        """

    @abstractmethod
    def apply(self, documents: Sequence[Document]) -> Sequence[Outcome | Failure]:
        """Bring the system to documents, and return what became of each.

        By their keys: a second time changes nothing.

        Parameters
        ----------
        documents
            At most :attr:`batch`.
        """
