"""What ``icat_stream reconcile`` found, with what to do about it."""

import re
from collections.abc import Iterator
from typing import Any

from icat_stream.app import only_consumer
from icat_stream.config import ConfigError
from icat_stream.journal import KeptFinding, ReconciliationRun
from icat_stream.repair import FINDING_KINDS, MOST_OF_A_KIND

from .act_pages import Acting, act, preview
from .page import NotThere, Page, PageRequest, Unfit

_ROWS = 100
_ANNOUNCED = "no_entry"


def reconcile(asked: PageRequest) -> Page:
    """Return what one comparison found, one kind at a time: the last one's at first."""
    kept = asked.site.journal.reconciliations
    runs = kept.newest()
    run = _run(runs, asked.query("run", 18))
    kinds = [] if run is None else _kinds(run)
    kind = asked.query("kind", 40) or (kinds[0]["kind"] if kinds else "")
    if kind and kind not in FINDING_KINDS:
        raise Unfit(f"kind is one of {', '.join(FINDING_KINDS)}.")
    after = asked.query("after", 18)
    if after and not (after.isascii() and after.isdigit()):
        raise Unfit("after is the number of a finding.")
    found: list[KeptFinding] = []
    if run is not None and kind:
        place = int(after) if after else -1
        found = kept.findings(run.number, kind, after=place, limit=_ROWS + 1)
    values = {
        "runs": [_run_values(each) for each in runs],
        "run": None if run is None else _run_values(run),
        "kinds": kinds,
        "kind": kind,
        "findings": [_finding_values(each) for each in found[:_ROWS]],
        "after": found[_ROWS - 1].number if len(found) > _ROWS else None,
    }
    return Page(
        template="reconcile.html",
        title="Disk, catalogue and journal",
        values=values,
        table="findings",
    )


def announcement(asked: PageRequest) -> Page:
    """Announce again the files without an entry that one comparison found."""
    kept = asked.site.journal.reconciliations
    run = _run(kept.newest(), str(asked.number("number")))
    examples = [] if run is None else kept.findings(run.number, _ANNOUNCED, limit=3)
    if run is None or not examples:
        raise NotThere("This comparison found no file without an entry.")
    try:
        consumer = only_consumer(asked.site.settings)
    except ConfigError:
        raise Unfit(
            "Several consumers are configured, and only you know whose files these are:"
            " use `icat_stream reconcile --ingest --consumer NAME`."
        ) from None
    count = min(run.counts[_ANNOUNCED], MOST_OF_A_KIND)
    number = run.number

    def paths() -> Iterator[str]:
        after = -1
        while page := kept.findings(number, _ANNOUNCED, after=after, limit=_ROWS):
            yield from (each.what for each in page)
            after = page[-1].number

    subject = f"files of comparison {number} without an entry, to {consumer}"
    if asked.request.method == "GET":
        shown = [{"about": each.what, "reason": each.text} for each in examples]
        return preview(asked, "announce", subject, count, shown)

    def run_it(tool: Acting) -> None:
        tool.files(consumer, paths())

    return act(asked, "announce", subject, count, run_it)


def _run(runs: list[ReconciliationRun], number: str) -> ReconciliationRun | None:
    if not number:
        return runs[0] if runs else None
    found = next((each for each in runs if str(each.number) == number), None)
    if found is None:
        raise NotThere(f"Comparison {number} is not kept (any more).")
    return found


def _run_values(run: ReconciliationRun) -> dict[str, Any]:
    return {
        "number": run.number,
        "began": run.began_at,
        "ended": run.ended_at,
        "compared": run.compared,
        "counts": dict(run.counts),
        "found": sum(run.counts.values()),
    }


def _kinds(run: ReconciliationRun) -> list[dict[str, Any]]:
    return [
        {"kind": name, "count": run.counts[name], **kind._asdict()}
        for name, kind in FINDING_KINDS.items()
        if run.counts.get(name)
    ]


def _finding_values(finding: KeptFinding) -> dict[str, Any]:
    origin = finding.details.get("origin")
    dataset = finding.details.get("dataset_id")
    return {
        "kind": finding.kind,
        "number": finding.number,
        "what": finding.what,
        "text": finding.text,
        "message": origin if isinstance(origin, str) else None,
        "dataset_id": dataset if isinstance(dataset, int) else None,
        "file": re.split(r"[/\\]", finding.what)[-1]
        if "path" in finding.details
        else None,
    }
