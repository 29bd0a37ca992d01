"""The whole way, to be watched: from announcements to what the catalogue holds."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .announcer import Announcer, missing_file, write_files
from .children import log_end
from .facility import connect, down, up_detached
from .folder import Folder, SandboxError

FILES = 20
EXPECTED = {
    "announced": FILES + 3,
    "ingested": FILES,
    "unchanged": 0,
    "ignored": 1,
    "deferred": 1,
    "rejected": 1,
}
_TIMEOUT = 180.0
_SHOWN = 1
# Pipes have no width; this shows a row of the tables in a line.
_WIDTH = 170


def show(*, kafka: str = "embedded", keep: bool = False) -> int:
    """Run the demonstration, and return the exit code.

    Parameters
    ----------
    kafka
        As for the facility.
    keep
        Keep the facility's files.

    Raises
    ------
    SandboxError
        The facility or the ingestor failed.
    """
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    base = Path.cwd() / ".build" / "demo"
    base.mkdir(parents=True, exist_ok=True)
    folder = Folder(Path(tempfile.mkdtemp(prefix="facility-", dir=base)))
    try:
        console.print(f"Starting a facility ({kafka} Kafka) in {folder.path}")
        begin = time.monotonic()
        with console.status("starting"):
            endpoints = up_detached(folder.path, kafka=kafka, timezone="UTC")
        console.print(f"  it is up after {time.monotonic() - begin:.1f} s")
        _announce(console, folder, endpoints["kafka"])
        begin = time.monotonic()
        with console.status("ingesting"):
            records, counts = ingest(folder)
        console.print(
            f"`icat_ingestor --until-end` was through after"
            f" {time.monotonic() - begin:.1f} s"
        )
        console.print(_catalogue_table(folder, endpoints))
        console.print(_rest_table(records))
        _fetch_one(console, folder, endpoints)
    finally:
        down(folder.path)
    if counts != EXPECTED:
        console.print(f"[red]expected {json.dumps(EXPECTED)}[/]; see {folder.path}")
    elif keep:
        console.print(f"the facility's files are kept in {folder.path}")
    else:
        shutil.rmtree(folder.path)
    sys.stdout.write(json.dumps(counts) + "\n")
    return 0 if counts == EXPECTED else 1


def ingest(folder: Folder) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Run the real ingestor until the end of what is announced.

    Parameters
    ----------
    folder
        Of a running facility.

    Returns
    -------
    :
        What became of each record, and the counts.

    Raises
    ------
    SandboxError
        It failed.
    """
    log = folder.log / "ingestor.log"
    command = [str(Path(sys.executable).with_name("icat_ingestor"))]
    command += ["-c", str(folder.config), "--until-end", "--output", "json"]
    # What is set for another facility must not lead it astray.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ICAT_")}
    with log.open("wb") as errors:
        try:
            done = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environ,
                timeout=_TIMEOUT,
                check=False,
                encoding="utf-8",
            )
        except subprocess.TimeoutExpired:
            raise SandboxError(
                f"`{' '.join(command)}` did not end within {_TIMEOUT:.0f} s;"
                f" the end of {log}:\n{log_end(log)}"
            ) from None
    lines = [json.loads(line) for line in done.stdout.splitlines() if line]
    if done.returncode != 0 or not lines:
        raise SandboxError(
            f"`{' '.join(command)}` ended with {done.returncode};"
            f" the end of {log}:\n{log_end(log)}"
        )
    return lines[:-1], lines[-1]


def _announce(console: Console, folder: Folder, bootstrap: str) -> None:
    announcer = Announcer(bootstrap)
    files = list(itertools.islice(write_files(folder.data, layout="both"), FILES))
    for written in files:
        announcer.announce(written)
    announcer.send(b"\x00\x01 no message of any kind \xff")
    lost = missing_file(folder.data)
    announcer.announce(lost)
    failed = replace(lost, path=lost.path.with_name("failed.nxs"))
    announcer.announce(failed, error_encountered=True, message="disk full")
    announcer.flush()
    console.print(
        f"Announced {len(files)} files of two layouts, a record that is no message,"
        " a file that is missing and a failed one"
    )


def _catalogue_table(folder: Folder, endpoints: dict[str, str]) -> Table:
    """Return what the catalogue holds, read with python-icat."""
    from icat.query import Query

    table = Table(title="In the catalogue", title_justify="left")
    for title in ("investigation", "dataset", "type", "sample", "files", "start"):
        table.add_column(title, no_wrap=True)
    table.add_column("parameters")
    client = connect(endpoints["icat"], "simple", "dataingest", folder)
    includes = ["investigation", "type", "sample", "datafiles", "parameters.type"]
    query = Query(
        client,
        "Dataset",
        order=["investigation.name", "investigation.visitId", "name"],
        includes=includes,
    )
    for dataset in client.search(query):
        investigation = dataset.investigation
        table.add_row(
            f"{investigation.name}/{investigation.visitId}",
            dataset.name,
            dataset.type.name,
            dataset.sample.name if dataset.sample else "",
            ", ".join(f"{f.name} ({f.fileSize} B)" for f in dataset.datafiles),
            f"{dataset.startDate:%Y-%m-%d %H:%M}" if dataset.startDate else "",
            _parameters(dataset.parameters),
        )
    client.logout()
    return table


def _parameters(parameters: Sequence[Any]) -> str:
    shown = []
    for parameter in sorted(parameters, key=lambda p: str(p.type.name)):
        value = parameter.numericValue
        if value is None:
            value = parameter.stringValue or parameter.dateTimeValue
        text = f"{value:g}" if isinstance(value, float) else str(value)
        shown.append(f"{parameter.type.name} {text} {parameter.type.units or ''}")
    rest = "" if len(shown) <= _SHOWN else ", …"
    few = ", ".join(text.strip() for text in shown[:_SHOWN])
    return f"{len(shown)}: {few}{rest}"


def _rest_table(records: Sequence[dict[str, Any]]) -> Table:
    """Return what did not go in, by the last word on each record."""
    last = {json.dumps(r["origin"], sort_keys=True): r for r in records}
    table = Table(title="Not in the catalogue", title_justify="left")
    for title in ("outcome", "record", "why"):
        table.add_column(title)
    for record in last.values():
        if record["outcome"] not in ("ingested", "unchanged"):
            at = record["origin"]
            where = f"{at['topic']}[{at['partition']}]@{at['offset']}"
            table.add_row(record["outcome"], where, record["reason"])
    return table


def _fetch_one(console: Console, folder: Folder, endpoints: dict[str, str]) -> None:
    """Get a file back through the data service, as a user would."""
    from icat.ids import DataSelection, IDSClient

    client = connect(endpoints["icat"], "simple", "dataingest", folder)
    files = client.search("Datafile ORDER BY id LIMIT 0, 1")
    if files:
        file = files[0]
        ids = IDSClient(endpoints["ids"], client.sessionId)
        with ids.getData(DataSelection([file])) as response:
            content = response.read()
        original = (folder.data / file.location).read_bytes()
        same = "the same as" if content == original else "[red]not what is[/]"
        console.print(
            f"The data service delivers {file.name}: {len(content)} bytes,"
            f" {same} on disk"
        )
    client.logout()
