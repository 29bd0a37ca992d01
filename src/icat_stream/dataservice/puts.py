"""Files on their way in: what is said about one, and how much may be unfinished."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .catalogue import NewFile
from .errors import BadRequest, InsufficientStorage
from .plugins import Upload
from .settings import LimitSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a put says about its file."""

    name: str
    dataset_id: int
    format_id: int
    description: str | None
    doi: str | None
    create_time: datetime | None
    mod_time: datetime | None

    def file(self, location: str, size: int = 0, checksum: int = 0) -> NewFile:
        """Return the file as it is catalogued."""
        return NewFile(
            name=self.name,
            dataset_id=self.dataset_id,
            format_id=self.format_id,
            location=location,
            size=size,
            checksum=checksum,
            description=self.description,
            doi=self.doi,
            create_time=self.create_time,
            mod_time=self.mod_time,
        )


class Put:
    """A file on its way in.

    Parameters
    ----------
    upload
        Its content.
    counted
        Its share of what is unfinished.
    finish
        Makes it durable, catalogues it, and returns the answer.
    held
        Closed at the end.
    """

    def __init__(
        self,
        upload: Upload,
        counted: "Counted",
        finish: Callable[[], dict[str, Any]],
        held: ExitStack,
    ) -> None:
        self._upload = upload
        self._counted = counted
        self._finish = finish
        self._held = held
        self._committing = False

    def write(self, block: bytes) -> None:
        """Append a block.

        Raises
        ------
        IdsError
            It is too much, or the storage is full.
        """
        self._counted.add(len(block))
        self._upload.write(block)

    def finish(self, rest: bytes) -> dict[str, Any]:
        """Append the last block, store and catalogue it, and return the answer."""
        self._committing = True
        try:
            self.write(rest)
            return self._finish()
        except BaseException:
            self._upload.abort()
            raise
        finally:
            self._held.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        if not self._committing:
            self._held.close()
            self._upload.abort()


class Unfinished:
    """Counts the bytes of each user that are stored and not yet catalogued.

    Parameters
    ----------
    limits
        How many there may be.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self.file_size = limits.file_size
        self.user_size = limits.user_size
        self._mutex = threading.Lock()
        self._users: dict[str, int] = {}

    def begin(self, user: Callable[[], str], announced: int) -> "Counted":
        """Begin to count a file.

        Parameters
        ----------
        user
            Tells whose it is; asked only if that matters.
        announced
            Bytes that it will have at least.

        Raises
        ------
        IdsError
            That is too much.
        """
        counted = Counted(self, user() if self.user_size is not None else "", announced)
        counted.add(0)
        return counted

    def add(self, user: str, size: int) -> None:
        """Count bytes of a user.

        Raises
        ------
        InsufficientStorage
            They are too many.
        """
        if self.user_size is None:
            return
        with self._mutex:
            total = self._users.get(user, 0) + size
            if size > 0 and total > self.user_size:
                raise InsufficientStorage(
                    f"{user} has {total} bytes of unfinished puts, more than the"
                    f" {self.user_size} that limits.user_size allows"
                )
            if total:
                self._users[user] = total
            else:
                self._users.pop(user, None)


class Counted:
    """The share of one file; give it back with :meth:`release`.

    Parameters
    ----------
    all_
        What it is a share of.
    user
        Whose.
    announced
        Bytes that it will have at least.
    """

    def __init__(self, all_: Unfinished, user: str, announced: int) -> None:
        self._all = all_
        self._user = user
        self._announced = announced
        self._size = 0
        self._counted = 0

    def add(self, size: int) -> None:
        """Count bytes.

        Raises
        ------
        IdsError
            They are too many.
        """
        self._size += size
        whole = max(self._size, self._announced)
        limit = self._all.file_size
        if limit is not None and whole > limit:
            raise BadRequest(
                f"the file has {whole} bytes or more: limits.file_size is {limit}"
            )
        self._all.add(self._user, whole - self._counted)
        self._counted = whole

    def release(self) -> None:
        """Give it back."""
        given, self._counted = self._counted, 0
        self._all.add(self._user, -given)
