"""The data service of one process."""

import threading

from icat_stream.config import IdsSettings
from icat_stream.icat import UnansweredWrites
from icat_stream.telemetry import client_span

from .answers import unavailable
from .client import IcatAccess, IdsClient
from .connection import Connection
from .upload_source import FileContents

# As for writes of the catalogue.
_LOOK_FOR_TIMEOUTS = 3


class Ids:
    """What the threads of a process share about the data service; thread-safe.

    Parameters
    ----------
    settings
        Where it is, and how files get there.  Without a URL there is none, and
        nothing is done.
    files
        The way to what is uploaded; ``None`` where nothing is.
    """

    def __init__(
        self, settings: IdsSettings, files: FileContents | None = None
    ) -> None:
        self._settings = settings
        self._files = files
        self._connection = (
            None
            if settings.url is None
            else Connection(settings.url, settings.timeout, settings.ca_file)
        )
        self._unanswered = UnansweredWrites(_LOOK_FOR_TIMEOUTS * settings.timeout)
        self._lock = threading.Lock()
        self._two_level: bool | None = None

    @property
    def uploads(self) -> bool:
        """Whether files are brought in by the data service."""
        return self._connection is not None and self._settings.mode == "put"

    def client(self, session: IcatAccess) -> IdsClient | None:
        """Return the client of the thread that calls, ``None`` without a service."""
        if self._connection is None:
            return None
        return IdsClient(
            self._connection,
            session,
            files=self._files,
            uploads=self.uploads,
            two_level=self.two_level,
            unanswered=self._unanswered,
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
                with client_span("ids.isTwoLevel"):
                    answer = self._connection.get("isTwoLevel")
                text = answer.body.decode("utf-8", "replace").strip().lower()
                if not answer.ok or text not in ("true", "false"):
                    raise unavailable(
                        f"HTTP {answer.status} instead of an answer to isTwoLevel"
                    )
                self._two_level = text == "true"
            return self._two_level

    def is_online(self, session: IcatAccess, dataset_id: int) -> bool:
        """Whether a dataset's files should be in main storage."""
        client = self.client(session)
        if client is None or not self.two_level():
            return True
        return client.status([dataset_id]) == "ONLINE"

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
