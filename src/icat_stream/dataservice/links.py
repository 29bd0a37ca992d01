"""Hard links through which somebody can open a file of main storage directly."""

import errno
import logging
import os
import pwd
import re
import struct
import uuid
from pathlib import Path

from .errors import BadRequest, Internal, NotImplementedHere
from .settings import LinkSettings
from .state import State

_log = logging.getLogger(__name__)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.@\\-]{0,63}\$?")
_ACL = "system.posix_acl_access"
_VERSION = 2
_OWNER, _NAMED, _GROUP, _NAMED_GROUP, _MASK, _OTHERS = 1, 2, 4, 8, 16, 32
_NOBODY = 0xFFFFFFFF
_READ = 4


class Links:
    """Makes links and removes them when their time is over.

    Parameters
    ----------
    settings
        Where, and how long.
    state
        Remembers them.
    """

    def __init__(self, settings: LinkSettings, state: State) -> None:
        self._settings = settings
        self._folder = settings.folder or state.folder / "links"
        self._state = state
        if settings.enabled:
            self._folder.mkdir(parents=True, exist_ok=True)

    def make(self, target: Path, user: str, owner: str) -> Path:
        """Link a file and let one user read it.

        Parameters
        ----------
        target
            The file.
        user
            Of this machine, who may read it.
        owner
            Of ICAT, who asks for it.

        Raises
        ------
        BadRequest
            There is no such user.
        InsufficientStorage
            The owner has too many.
        IdsError
            The link cannot be made.
        """
        if not self._settings.enabled:
            raise NotImplementedHere("links are switched off: links.lifetime is 0")
        number = _user_id(user)
        link = self._folder / str(uuid.uuid4())
        self._state.add_link(link, owner, self._settings)
        try:
            os.link(target, link, follow_symlinks=True)
            _let_read(link, number, user)
        except OSError as error:
            link.unlink(missing_ok=True)
            self._state.forget_link(link)
            if error.errno == errno.EXDEV:
                raise Internal(
                    f"links.folder {self._folder} is not on the file system of the"
                    " main storage: links cannot be made"
                ) from None
            raise
        except BaseException:
            link.unlink(missing_ok=True)
            self._state.forget_link(link)
            raise
        return link

    def tidy(self) -> None:
        """Remove links whose time is over."""
        for link in self._state.expired_links():
            link.unlink(missing_ok=True)
            self._state.forget_link(link)


def _user_id(user: str) -> int:
    if _USER.fullmatch(user) is None:
        raise BadRequest(f"The username parameter {user!r} is no name of a user")
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise BadRequest(
            f"there is no user {user!r} here. Check that user '{user}' exists"
        ) from None


def _let_read(path: Path, number: int, user: str) -> None:
    """Add a user to those who may read a file, in its ACL."""
    facts = path.stat()
    mode = facts.st_mode
    if facts.st_uid == number and mode & 0o400:
        return
    entries = _entries(path, mode)
    entries[_NAMED, number] = entries.get((_NAMED, number), 0) | _READ
    group_class = [p for (tag, _), p in entries.items() if tag in (2, 4, 8)]
    mask = 0
    for permissions in group_class:
        mask |= permissions
    entries[_MASK, _NOBODY] = mask
    packed = struct.pack("<I", _VERSION) + b"".join(
        struct.pack("<HHI", tag, permissions, id_)
        for (tag, id_), permissions in sorted(entries.items())
    )
    try:
        os.setxattr(path, _ACL, packed)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise
        if not mode & 0o004:
            raise Internal(
                f"user {user!r} cannot be let read the file: its file system has no"
                f" ACLs, or they are not this service's to set ({error.strerror})"
            ) from None


def _entries(path: Path, mode: int) -> dict[tuple[int, int], int]:
    """Return permissions by kind and id, from the ACL or else from the mode."""
    try:
        packed = os.getxattr(path, _ACL)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        return {
            (_OWNER, _NOBODY): mode >> 6 & 7,
            (_GROUP, _NOBODY): mode >> 3 & 7,
            (_OTHERS, _NOBODY): mode & 7,
        }
    found = struct.iter_unpack("<HHI", packed[4:])
    return {(tag, id_): permissions for tag, permissions, id_ in found}
