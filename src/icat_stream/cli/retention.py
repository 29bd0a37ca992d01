"""``icat_stream retention``: what may leave the disk, who approves, and archiving."""

import csv
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command_line import CommandLine, configured
from .dead_letters import ConfigOption
from .search_options import utc_moment

if TYPE_CHECKING:
    from icat_stream.config import Settings
    from icat_stream.journal import Journal
    from icat_stream.repair import RetentionPlan

app = CommandLine(no_args_is_help=True)


PlanArgument = Annotated[
    Path, typer.Argument(metavar="PLAN", help="Made by report --plan.")
]


class ReportOutput(StrEnum):
    """How the report is printed."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


@app.callback()
def retention() -> None:
    """Report what may leave the disk; archive it, once approved.

    report --plan makes a plan, a second person approves it, archive carries it out.
    Nothing is ever deleted, and nothing is opened.
    """


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
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan", metavar="FILE", help="Write candidates there, to be approved."
        ),
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
        from icat_stream.repair import PlanWriter, RetentionReport, RetentionRules

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
        rows = _Rows(output)
        with Pipeline(settings, dry_run=True) as pipeline, ExitStack() as stack:
            pipeline.open()
            planned = None
            if plan is not None:
                # Never over another one, which may be approved.
                file = stack.enter_context(plan.open("x", encoding="utf-8"))
                planned = PlanWriter(file, settings.facility, rules, now)
            session = pipeline.catalogue.session()
            client = pipeline.ids.client(session)
            levels = client if client is not None and pipeline.ids.two_level() else None
            try:
                found = RetentionReport(session.inventory(), levels, rules, now)
                for row in found.rows(scope):
                    datasets += 1
                    if not row.reasons:
                        candidates, size = candidates + 1, size + row.size
                        if planned is not None:
                            planned.add(row)
                    why = "; ".join(row.reasons) or "may leave the disk"
                    name = f"{row.dataset.investigation}/{row.dataset.name}"
                    rows.add(row.values, f"{name}: {row.size} bytes: {why}")
                digest = None if planned is None else planned.end()
            finally:
                pipeline.catalogue.leave()
        typer.echo(
            f"{candidates} of {datasets} datasets may leave the disk, {size} bytes",
            err=True,
        )
        if digest is not None:
            typer.echo(f"plan {digest[:12]} is in {plan}: to be approved", err=True)


@app.command()
def approve(
    config: ConfigOption,
    plan: PlanArgument,
    username: Annotated[
        str,
        typer.Option("--user", metavar="NAME", help="Yours, as you log in to ICAT."),
    ],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="For the audit.")
    ],
    authenticator: Annotated[
        str | None,
        typer.Option(
            "--auth", metavar="MNEMONIC", help="By default that of icat.auth."
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", metavar="FILE", help="Else you are asked."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Approve a plan, as a member of retention.approvers.

    You log in to ICAT; who carries plans out (icat.username) cannot approve. The
    approval is of this very file: a plan that is changed needs another one.

    Exit codes: 0; 2 bad usage, configuration or plan; 3 you may not approve; 5 ICAT or
    the journal is unavailable, or refuses the login.
    """
    if (password_file is None or not yes) and not sys.stdin.isatty():
        raise typer.BadParameter(
            "nobody is there to be asked: give --password-file and --yes"
        )
    with configured(config) as settings:
        from icat_stream.journal import reading
        from icat_stream.repair import Approvals

        found = _plan(plan, settings)
        _show(found)
        if password_file is None:
            password = typer.prompt(
                f"Password of {username}", hide_input=True, err=True
            )
        else:
            password = password_file.read_text("utf-8").strip()
        with reading(settings.journal) as journal:
            approvals = Approvals(settings, journal.retention)
            user = approvals.approver(
                authenticator or settings.icat.auth, username, password
            )
            if not yes:
                typer.confirm(f"Approve it as {user}?", abort=True, err=True)
            act = journal.audit.begin(
                user=user,
                action="approve",
                subject=f"retention plan {found.sha256}",
                records=found.datasets,
                reason=reason,
            )
            first = approvals.add(found, user, reason)
            journal.audit.end(act, f"approved by {first.by}")
        typer.echo(f"plan {found.sha256[:12]} is approved by {first.by}")


