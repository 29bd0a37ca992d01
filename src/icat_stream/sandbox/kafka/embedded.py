"""librdkafka's mock cluster in a process of its own: a Kafka without Java.

For trying, never for proving: it acknowledges transactional offsets and drops them,
shows aborted records, and answers no CreateTopics.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from .errors import BrokerError

_MODULE = f"{__package__}.mock_cluster"


class EmbeddedBroker:
    """A mock cluster of one broker that other processes can use.

    It ends with :meth:`stop`, on SIGTERM, and when its parent is gone.

    Parameters
    ----------
    topics
        Partitions by topic; others come into being when they are first used.
    folder
        For the file that says it is ready; a temporary one by default.
    """

    def __init__(
        self, topics: Mapping[str, int] | None = None, *, folder: Path | None = None
    ) -> None:
        self._topics = dict(topics or {})
        self._folder = folder
        self._bootstrap: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""
        if self._bootstrap is None:
            raise BrokerError("the broker was never started: call start() first")
        return self._bootstrap

    @property
    def pid(self) -> int | None:
        """Of the broker's process, ``None`` while it is not running."""
        return None if self._process is None else self._process.pid

    def start(self, timeout: float = 20.0) -> None:
        """Start the broker and wait until it answers.

        Parameters
        ----------
        timeout
            Seconds to wait.

        Raises
        ------
        BrokerError
            It did not come up.
        """
        if self._process is not None:
            return
        folder = self._folder or Path(tempfile.mkdtemp(prefix="icat-stream-kafka-"))
        folder.mkdir(parents=True, exist_ok=True)
        ready = folder / "kafka.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", _MODULE, "--ready", str(ready)]
        command += ["--parent", str(os.getpid())]
        for name, partitions in self._topics.items():
            command += ["--topic", f"{name}:{partitions}"]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + timeout
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                code = self._process.poll()
                self.stop()
                raise BrokerError(
                    "the embedded broker did not come up"
                    + (
                        f" within {timeout:.0f} s"
                        if code is None
                        else f" (exit {code})"
                    )
                )
            time.sleep(0.02)
        self._bootstrap = json.loads(ready.read_text())["kafka"]
        if self._folder is None:
            ready.unlink()
            folder.rmdir()

    def stop(self, timeout: float = 5.0) -> None:
        """End the broker; what it held is gone.

        Parameters
        ----------
        timeout
            Seconds before it is killed.
        """
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> "EmbeddedBroker":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
