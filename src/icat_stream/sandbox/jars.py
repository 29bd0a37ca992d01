"""Jars of servers, fetched once by Maven."""

import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# A first download takes 5 to 60 s; a proxy that hangs should not hang us for good.
_TIMEOUT = 600.0


class JarsError(RuntimeError):
    """A server's jars, or the Java to run them, cannot be had; the text says why."""


def java(for_what: str) -> str:
    """Return the ``java`` to use.

    Parameters
    ----------
    for_what
        What needs it, as an error shall say.

    Raises
    ------
    JarsError
        There is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else None
    found = found or shutil.which("java")
    if found is None:
        raise JarsError(
            f"{for_what} needs Java 17 or newer, and there is no `java` in PATH or"
            " JAVA_HOME: install a JRE"
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Jars:
    """The jars of one server.

    Parameters
    ----------
    server
        What they are of.
    pom
        Maven's file that names them.
    folder
        Its name in the user's cache; with the version, so that another is fetched.
    variable
        Of the environment, with another folder to keep them in.
    proof
        Pattern of a jar that a folder has which has all of them.
    """

    server: str
    pom: Path
    folder: str
    variable: str
    proof: str

    def default_folder(self) -> Path:
        """Return where the jars are kept, whoever starts the server."""
        given = os.environ.get(self.variable)
        if given:
            return Path(given)
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(cache) / "icat-stream" / self.folder

    def fetched(self, folder: Path | None = None) -> Path:
        """Return a folder with the jars, fetched if they are not there yet.

        Any number of processes may ask at the same time: one fetches, the others wait.

        Parameters
        ----------
        folder
            Where to keep them, :meth:`default_folder` by default.

        Raises
        ------
        JarsError
            Maven is missing or could not fetch them.
        """
        folder = (folder or self.default_folder()).absolute()
        if self._complete(folder):
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._complete(folder):
                self._fetch(folder)
        return folder

    def _complete(self, folder: Path) -> bool:
        # Only whole downloads get this name; a folder given by hand may lack it.
        return any(folder.glob(self.proof))

    def _fetch(self, folder: Path) -> None:
        maven = shutil.which("mvn")
        if maven is None:
            raise JarsError(
                f"no jars of {self.server} in {folder}, and no `mvn` in PATH to fetch"
                f" them: install Maven, or let {self.variable} name a folder with the"
                " jars"
            )
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        shutil.copy(self.pom, partial / "pom.xml")
        command = [maven, "-q", "-B", "-f", str(partial / "pom.xml")]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
        try:
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise JarsError(
                f"`{' '.join(command)}` did not end within {_TIMEOUT:.0f} s: is Maven's"
                " repository reachable?"
            ) from None
        if done.returncode != 0 or not self._complete(partial):
            text = (done.stdout + done.stderr).strip()[-2000:]
            raise JarsError(f"`{' '.join(command)}` could not fetch the jars:\n{text}")
        if folder.exists():
            # Something incomplete of that name; ours is whole.
            shutil.rmtree(folder)
        partial.rename(folder)
