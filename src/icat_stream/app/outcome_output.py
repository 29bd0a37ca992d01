"""Outcomes and plans, as JSON for programs and as text for people."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from icat_stream.records import (
    Change,
    Datafile,
    Diff,
    Outcome,
    OutcomeKind,
    Plan,
    Record,
    json_line,
    printable,
)

# Of files, and of changes: a dataset may have tens of thousands.
_MOST_LINES = 50
_MARKS = {"new": "+", "changed": "~", "unchanged": " ", "extra": "?"}


def outcome_line(record: Record, outcome: Outcome) -> str:
    """Return one line of JSON: a record and what became of it."""
    origin = record.origin
    body = {
        "outcome": outcome.kind.value,
        "reason": outcome.reason,
        "origin": {
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
        },
        "error_class": outcome.error_class,
        "plan": None if outcome.plan is None else _plain(asdict(outcome.plan)),
        "diff": None if outcome.diff is None else _plain(asdict(outcome.diff)),
        "objects": _plain(outcome.objects),
        **({"documents": _plain(outcome.documents)} if outcome.documents else {}),
        "written": list(outcome.written),
        "steps": {name: round(value, 6) for name, value in outcome.steps.items()},
    }
    return json_line(body)


def outcome_text(record: Record, outcome: Outcome) -> str:
    """Return what a person wants to know of a record, one line and the plan."""
    line = f"{outcome.kind.value:9} {record.origin}"
    named = ", ".join(f"{k} {v}" for k, v in outcome.objects.items() if v is not None)
    if named:
        line += f"  {named}"
    if outcome.reason:
        line += f"  {outcome.reason}"
    lines = [line]
    if outcome.plan is not None:
        lines += ["  " + text for text in plan_text(outcome.plan, outcome.diff)]
    for document in outcome.documents:
        content = json.dumps(document["content"], indent=2, ensure_ascii=False)
        said = f"document {document['key']}: {content}"
        if document["content"] is None:
            said = f"document {document['key']} is not to be there"
        lines += ["  " + text for text in said.splitlines()]
    lines += [f"  wrote {text}" for text in outcome.written]
    # Much of it is what others wrote.
    return "\n".join(map(printable, lines))


def plan_text(plan: Plan, diff: Diff | None) -> list[str]:
    """Return a plan as lines for people, beside what the catalogue holds."""
    lines = [f"job {job.job_id}: sample {job.sample}" for job in plan.jobs]
    for user in plan.users:
        lines.append(f"user {user.name}")
        lines += _facts(
            {
                "full name": user.full_name,
                "email": user.email,
                "orcid": user.orcid_id,
                "affiliation": user.affiliation,
                "groups": ", ".join(user.groups),
                "emptied": ", ".join(user.cleared),
            }
        )
    for investigation in plan.investigations:
        lines.append(f"investigation {investigation.key} ({investigation.type})")
        lines += _facts(
            {
                "title": investigation.title,
                "start": investigation.start,
                "end": investigation.end,
                "release": investigation.release,
                "instruments": ", ".join(investigation.instruments or ()),
                "samples": ", ".join(s.name for s in investigation.samples or ()),
                "keywords": ", ".join(investigation.keywords or ()),
                "facility cycles": ", ".join(investigation.cycles or ()),
                "emptied": ", ".join(investigation.cleared),
            }
        )
        lines += [f"  {m.role}: {m.user}" for m in investigation.members or ()]
        lines += [
            f"  shift {_shown(s.start)} to {_shown(s.end)}"
            for s in investigation.shifts or ()
        ]
        lines += [
            f"  parameter {p.name} = {_shown(p.value)} {p.units}".rstrip()
            for p in investigation.parameters or ()
        ]
    for made in plan.derivations:
        inputs = ", ".join(f"{key}/{name}" for key, name in made.inputs)
        lines.append(f"job of {made.key} ({made.application} {made.version})")
        lines += _facts({"inputs": inputs})
    for stub in plan.stubs:
        lines.append(f"stub of investigation {stub.key} ({stub.type})")
        lines += _facts(
            {
                "title": stub.title,
                "start": stub.start,
                "instruments": ", ".join(stub.instruments or ()),
            }
        )
    for dataset in plan.datasets:
        lines.append(f"dataset {dataset.key} ({dataset.type})")
        lines += _facts(
            {
                "description": dataset.description,
                "start": dataset.start,
                "end": dataset.end,
                "sample": None if dataset.sample is None else dataset.sample.name,
                "instruments": ", ".join(dataset.instruments),
                "techniques": ", ".join(t.name for t in dataset.techniques),
                "complete": dataset.complete,
            }
        )
        if dataset.sample is not None:
            lines += [
                f"  sample parameter {p.name} = {_shown(p.value)} {p.units}".rstrip()
                for p in dataset.sample.parameters
            ]
        lines += [
            f"  parameter {p.name} = {_shown(p.value)} {p.units}".rstrip()
            for p in dataset.parameters
        ]
        lines += _first(
            [
                f"  file {f.name} ({_size(f)}) at {f.location or 'the data service'}"
                for f in dataset.datafiles
            ]
        )
    lines += [f"kept beside the data: {file.path}" for file in plan.keep]
    lines += [f"note: {note}" for note in plan.notes]
    if diff is not None:
        counts = Counter(change.kind for change in diff.changes)
        lines.append(
            "against the catalogue: "
            + (", ".join(f"{n} {kind}" for kind, n in counts.items()) or "nothing")
        )
        lines += _first([_change(c) for c in diff.changes if c.kind != "unchanged"])
    return lines


def _change(change: Change) -> str:
    text = f"  {_MARKS.get(change.kind, ' ')} {change.kind} {change.what}"
    if change.field is not None:
        text += f" {change.field}: {_shown(change.found)} -> {_shown(change.planned)}"
    return text


def _size(file: Datafile) -> str:
    return "size not known" if file.size is None else f"{file.size} bytes"


def _first(lines: list[str]) -> list[str]:
    """Return as many lines as a person reads; the JSON output has all."""
    more = len(lines) - _MOST_LINES
    return lines if more <= 1 else [*lines[:_MOST_LINES], f"  … and {more} more"]


def _facts(facts: Mapping[str, object]) -> list[str]:
    return [
        f"  {name}: {_shown(value)}"
        for name, value in facts.items()
        if value not in (None, "")
    ]


def _shown(value: object) -> str:
    """Return a value for people: times as ISO, and a word for what is not there."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return "nothing" if value is None else str(value)


def summary_line(counts: Mapping[OutcomeKind, int]) -> str:
    """Return the last line of a run: how many records became what."""
    body = {"announced": sum(counts.values())}
    body |= {kind.value: counts.get(kind, 0) for kind in OutcomeKind}
    return json.dumps(body)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value
