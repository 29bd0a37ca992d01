"""A pool of warm child processes, each doing one thing at a time under a deadline.

A child is started by fork and exec of a fresh interpreter, closing all descriptors
but its pipes: it inherits no socket and no lock of the parent, whatever the parent's
threads are doing.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Self

from icat_stream.records import SystemUnavailable, TransientFailure

from . import child_pipe

SYSTEM = "files"

# Importing h5py took 0.4 s; a cold disk and a busy machine take their time.
_STARTUP = 60.0
# SIGKILL ends a process at once unless it sits in the kernel, as on a dead mount.
_KILL = 1.0


class Child:
    """One child process and the two pipes to it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        environment = {
            name: value
            for name, value in os.environ.items()
            # HDF5's own variables would overrule what is asked for in calls.
            if not name.startswith("HDF5_") or name == "HDF5_PLUGIN_PATH"
        }
        # Nothing is calculated; the threads would only cost address space.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "icat_stream.nexus.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment,
            start_new_session=True,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a process without the pipes that were asked for")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        self._starting = True
        self.served = 0
        # It fits into the pipe; a child that is dead already is found by ``ask``.
        with contextlib.suppress(child_pipe.PipeClosed):
            frame, until = child_pipe.pack(settings), time.monotonic() + _KILL
            child_pipe.send(self._stdin.fileno(), frame, until=until)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, frame: bytes, *, deadline: float) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Parameters
        ----------
        frame
            The request, packed.
        deadline
            Seconds, from when the child is ready or gave its last sign of life.
        """
        until = self._send(frame, deadline)
        answer = child_pipe.receive(self._stdout.fileno(), until=until)
        while "alive" in answer:
            until = time.monotonic() + deadline
            answer = child_pipe.receive(self._stdout.fileno(), until=until)
        self.served += 1
        return answer

    def stream(
        self, frame: bytes, *, deadline: float
    ) -> Generator[bytes, None, dict[str, Any]]:
        """Send a request, and yield the content that comes before its answer.

        Parameters
        ----------
        frame
            The request, packed.
        deadline
            Seconds for each piece, and for the answer.

        Returns
        -------
        dict
            The answer.
        """
        until = self._send(frame, deadline)
        while piece := child_pipe.receive_bytes(self._stdout.fileno(), until=until):
            yield piece
            until = time.monotonic() + deadline
        answer = child_pipe.receive(self._stdout.fileno(), until=until)
        self.served += 1
        return answer

    def _send(self, frame: bytes, deadline: float) -> float:
        """Send a request once the child is ready; return until when it has time."""
        if self._starting:
            try:
                child_pipe.receive(
                    self._stdout.fileno(), until=time.monotonic() + _STARTUP
                )
            except (child_pipe.PipeClosed, child_pipe.DeadlinePassed) as error:
                raise SystemUnavailable(
                    f"the process that reads files does not start ({self.last_words()})"
                    "; its own output says why",
                    system=SYSTEM,
                ) from error
            self._starting = False
        until = time.monotonic() + deadline
        child_pipe.send(self._stdin.fileno(), frame, until=until)
        return until

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """Say how the process ended, as far as it has."""
        try:
            code = self._process.wait(_KILL)
        except subprocess.TimeoutExpired:
            return "still running"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """Tell the kernel to end it; this takes effect when the kernel can."""
        self._process.kill()

    def end(self) -> bool:
        """Kill it and tell whether it is gone."""
        self.kill()
        self._stdin.close()
        try:
            self._process.wait(_KILL)
        except subprocess.TimeoutExpired:
            return False
        self._stdout.close()
        return True


class ChildPool:
    """Hands each request to a free child, starting children as they are needed.

    Who asks waits in a queue, for as long as it takes: its turn comes, since each of
    those before it has a deadline.

    Parameters
    ----------
    spawn
        Starts a child.
    size
        Most children at work or waiting.
    max_stuck
        Most children abandoned in the kernel; beyond that nothing is asked any more
        until one of them ends.
    """

    def __init__(
        self, spawn: Callable[[], Child], *, size: int, max_stuck: int
    ) -> None:
        self._spawn = spawn
        self._size = size
        self._max_stuck = max_stuck
        self._lock = threading.Lock()
        # Each who waits has its own, so that only the first of them is woken.
        self._turns: deque[threading.Condition] = deque()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._starting = 0
        self._stuck: list[Child] = []
        self._closed = False

    @property
    def pids(self) -> frozenset[int]:
        """Process ids of all children, stuck ones included."""
        with self._lock:
            return frozenset(c.pid for c in (*self._idle, *self._busy, *self._stuck))

    def start(self) -> None:
        """Start the first child now, without waiting until it is ready."""
        with self._lock:
            if self._closed or self._idle or self._busy or self._starting:
                return
            self._starting += 1
        self._release(self._start_reserved())

    def ask(self, frame: bytes, *, deadline: float) -> dict[str, Any]:
        """Let a child answer a request.

        Parameters
        ----------
        frame
            The request, packed.
        deadline
            Seconds for the child to answer, or from one of its signs of life to the
            next; waiting for a free child does not count.

        Raises
        ------
        TransientFailure
            It did not answer in time, or it died.
        SystemUnavailable
            No child can be started, or too many are stuck.
        """
        child = self._take()
        with self._discarded_on_failure(child, deadline):
            answer = child.ask(frame, deadline=deadline)
        if not answer.get("out_of_memory"):
            self._release(child)
            return answer
        self._discard(child)
        # One that has served for long may have had little left for this file.
        if child.served == 1:
            return answer
        return self.ask(frame, deadline=deadline)

    def stream(
        self, frame: bytes, *, deadline: float
    ) -> Generator[bytes, None, dict[str, Any]]:
        """Let a child send content, then its answer; as :meth:`ask`.

        A child whose content is not taken to its end is ended.
        """
        child = self._take()
        with self._discarded_on_failure(child, deadline):
            answer = yield from child.stream(frame, deadline=deadline)
        self._release(child)
        return answer

    def close(self) -> None:
        """End all children, those at work too; their callers get a failure."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for child in self._busy:
                child.kill()
            self._wake_all()
        for child in idle:
            child.kill()
        for child in idle:
            child.end()

    @contextlib.contextmanager
    def _discarded_on_failure(self, child: Child, deadline: float) -> Iterator[None]:
        try:
            yield
        except child_pipe.DeadlinePassed as error:
            gone = self._discard(child)
            raise TransientFailure(
                f"not read within {deadline:g} s; the file system is slow or stalled,"
                " or the file is hostile; its reading process was"
                f" {'ended' if gone else 'abandoned'}"
            ) from error
        except child_pipe.PipeClosed as error:
            end = child.last_words()
            self._discard(child)
            raise TransientFailure(f"the process reading it died ({end})") from error
        except BaseException:
            self._discard(child)
            raise

    def _take(self) -> Child:
        with self._lock:
            turn = threading.Condition(self._lock)
            self._turns.append(turn)
            try:
                while True:
                    self._check()
                    if self._turns[0] is turn:
                        if (child := self._free()) is not None:
                            self._busy.add(child)
                            return child
                        if len(self._busy) + self._starting < self._size:
                            self._starting += 1
                            break
                    turn.wait()
            finally:
                self._turns.remove(turn)
                # There may be another one for who is the first now.
                self._wake()
        return self._start_reserved()

    def _free(self) -> Child | None:
        while self._idle:
            child = self._idle.pop()
            if not child.has_ended():
                return child
            child.end()
        return None

    def _wake(self) -> None:
        if self._turns:
            self._turns[0].notify()

    def _wake_all(self) -> None:
        for turn in self._turns:
            turn.notify()

    def _check(self) -> None:
        if self._closed:
            raise TransientFailure("files are not read any more: stopping")
        for child in self._stuck:
            if child.has_ended():
                child.end()
        self._stuck = [child for child in self._stuck if not child.has_ended()]
        if len(self._stuck) >= self._max_stuck:
            raise SystemUnavailable(
                f"{len(self._stuck)} processes that read files hang in the kernel"
                f" (pid {', '.join(str(child.pid) for child in self._stuck)});"
                " a mounted file system does not answer",
                system=SYSTEM,
            )

    def _start_reserved(self) -> Child:
        child = None
        try:
            child = self._spawn()
        except OSError as error:
            raise SystemUnavailable(
                f"cannot start a process that reads files: {error}", system=SYSTEM
            ) from error
        finally:
            with self._lock:
                self._starting -= 1
                if child is not None:
                    self._busy.add(child)
                if self._closed and child is not None:
                    child.kill()
                self._wake()
        return child

    def _release(self, child: Child) -> None:
        with self._lock:
            self._busy.remove(child)
            if not self._closed:
                self._idle.append(child)
                self._wake()
                return
        child.end()

    def _discard(self, child: Child) -> bool:
        gone = child.end()
        with self._lock:
            self._busy.remove(child)
            if not gone:
                self._stuck.append(child)
            # With the last one stuck, whoever waits is to hear of it at once.
            self._wake_all()
        return gone

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
