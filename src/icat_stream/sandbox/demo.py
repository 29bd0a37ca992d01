"""The whole way, to be watched: from announcements to what the catalogue holds."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
_STOP = 30.0
# Who may see everything on the dashboard.
_OPERATOR = "useroffice"
_ROWS = 5
_SHOWN = 1


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
    console = Console(highlight=False)
    base = Path.cwd() / ".build" / "demo"
    base.mkdir(parents=True, exist_ok=True)
    folder = Folder(Path(tempfile.mkdtemp(prefix="facility-", dir=base)))
    try:
        with _step(console, f"starting Kafka ({kafka}), ICAT and a data service"):
            endpoints = up_detached(folder.path, kafka=kafka, timezone="UTC")
        with _step(console, f"announcing {FILES} files, and three records that fail"):
            _announce(folder, endpoints["kafka"])
        with _step(console, "icat_ingestor --until-end") as tell:
            records, counts = ingest(folder, tell)
        _print_catalogue(console, _datasets(folder, endpoints))
        _print_rest(console, records, folder)
        _fetch_one(console, folder, endpoints)
        if _is_watched(console):
            _stay(console, folder, endpoints["web"])
    finally:
        down(folder.path)
    if counts != EXPECTED:
        console.print(f"[red]expected {json.dumps(EXPECTED)}[/]; see {folder.path}")
    elif keep:
        console.print(f"the facility's files are kept in {folder.path}", soft_wrap=True)
    else:
        shutil.rmtree(folder.path)
    console.print(_next_steps(), soft_wrap=True)
    # For programs, a line of its own that nothing wraps.
    if not sys.stdout.isatty():
        sys.stdout.write(json.dumps(counts) + "\n")
    return 0 if counts == EXPECTED else 1


@contextmanager
def _step(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Say what is being done, how far it is, and at last how long it took."""
    begin = time.monotonic()
    if console.is_terminal:
        with console.status(what) as status:
            yield lambda text: status.update(f"{what}: {text}")
        done = f"[green]✓[/] {what}, "
    else:
        console.print(what, soft_wrap=True)
        yield lambda text: None
        done = "  "
    console.print(f"{done}{time.monotonic() - begin:.1f} s", soft_wrap=True)


def _is_watched(console: Console) -> bool:
    """Whether somebody sits before it who can end it."""
    return console.is_terminal and sys.stdin.isatty() and "CI" not in os.environ


def _stay(console: Console, folder: Folder, dashboard: str) -> None:
    """Leave the facility up, with a daemon, until Enter or Ctrl-C."""
    password = (folder.secrets / _OPERATOR).read_text("utf-8").strip()
    console.print(
        f"\nThe dashboard is at [bold]{dashboard}[/]: log in by simple as"
        f" [bold]{_OPERATOR}[/] with the password [bold]{password}[/]",
        soft_wrap=True,
    )
    command = [str(Path(sys.executable).with_name("icat_ingestor"))]
    command += ["-c", str(folder.config)]
    with (folder.log / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environ(),
            # Ctrl-C is for this process, which ends it in order.
            start_new_session=True,
        )
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        console.print("Enter or Ctrl-C ends it all.")
        sys.stdin.readline()
    except KeyboardInterrupt:
        console.print()
    finally:
        signal.signal(signal.SIGTERM, before)
        with _step(console, "ending it"):
            daemon.terminate()
            try:
                daemon.wait(_STOP)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _environ() -> dict[str, str]:
    """Return what is set here, but for what would lead to another facility."""
    return {k: v for k, v in os.environ.items() if not k.startswith("ICAT_")}


def _next_steps() -> str:
    """Return commands to try, as they work where this one was typed."""
    own = Path(sys.executable).parent
    if shutil.which("icat_stream") == str(own / "icat_stream"):
        prefix = ""
    elif own.is_relative_to(Path.cwd()):
        prefix = f"{own.relative_to(Path.cwd())}/"
    else:
        prefix = f"{own}/"
    return (
        "\nA facility to keep, and what to try on it:\n"
        f"  {prefix}icat_stream sandbox up --dir facility --detach\n"
        f"  {prefix}icat_stream sandbox announce --dir facility --count 5\n"
        f"  {prefix}icat_ingestor -c facility/config.yaml"
    )


