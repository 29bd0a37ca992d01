"""``icat_stream retention``: what may leave the disk, and what has to stay, and why."""

import csv
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from .command_line import CommandLine, configured
from .dead_letters import ConfigOption
from .search_options import utc_moment

app = CommandLine(no_args_is_help=True)


class ReportOutput(StrEnum):
    """How the report is printed."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


@app.callback()
def retention() -> None:
    """Report what may leave the disk; nothing is archived or deleted."""


@app.command()
def report(
    config: ConfigOption,
    ended: Annotated[str, typer.Option("--ended", metavar="AGO", help="Such as 365d.")],
    untouched: Annotated[
        str, typer.Option("--untouched", metavar="AGO", help="Without a change.")
    ] = "30d",
    used: Annotated[
        str, typer.Option("--used", metavar="AGO", help="No input of a Job of ICAT's.")
    ] = "365d",
    hold: Annotated[
        str | None,
        typer.Option("--hold", metavar="NAME", help="Parameter that keeps a dataset."),
    ] = None,
    investigation: Annotated[
        str | None,
        typer.Option("--investigation", metavar="NAME[/VISIT]", help="Only this one."),
    ] = None,
    output: Annotated[ReportOutput, typer.Option("--output")] = ReportOutput.TEXT,
) -> None:
    """List datasets of ended investigations, and why they stay.

    Those without a reason are candidates: complete, unchanged, registered with
    checksums, not on hold, not in use, on disk of a data service that has an archive.

    Exit codes: 0; 2 bad usage or configuration; 5 ICAT or the data service is
    unavailable.
    """
    now = datetime.now(UTC)
    first, _, visit = (investigation or "").rpartition("/")
    with configured(config) as settings:
        from icat_stream.app import Pipeline
        from icat_stream.catalogue import Scope
        from icat_stream.records import json_line, printable
        from icat_stream.repair import RetentionReport, RetentionRules

        rules = RetentionRules(
            ended=_ago(ended, now),
            untouched=_ago(untouched, now),
            used=_ago(used, now),
            hold=hold,
        )
        scope = Scope(
            investigation=first or visit or None, visit=visit if first else None
        )
        datasets = candidates = size = 0
        writer = None
        with Pipeline(settings, dry_run=True) as pipeline:
            pipeline.open()
            session = pipeline.catalogue.session()
            client = pipeline.ids.client(session)
            levels = client if client is not None and pipeline.ids.two_level() else None
            try:
                found = RetentionReport(session.inventory(), levels, rules, now)
                for row in found.rows(scope):
                    datasets += 1
                    if not row.reasons:
                        candidates, size = candidates + 1, size + row.size
                    values = row.values
                    if output is ReportOutput.JSON:
                        typer.echo(json_line(values))
                    elif output is ReportOutput.CSV:
                        if writer is None:
                            writer = csv.DictWriter(sys.stdout, list(values))
                            writer.writeheader()
                        writer.writerow(values | {"reasons": "; ".join(row.reasons)})
                    else:
                        why = "; ".join(row.reasons) or "may leave the disk"
                        name = f"{row.dataset.investigation}/{row.dataset.name}"
                        typer.echo(printable(f"{name}: {row.size} bytes: {why}"))
            finally:
                pipeline.catalogue.leave()
        typer.echo(
            f"{candidates} of {datasets} datasets may leave the disk, {size} bytes",
            err=True,
        )


def _ago(text: str, now: datetime) -> timedelta:
    return now - utc_moment(text)
