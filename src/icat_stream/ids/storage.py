"""What the lanes of a process share about the data service."""

import threading

from icat_stream.config import IdsSettings
from icat_stream.records import Plan

from .answers import unavailable
from .catalogue_lane import AppliedT, CatalogueLane, CatalogueSession
from .client import IdsClient
from .connection import Connection


class Storage:
    """The data service; thread-safe.

    Parameters
    ----------
    settings
        Where it is, and how files get there.  Without a URL there is none, and
        nothing is done.
    """

    def __init__(self, settings: IdsSettings) -> None:
        self._settings = settings
        self._connection = (
            None
            if settings.url is None
            else Connection(settings.url, settings.timeout, settings.ca_file)
        )
        self._lock = threading.Lock()
        self._two_level: bool | None = None

    @property
    def uploads(self) -> bool:
        """Whether files are brought in by the data service."""
        return self._connection is not None and self._settings.mode == "put"

    def apply(self, plan: Plan, lane: CatalogueLane[AppliedT]) -> AppliedT:
        """Bring the catalogue to a plan, and the data to where they belong.

        Files are uploaded (mode ``put``) or registered where they are; with an
        archive behind the main storage a copy in it is asked for.

        Parameters
        ----------
        plan
            Of the facility.
        lane
            The catalogue's, of the thread that calls.

        Returns
        -------
        AppliedT
            The catalogue's answer, once all of that is done.

        Raises
        ------
        Failure
            It could not be done, or not yet.
        """
        if self._connection is None:
            return lane.apply(plan)
        storage = IdsClient(
            self._connection, lane, uploads=self.uploads, two_level=self.two_level
        )
        applied = lane.apply(plan, storage if self.uploads else None)
        return applied.also(
            storage.secure(
                [
                    number
                    for number, dataset in zip(
                        applied.dataset_ids, plan.datasets, strict=True
                    )
                    # What is only said of a dataset leaves its files as they are.
                    if not dataset.partial or any(f.source for f in dataset.datafiles)
                ]
            )
        )

    def two_level(self) -> bool:
        """Whether there is an archive behind the main storage; asked once.

        Raises
        ------
        SystemUnavailable
            The data service does not say.
        """
        if self._connection is None:
            return False
        with self._lock:
            if self._two_level is None:
                answer = self._connection.get("isTwoLevel")
                text = answer.body.decode("utf-8", "replace").strip().lower()
                if not answer.ok or text not in ("true", "false"):
                    raise unavailable(
                        f"HTTP {answer.status} instead of an answer to isTwoLevel"
                    )
                self._two_level = text == "true"
            return self._two_level

    def is_online(self, lane: CatalogueSession, dataset_id: int) -> bool:
        """Whether a dataset's files should be in main storage.

        Parameters
        ----------
        lane
            The catalogue's, of the thread that calls.
        dataset_id
            ICAT's.
        """
        if self._connection is None or not self.two_level():
            return True
        storage = IdsClient(
            self._connection, lane, uploads=False, two_level=self.two_level
        )
        return storage.status([dataset_id]) == "ONLINE"

    def ping(self) -> None:
        """See that the data service answers.

        Raises
        ------
        SystemUnavailable
            It does not.
        """
        if self._connection is None:
            return
        answer = self._connection.get("ping")
        if not answer.ok or b"IdsOK" not in answer.body:
            raise unavailable(f"HTTP {answer.status} instead of IdsOK from ping")
