"""The files that an announced file refers to: found, and where wanted, opened.

Each name in them is somebody else's text, so each target is held by the same rules as
an announced file before anything of it is read, and HDF5 itself never opens one.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from h5py import h5o

from icat_stream.records import NotReady, Rejection, translated

from . import hdf5
from .safe_open import Held, Rules, hold, is_below
from .values import LeftOut


class Home(NamedTuple):
    """A file that is open.

    Parameters
    ----------
    root
        Its root group.
    folder
        That names of files in it are relative to.
    """

    root: Any
    folder: str


class Targets:
    """Where the names of other files in a file lead.

    Parameters
    ----------
    rules
        Where files may lie and when they are finished.
    path_map
        Translates prefixes of absolute paths from the writer's host to this one.
    """

    def __init__(self, rules: Rules, path_map: Mapping[str, str]) -> None:
        self.rules = rules
        self._path_map = path_map
        self._roots = [*rules.roots, *rules.real_roots()]

    def path(self, name: str, folder: str) -> str:
        """Return the path that a name means in a file of that folder.

        Raises
        ------
        Rejection
            It is outside the allowed folders.
        """
        mapped = translated(name, self._path_map)
        path = os.path.normpath(os.path.join(folder, mapped or name))
        # Even to resolve a path can hang, as on a dead mount elsewhere.
        if not any(is_below(path, root) for root in self._roots):
            raise Rejection(
                f"{path}, outside the allowed folders"
                f" ({', '.join(self.rules.roots)}); it was not looked at"
            )
        return path


class OtherFiles:
    """Opens the files behind external links and virtual datasets.

    Parameters
    ----------
    targets
        Finds them.
    most
        How many may be open.
    stack
        Closes them.
    """

    def __init__(self, targets: Targets, most: int, stack: ExitStack) -> None:
        self._targets = targets
        self._most = most
        self._stack = stack
        self._homes: dict[str, Home] = {}
        self._by_number: dict[int, Home] = {}
        self._held: list[Held] = []

    def home(self, item: Any, main: Home) -> Home:
        """Return the file that an object is in, which else is the main one."""
        if not self._by_number:
            return main
        return self._by_number.get(h5o.get_info(item).fileno, main)

    def open(self, name: str, folder: str) -> Home:
        """Open a file that one in that folder names.

        Raises
        ------
        LeftOut
            It is not there, may not be opened, or is no HDF5 file.
        NotReady
            It is still being written.
        """
        try:
            path = self._targets.path(name, folder)
        except Rejection as rejection:
            raise LeftOut(f"which is {rejection.reason}") from rejection
        if path not in self._homes:
            self._homes[path] = self._opened(path)
        return self._homes[path]

    def check_unchanged(self) -> None:
        """Raise ``NotReady`` if one of them was changed or replaced since."""
        for held in self._held:
            held.check_unchanged(self._targets.rules)

    def _opened(self, path: str) -> Home:
        rules = self._targets.rules
        if len(self._held) >= self._most:
            raise LeftOut(f"which would be more than {self._most} files to follow")
        try:
            held = self._stack.enter_context(hold(path, rules))
            name = self._stack.enter_context(held.readable(rules))
            file = hdf5.open_file(name, held, rules)
        except Rejection as rejection:
            raise LeftOut(
                f"which cannot be followed: {rejection.reason}"
            ) from rejection
        except NotReady as failure:
            if os.path.lexists(path):
                raise
            raise LeftOut(f"which is not there ({path})") from failure
        self._stack.callback(file.close)
        self._held.append(held)
        root = h5o.open(file, b"/")
        home = Home(root, os.path.dirname(held.path))
        self._by_number[h5o.get_info(root).fileno] = home
        return home
