"""A consumer whose records say what shall happen to them.

A record's value is JSON: ``{"id": …, "key": …, "do": [step, …]}``.  Each time it is
handled the next step is taken, the last one again and again; how far it is, is kept
on disk, so that it goes on in another process.  Files in a folder are the switches:
``down`` (the catalogue is unavailable), ``refused``, ``have-<name>`` (exists),
``slow`` (seconds).
"""

import json
import random
import threading
import time
from base64 import b64encode
from collections.abc import Collection
from pathlib import Path

from icat_stream.records import (
    DependencyMissing,
    Event,
    LoginRefused,
    NotReady,
    Outcome,
    OutcomeKind,
    Record,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)


class Scripted:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def key(self, record: Record) -> str:
        return str(json.loads(record.value or b"{}")["key"])

    def handle(self, record: Record) -> Outcome:
        try:
            message = json.loads(record.value or b"")
        except ValueError as error:
            raise Rejection(f"no JSON: {error}") from None
        name = str(message["id"])
        self._note("calls", f"{message['key']} {name}")
        if (self._folder / "refused").exists():
            raise LoginRefused("the password is wrong", system="icat")
        if (self._folder / "down").exists():
            raise SystemUnavailable("connection refused", system="icat")
        if (self._folder / "slow").exists():
            time.sleep(float((self._folder / "slow").read_text() or 0))
        outcome = self._step(self._next(name, message.get("do", ["ok"])), name, message)
        self._note("done", f"{message['key']} {name}")
        return outcome

    def present(self, missing: Collection[str]) -> Collection[str]:
        return [name for name in missing if (self._folder / f"have-{name}").exists()]

    def probe(self, system: str) -> None:
        if (self._folder / "down").exists():
            raise SystemUnavailable("connection refused", system=system)

    def leave_lane(self) -> None:
        self._note("left", threading.current_thread().name)

    def _step(self, step: str, name: str, message: dict[str, object]) -> Outcome:
        verb, _, argument = step.partition(":")
        match verb:
            case "ok":
                size = int(argument or 0)
                # Of the same size for a broker that is sent it compressed.
                pad = random.Random(name).randbytes(size * 3 // 4)
                body = {"id": name, "pad": b64encode(pad).decode()}
                value = json.dumps(body).encode()
                return Outcome(
                    kind=OutcomeKind.INGESTED,
                    events=(Event(key=str(message["key"]), value=value),),
                    objects={"dataset": name},
                )
            case "ignore":
                return Outcome(kind=OutcomeKind.IGNORED, reason="not for us")
            case "reject":
                raise Rejection(f"{name} is wrong")
            case "transient":
                raise TransientFailure(f"{name} did not work")
            case "need":
                if not (self._folder / f"have-{argument}").exists():
                    raise DependencyMissing(f"{argument} is missing", [argument])
                return self._step("ok", name, message)
            case "settle":
                raise NotReady(
                    f"{name} is open", retry_in=0.05, deadline=float(argument)
                )
            case "gateway":
                raise SystemUnavailable("HTTP 504 instead of an answer", system="icat")
            case "full":
                raise SystemUnavailable("no space", system="ids", probe_tells=False)
            case "bug":
                raise ZeroDivisionError(f"a mistake of ours with {name}")
        raise AssertionError(f"no such step: {step}")

    def _next(self, name: str, steps: list[str]) -> str:
        file = self._folder / f"step-{name}"
        taken = int(file.read_text() or 0) if file.exists() else 0
        if len(steps) > 1:
            file.write_text(str(taken + 1))
        return steps[min(taken, len(steps) - 1)]

    def _note(self, file: str, line: str) -> None:
        with self._lock, (self._folder / file).open("a") as stream:
            stream.write(line + "\n")


class Secret(Scripted):
    """The same, with secrets in it."""

    def redact(self, record: Record) -> bytes | None:
        try:
            message = json.loads(record.value or b"")
        except ValueError:
            return None
        message.pop("token", None)
        return json.dumps(message).encode()
