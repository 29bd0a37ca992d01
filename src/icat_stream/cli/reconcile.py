"""``icat_stream reconcile``: disk, catalogue and journal side by side."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .ingestor import ConfigOption
from .search_options import utc_moment
from .terminal import Output

if TYPE_CHECKING:
    from icat_stream.app import Pipeline
    from icat_stream.repair import Wanted

_SAY_EVERY_S = 10.0


def reconcile(
    config: ConfigOption,
    investigation: Annotated[
        str | None,
        typer.Option("--investigation", metavar="NAME[/VISIT]", help="Only this one."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Only below it.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only what changed from then on: 2026-11-21, 2026-11-21T08:30 (UTC),"
            " or 12h for so long ago.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Only what changed before."),
    ] = None,
    suffix: Annotated[
        list[str] | None,
        typer.Option("--suffix", metavar=".nxs", help="Only such files; repeatable."),
    ] = None,
    ingest: Annotated[
        bool,
        typer.Option("--ingest", help="Announce files without an entry again."),
    ] = False,
    consumer: Annotated[
        str | None,
        typer.Option("--consumer", metavar="NAME", help="To which one; with --ingest."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    output: Annotated[Output, typer.Option("--output")] = Output.TEXT,
) -> None:
    """Compare files, catalogue and journal.

    Finds files without an entry, entries without a file, and what else differs.

    Sizes and times are compared, incomplete datasets listed, and announcements in the
    journal that did not become a dataset.  The dashboard shows what was found.

    With --ingest, files without an entry go to the consumer's own retry topic, and the
    running daemon takes them in.

    Exit codes: 0 nothing was found, or all of it was announced again; 2 bad usage or
    configuration; 3 something differs; 4, 5 a system does not answer.
    """
    import tempfile

    from icat_stream.app import Pipeline, only_consumer
    from icat_stream.cli.exits import exit_codes
    from icat_stream.config import load
    from icat_stream.records import ExitCode
    from icat_stream.repair import Wanted, announce

    if ingest and not yes and not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked: give --yes")
    name, _, visit = (investigation or "").rpartition("/")
    wanted = Wanted(
        investigation=name or visit or None,
        visit=visit if name else None,
        folder=None if folder is None else folder.absolute(),
        since=_utc(since),
        until=_utc(until),
        suffixes=tuple(suffix or ()),
    )
    with exit_codes(), tempfile.TemporaryDirectory(prefix="icat-stream-") as scratch:
        settings = load(config)
        with Pipeline(settings, dry_run=True) as pipeline:
            named = None
            if ingest:
                (named,) = pipeline.consumers([consumer or only_consumer(settings)])
            pipeline.open()
            missing = Path(scratch, "missing")
            counts = _compare(settings, pipeline, wanted, missing, output)
            left = counts.total()
            sys.stderr.write(_summary(counts))
            if named is not None and counts["no_entry"]:
                question = f"announce {counts['no_entry']} files again to {named.name}?"
                if yes or typer.confirm(question, err=True):
                    left -= announce(settings, named, _lines(missing))
                    sys.stderr.write(f"announced to {named.name}\n")
    if left:
        raise SystemExit(int(ExitCode.REJECTED))


def _compare(
    settings: Any, pipeline: "Pipeline", wanted: "Wanted", missing: Path, output: Output
) -> Counter[str]:
    """Print all findings; write the paths of files without an entry to a file."""
    from icat_stream.records import printable
    from icat_stream.repair import KeptFindings, Reconciliation

    with (
        _progress() as progress,
        missing.open("w") as spool,
        KeptFindings(settings.journal, pipeline.journal, wanted) as kept,
    ):
        work = Reconciliation(
            settings,
            wanted,
            session=pipeline.catalogue.new_session(),
            files=pipeline.files,
            ids=pipeline.ids,
            journal=pipeline.journal,
            folder=missing.parent,
            progress=progress,
        )
        try:
            for finding in work.findings():
                kept.add(finding)
                if finding.kind == "no_entry":
                    spool.write(json.dumps(finding.what) + "\n")
                if output is Output.JSON:
                    sys.stdout.write(json.dumps(asdict(finding)) + "\n")
                else:
                    sys.stdout.write(
                        printable(f"{finding.kind:10} {finding.what}: {finding.text}")
                        + "\n"
                    )
        finally:
            work.close()
    sys.stdout.flush()
    return kept.counts


def _lines(spool: Path) -> Iterator[str]:
    with spool.open() as lines:
        for line in lines:
            yield json.loads(line)


def _summary(counts: Counter[str]) -> str:
    """Return how many there are of each kind, and what to do about them."""
    from icat_stream.repair import FINDING_KINDS

    if not counts:
        return "all is as it should be\n"
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    advice = (f"{kind}: {FINDING_KINDS[kind].what_to_do}" for kind in sorted(counts))
    return "\n".join([listed, *advice, ""])


def _utc(text: str | None) -> datetime | None:
    return None if text is None else utc_moment(text)


@contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    """Show how far it is: a bar on a terminal, now and then a line elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:10} {task.completed:>10,.0f}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            tasks: dict[str, Any] = {}

            def show(what: str, count: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=None)
                bar.update(tasks[what], completed=count)

            yield show
        return
    said = time.monotonic()

    def say(what: str, count: int) -> None:
        nonlocal said
        if time.monotonic() - said > _SAY_EVERY_S:
            said = time.monotonic()
            sys.stderr.write(f"{what}: {count:,}\n")

    yield say
