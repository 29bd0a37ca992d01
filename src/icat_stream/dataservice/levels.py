"""What the calls need to know about where data is; and one level, where it is easy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .catalogue import CataloguedFile, Session
from .locks import Lease, Locks
from .plugins import DatasetInfo


@dataclass(frozen=True, slots=True)
class Selected:
    """What a call is about: files, and datasets that may be without any."""

    files: Sequence[CataloguedFile]
    datasets: Sequence[int] = ()


class Levels(Protocol):
    """What the calls need to know about main and archive storage."""

    two: bool

    def status(self, selected: Selected) -> str:
        """Return ``ONLINE``, ``RESTORING`` or ``ARCHIVED``."""
        ...

    def reading(self, files: Iterable[CataloguedFile], *, link: bool = False) -> Lease:
        """Keep files in main storage while they are read."""
        ...

    def putting(self, session: Session, dataset: DatasetInfo) -> Lease:
        """Keep a dataset in main storage while a file is added to it."""
        ...

    def stored(self, dataset: DatasetInfo, location: str, name: str) -> None:
        """Note durably, before it is catalogued, that there is a new file."""
        ...

    def catalogued(self, file: CataloguedFile) -> None:
        """Note that a new file is catalogued."""
        ...

    def refused(self, location: str) -> None:
        """Note that a new file is not catalogued, and gone."""
        ...

    def deleting(self, files: Sequence[CataloguedFile]) -> Lease:
        """Hold files alone while they are deleted."""
        ...

    def deleted(self, files: Sequence[CataloguedFile]) -> None:
        """Note durably, after they left the catalogue, that files are to go."""
        ...

    def archive(self, selected: Selected) -> None:
        """Send to the archive."""
        ...

    def restore(self, selected: Selected) -> None:
        """Get from the archive."""
        ...

    def write(self, selected: Selected) -> None:
        """Copy to the archive."""
        ...

    def reset(self, selected: Selected) -> None:
        """Take flags away."""
        ...

    def prepare(self, selected: Selected) -> None:
        """Begin to get everything online, flags or not."""
        ...

    def is_prepared(self, selected: Selected) -> bool:
        """Return whether everything is online, and see to it that it will be."""
        ...

    def service_status(self) -> dict[str, Any]:
        """Return queue, locks and failures."""
        ...


class OneLevel:
    """Everything is in main storage, always."""

    two = False

    def __init__(self) -> None:
        self._locks = Locks()

    def status(self, selected: Selected) -> str:
        """Return ``ONLINE``."""
        return "ONLINE"

    def reading(self, files: Iterable[CataloguedFile], *, link: bool = False) -> Lease:
        """Hold nothing: what is open stays readable while it is deleted."""
        return self._locks.share(())

    def putting(self, session: Session, dataset: DatasetInfo) -> Lease:
        """Hold nothing."""
        return self._locks.share(())

    def stored(self, dataset: DatasetInfo, location: str, name: str) -> None:
        """Note nothing."""

    def catalogued(self, file: CataloguedFile) -> None:
        """Note nothing."""

    def refused(self, location: str) -> None:
        """Note nothing."""

    def deleting(self, files: Sequence[CataloguedFile]) -> Lease:
        """Hold nothing."""
        return self._locks.share(())

    def deleted(self, files: Sequence[CataloguedFile]) -> None:
        """Note nothing."""

    def archive(self, selected: Selected) -> None:
        """Do nothing: there is no archive."""

    restore = write = reset = prepare = archive

    def is_prepared(self, selected: Selected) -> bool:
        """Return that it is."""
        return True

    def service_status(self) -> dict[str, Any]:
        """Return that nothing waits."""
        return {"opsQueue": [], "lockCount": 0, "locks": [], "failures": []}