def ingest(
    folder: Folder, tell: Callable[[str], None]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Run the real ingestor until the end of what is announced.

    Parameters
    ----------
    folder
        Of a running facility.
    tell
        Is given how far it is.

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
    lines: list[dict[str, Any]] = []
    with (
        log.open("wb") as errors,
        subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environ(),
            encoding="utf-8",
        ) as running,
    ):
        overdue = threading.Timer(_TIMEOUT, running.kill)
        overdue.start()
        for line in running.stdout or ():
            lines.append(json.loads(line))
            tell(f"{len(lines)} of {EXPECTED['announced']}")
        code = running.wait()
        late = not overdue.is_alive()
        overdue.cancel()
    if code != 0 or not lines:
        how = f"did not end within {_TIMEOUT:.0f} s" if late else f"ended with {code}"
        raise SandboxError(
            f"`{' '.join(command)}` {how}; the end of {log}:\n{log_end(log)}"
        )
    return lines[:-1], lines[-1]


def _announce(folder: Folder, bootstrap: str) -> None:
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


def _datasets(folder: Folder, endpoints: dict[str, str]) -> list[dict[str, str]]:
    """Return what the catalogue holds, read with python-icat."""
    from icat.query import Query

    client = connect(endpoints["icat"], "simple", "dataingest", folder)
    includes = ["investigation", "type", "sample", "datafiles", "parameters.type"]
    query = Query(
        client,
        "Dataset",
        order=["investigation.name", "investigation.visitId", "name"],
        includes=includes,
    )
    found = [
        {
            "investigation": f"{each.investigation.name}/{each.investigation.visitId}",
            "dataset": each.name,
            "start": f"{each.startDate:%Y-%m-%d %H:%M}" if each.startDate else "",
            "sample": each.sample.name if each.sample else "",
            "parameters": _parameters(each.parameters),
            "file": ", ".join(f.name for f in each.datafiles),
            "bytes": str(sum(f.fileSize for f in each.datafiles)),
            "type": each.type.name,
        }
        for each in client.search(query)
    ]
    client.logout()
    return found


def _parameters(parameters: Sequence[Any]) -> str:
    shown = []
    for parameter in sorted(parameters, key=lambda p: str(p.type.name)):
        value = parameter.numericValue
        if value is None:
            value = parameter.stringValue or parameter.dateTimeValue
        text = f"{value:g}" if isinstance(value, float) else str(value)
        units = parameter.type.units or ""
        shown.append(f"{parameter.type.name} {text} {units.removeprefix('N/A')}")
    rest = "" if len(shown) <= _SHOWN else f", {len(shown) - _SHOWN} more"
    return ", ".join(text.strip() for text in shown[:_SHOWN]) + rest


def _print_catalogue(console: Console, datasets: list[dict[str, str]]) -> None:
    """Print some rows, and of the columns the first that fit."""
    rows = datasets[:: max(1, len(datasets) // _ROWS)][:_ROWS]
    table = Table(box=None, pad_edge=False, header_style="bold")
    left = console.width
    for name in rows[0] if rows else ():
        # Columns stand two apart.
        left -= max(len(name), *(cell_len(row[name]) for row in rows)) + 2
        if left < -2:
            break
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*list(row.values())[: len(table.columns)])
    console.print(f"\n{len(datasets)} datasets are in the catalogue:", style="green")
    console.print(table)
    if len(datasets) > _ROWS:
        console.print(f"and {len(datasets) - _ROWS} more", style="dim")


def _print_rest(
    console: Console, records: Sequence[dict[str, Any]], folder: Folder
) -> None:
    """Print what did not go in, by the last word on each record."""
    last = {json.dumps(r["origin"], sort_keys=True): r for r in records}
    rest = [r for r in last.values() if r["outcome"] not in ("ingested", "unchanged")]
    console.print(f"\n{len(rest)} records are not, each for a reason:", style="yellow")
    for record in rest:
        at = record["origin"]
        where = f"{at['topic']}[{at['partition']}]@{at['offset']}"
        reason = record["reason"].replace(f"{folder.path}/", "")
        console.print(
            Text.assemble((f"{record['outcome']:8}", "bold"), f"  {where}\n  {reason}")
        )


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
            f"\nThe data service delivers {file.name}: {len(content)} bytes,"
            f" {same} on disk"
        )
    client.logout()
