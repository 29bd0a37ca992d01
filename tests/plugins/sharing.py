"""One server for all workers of a run: who needs it first starts it."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of a run share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def alone(factory: pytest.TempPathFactory, name: str) -> Iterator[None]:
    """Let one worker after the other do what is inside."""
    with (run_folder(factory) / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def shared(
    factory: pytest.TempPathFactory,
    name: str,
    start: Callable[[Path], AbstractContextManager[str]],
) -> Iterator[str]:
    """Say where the server is; whoever started it ends it after its last user.

    Parameters
    ----------
    factory
        Of the worker.
    name
        Of the server, once a run.
    start
        Starts it in a folder and says where it is.
    """
    folder = run_folder(factory) / name
    folder.mkdir(exist_ok=True)
    address = folder / "address"
    with (folder / "lock").open("w") as lock, (folder / "users").open("w") as users:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = None
        try:
            if not address.exists():
                server = start(folder)
                address.write_text(server.__enter__())
            fcntl.flock(users, fcntl.LOCK_SH)
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
        try:
            yield address.read_text()
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)
            if server is not None:
                _last(lock, users)
                address.unlink()
                server.__exit__(None, None, None)


def _last(lock: object, users: object) -> None:
    """Return with both locks once nobody uses the server."""
    while True:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_UN)
            time.sleep(0.1)
        else:
            return
