"""A file writer of the embedded facility: writes NeXus files and announces them."""

import itertools
import re
import secrets
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from icat_stream.messages import FinishedWriting, encode

from . import reference_data
from .contract import SOURCE_TOPIC
from .folder import Folder, SandboxError
from .reference_data import Visit
from .samples import ESS_INSTRUMENT, SampleFile, write_ess_like, write_isis_like

LAYOUTS = ("ess", "isis", "both")
SERVICE = "sandbox-file-writer"
_FLUSH = 30.0
_RUN = re.compile(r"_(\d+)\.nxs$")


class Announcer:
    """Announces as a file writer does: no key, any partition.

    Parameters
    ----------
    bootstrap
        ``host:port`` of Kafka.
    topic
        To announce on.
    """

    def __init__(self, bootstrap: str, topic: str = SOURCE_TOPIC) -> None:
        from confluent_kafka import Producer

        self._topic = topic
        self._bootstrap = bootstrap
        self._failed: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 5,
                # Announcements that are minutes apart fall anywhere; so shall these.
                "sticky.partitioning.linger.ms": 0,
            }
        )

    def announce(self, written: SampleFile, **details: Any) -> None:
        """Announce a file.

        Parameters
        ----------
        written
            The file, which need not exist.
        details
            Further fields of the message.
        """
        message = FinishedWriting(
            service_id=SERVICE,
            job_id=written.job_id,
            file_name=str(written.path),
            metadata="{}",
            **details,
        )
        trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        self.send(encode(message), [("traceparent", trace.encode())])

    def send(
        self, value: bytes, headers: list[tuple[str, str | bytes | None]] | None = None
    ) -> None:
        """Send any record."""
        self._producer.produce(
            self._topic, value=value, headers=headers or [], on_delivery=self._told
        )
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has everything.

        Raises
        ------
        SandboxError
            It has not.
        """
        left = self._producer.flush(_FLUSH)
        if left or self._failed:
            why = self._failed[0] if self._failed else f"no answer in {_FLUSH:.0f} s"
            raise SandboxError(
                f"Kafka at {self._bootstrap} did not take"
                f" {left + len(self._failed)} announcements: {why}"
            )

    def _told(self, error: object, _: object) -> None:
        if error is not None:
            self._failed.append(str(error))


def announce_files(
    directory: Path, *, count: int, rate: float | None, layout: str, seed: int
) -> None:
    """Write files in a running facility's folder, and announce each.

    Parameters
    ----------
    directory
        The facility's folder.
    count
        How many.
    rate
        A second at most.
    layout
        One of :data:`LAYOUTS`.
    seed
        Decides on their content.

    Raises
    ------
    SandboxError
        The facility does not run, or Kafka does not take them.
    """
    folder = Folder(directory)
    announcer = Announcer(folder.read_endpoints()["kafka"])
    begin = time.monotonic()
    with _progress(count) as step:
        for number, written in enumerate(
            itertools.islice(write_files(folder.data, layout=layout, seed=seed), count)
        ):
            announcer.announce(written)
            if rate is not None:
                time.sleep(max(0.0, begin + (number + 1) / rate - time.monotonic()))
            step(number + 1)
        announcer.flush()
    sys.stdout.write(
        f"announced {count} files on {SOURCE_TOPIC}, {time.monotonic() - begin:.1f} s\n"
    )


def write_files(data: Path, *, layout: str, seed: int = 0) -> Iterator[SampleFile]:
    """Write one file after the other for as long as asked to.

    Parameters
    ----------
    data
        Folder of the facility's data; run numbers go on from what is there.
    layout
        One of :data:`LAYOUTS`.
    seed
        Decides on their content.
    """
    visits = [v for v in reference_data.VISITS if layout in (_layout(v), "both")]
    first = 1 + max(
        (int(m[1]) for p in data.glob("*/*/*/*.nxs") if (m := _RUN.search(p.name))),
        default=0,
    )
    # Layouts take turns, and so do the visits of each.
    queues = [
        itertools.cycle([v for v in visits if _layout(v) == kind])
        for kind in sorted({_layout(v) for v in visits})
    ]
    for run, queue in zip(itertools.count(first), itertools.cycle(queues)):
        yield _write(data, next(queue), run, seed)


def missing_file(data: Path) -> SampleFile:
    """Return the description of a file that is not there, as of a writer that died."""
    visit = reference_data.VISITS[0]
    return SampleFile(
        path=_folder(data, visit) / "never_written.nxs",
        job_id=str(uuid.uuid4()),
        proposal=visit.proposal,
        run=0,
        instrument=visit.instrument,
        sample="",
        start=visit.start,
        end=visit.start,
    )


def _layout(visit: Visit) -> str:
    return "ess" if visit.instrument == ESS_INSTRUMENT else "isis"


def _folder(data: Path, visit: Visit) -> Path:
    return data / visit.instrument.lower() / visit.proposal / f"visit_{visit.visit_id}"


def _write(data: Path, visit: Visit, run: int, seed: int) -> SampleFile:
    folder = _folder(data, visit)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{visit.instrument.lower()}_{run:08}.nxs"
    # Somewhere within the visit, the same for the same run.
    minutes = int((visit.end - visit.start).total_seconds() // 60) - 60
    start = visit.start + (visit.end - visit.start) * ((run * 37 % minutes) / minutes)
    write = write_ess_like if _layout(visit) == "ess" else write_isis_like
    return write(
        path,
        proposal=visit.proposal,
        run=run,
        seed=seed,
        start=start.replace(second=0, microsecond=0),
    )


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Show how far it is: a bar on a terminal, some lines elsewhere."""
    if sys.stdout.isatty():
        from rich.progress import Progress

        with Progress() as progress:
            task = progress.add_task("announcing", total=total)
            yield lambda done: progress.update(task, completed=done)
        return
    marks = {total * part // 10 for part in range(1, 10)}

    def step(done: int) -> None:
        if done in marks and total >= 100:
            sys.stdout.write(f"announced {done} of {total}\n")
            sys.stdout.flush()

    yield step