@app.command()
def archive(
    config: ConfigOption,
    plan: PlanArgument,
    batch: Annotated[
        int,
        typer.Option(
            "--batch", min=1, max=200, metavar="N", help="Datasets at a time."
        ),
    ] = 20,
    patience: Annotated[
        float,
        typer.Option("--patience", min=0, metavar="SECONDS", help="For each batch."),
    ] = 3600.0,
    output: Annotated[ReportOutput, typer.Option("--output")] = ReportOutput.TEXT,
) -> None:
    """Move the datasets of an approved plan to the archive.

    In batches, each when the one before is in the archive; stopped, it goes on where it
    was. What changed since the plan was made, or has a reason to stay by now, is
    skipped with that reason.

    Exit codes: 0 all of the plan is archived or skipped; 2 bad usage, configuration or
    plan; 3 it is not approved; 4 some datasets did not reach the archive in time: run
    it again; 5 a system is unavailable.
    """
    with configured(config) as settings, ExitStack() as stack:
        from icat_stream.app import Pipeline
        from icat_stream.journal import StepState, reading
        from icat_stream.records import ExitCode, Rejection
        from icat_stream.repair import Approvals, Archiver

        found = _plan(plan, settings)
        _show(found)
        journal = stack.enter_context(reading(settings.journal))
        approval = Approvals(settings, journal.retention).of(found)
        typer.echo(f"approved by {approval.by}: {approval.reason}", err=True)
        pipeline = stack.enter_context(Pipeline(settings, dry_run=True))
        pipeline.open()
        session = pipeline.catalogue.session()
        stack.callback(pipeline.catalogue.leave)
        client = pipeline.ids.client(session)
        if client is None or not pipeline.ids.two_level():
            raise Rejection("there is no data service with an archive (ids.url)")
        act = _begin(journal, settings, found, approval.by, approval.reason)
        archiver = Archiver(
            found,
            journal.retention,
            session.inventory(),
            client,
            batch=batch,
            patience=patience,
        )
        late = 0
        rows = _Rows(output)
        for each, step in archiver.steps():
            late += step.state is StepState.ASKED
            values = {
                "dataset_id": each.id,
                "name": each.name,
                "state": step.state.value,
                "bytes": each.size,
                "reason": step.reason,
            }
            why = f": {step.reason}" if step.reason else ""
            rows.add(values, f"{step.state.value} {each.name}{why}")
        counts = journal.retention.counts(found.sha256)
        told = ", ".join(f"{n} {state.value}" for state, n in sorted(counts.items()))
        told = f"{told or 'nothing'} of {found.datasets} datasets"
        journal.audit.end(act, told)
        typer.echo(told, err=True)
    if late:
        raise SystemExit(int(ExitCode.DEFERRED))


class _Rows:
    """Prints rows as they come."""

    def __init__(self, output: ReportOutput) -> None:
        self._output = output
        self._csv: csv.DictWriter[str] | None = None

    def add(self, values: Mapping[str, Any], text: str) -> None:
        """Print a row: its values for programs, or a text for people."""
        from icat_stream.records import json_line, printable

        if self._output is ReportOutput.JSON:
            typer.echo(json_line(values))
        elif self._output is ReportOutput.CSV:
            if self._csv is None:
                self._csv = csv.DictWriter(sys.stdout, list(values))
                self._csv.writeheader()
            self._csv.writerow(
                {
                    name: "; ".join(value) if isinstance(value, list) else value
                    for name, value in values.items()
                }
            )
        else:
            typer.echo(printable(text))


def _begin(
    journal: "Journal",
    settings: "Settings",
    plan: "RetentionPlan",
    approved_by: str,
    reason: str,
) -> int:
    return journal.audit.begin(
        user=f"{settings.icat.auth}/{settings.icat.username}",
        action="archive",
        subject=f"retention plan {plan.sha256}",
        records=plan.datasets,
        reason=f"approved by {approved_by}: {reason}",
    )


def _plan(file: Path, settings: "Settings") -> "RetentionPlan":
    from icat_stream.config import ConfigError, Problem
    from icat_stream.repair import RetentionPlan

    plan = RetentionPlan(file)
    if plan.facility != settings.facility:
        problem = Problem(
            source=str(file),
            field="facility",
            found=plan.facility,
            expected=f"a plan of {settings.facility}",
        )
        raise ConfigError([problem])
    return plan


def _show(plan: "RetentionPlan") -> None:
    typer.echo(
        f"plan {plan.sha256[:12]} of {plan.made:%Y-%m-%d %H:%M %z}: {plan.datasets}"
        f" datasets, {plan.size} bytes",
        err=True,
    )


def _ago(text: str, now: datetime) -> timedelta:
    return now - utc_moment(text)
