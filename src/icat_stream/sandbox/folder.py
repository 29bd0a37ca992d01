"""The folder of an embedded facility: what is where, and whether it runs."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SandboxError(Exception):
    """The embedded facility cannot do what was asked; the text says what to do."""


class Folder:
    """Names in the folder of a facility.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.config = self.path / "config.yaml"
        self.env = self.path / "env"
        self.icat_cfg = self.path / "icat.cfg"
        self.endpoints = self.path / "endpoints.json"
        self.schemas = self.path / "schemas"
        self.data = self.path / "data"
        self.secrets = self.path / "secrets"
        self.run = self.path / "run"
        self.log = self.path / "log"
        self.journal = self.path / "journal.db"
        self.catalogue = self.path / "icat.db"
        self.loaded = self.run / "loaded"
        self.kafka = self.path / "kafka"
        self.ids = self.path / "dataservice"
        self.archive = self.path / "archive"
        self._lock = self.run / "supervisor.pid"

    def make(self) -> None:
        """Make the folders in it.

        Raises
        ------
        SandboxError
            They cannot be made.
        """
        try:
            for folder in (self.data, self.run, self.log, self.kafka):
                folder.mkdir(parents=True, exist_ok=True)
            self.secrets.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SandboxError(
                f"{self.path}: cannot be made a facility's folder: {error}"
            ) from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder as the one process that runs this facility.

        Raises
        ------
        SandboxError
            Another process does.
        """
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self.taken() from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def taken(self) -> SandboxError:
        """Return the error that a facility runs here already."""
        return SandboxError(
            f"a facility runs in {self.path} already (pid {self.holder()}): end it with"
            f" `icat_stream sandbox down --dir {self.path}`, or choose another folder"
        )

    def holder(self) -> int | None:
        """Return the pid of the process that runs this facility, if one does.

        The lock goes with its process, so a pid left behind by a crash, which may
        be somebody else's by now, is never mistaken for it.
        """
        try:
            handle = os.open(self._lock, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(handle)
        return None

    def read_endpoints(self) -> dict[str, str]:
        """Return where the running facility's services are.

        Raises
        ------
        SandboxError
            It does not run.
        """
        if self.holder() is not None:
            try:
                found: dict[str, str] = json.loads(self.endpoints.read_text("utf-8"))
            except FileNotFoundError:
                pass
            else:
                return found
        raise SandboxError(
            f"no facility runs in {self.path}: start one with"
            f" `icat_stream sandbox up --dir {self.path} --detach`"
        )

    def write(self, path: Path, text: str, mode: int = 0o644) -> None:
        """Write a file of this folder, whole or not at all.

        Parameters
        ----------
        path
            Of the file.
        text
            Its content.
        mode
            Its permission bits, from the first moment on.
        """
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)
