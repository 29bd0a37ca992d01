"""Storages of facilities that do not exist."""

import errno
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from icat_stream.dataservice.file_storage import FileArchive, FileStorage


class SlowArchive(FileArchive):
    """Hands out nothing before somebody makes a file named ``go``."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        super().__init__(root)

    def open(self, name: str) -> BinaryIO:
        while not Path(self.root, "go").exists():
            time.sleep(0.01)
        return super().open(name)


class Troubled(FileStorage):
    """Does what a file named ``trouble`` beside it says: raises, hangs, is full."""

    def begin(self, *arguments: Any) -> Any:
        self._trouble()
        upload = super().begin(*arguments)
        tidy_up = upload.abort

        def abort() -> None:
            self._trouble(" in abort")
            tidy_up()

        upload.abort = abort  # type: ignore[method-assign]
        return upload

    def open(self, location: str) -> Any:
        self._trouble()
        if self._said() == "opens slowly":
            time.sleep(0.5)
        return super().open(location)

    def size(self, location: str) -> int:
        self._trouble()
        return super().size(location)

    def delete(self, location: str) -> None:
        self._trouble()
        super().delete(location)

    def files(self) -> Iterator[Any]:
        self._trouble()
        return super().files()

    def _trouble(self, where: str = "") -> None:
        what = self._said()
        if what == "raises":
            raise RuntimeError("the robot dropped it")
        if what == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        while what == f"hangs{where}":
            time.sleep(0.05)
            what = self._said()

    def _said(self) -> str:
        said = Path(self.root, "..", "trouble")
        return said.read_text() if said.exists() else ""
