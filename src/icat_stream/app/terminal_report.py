"""What a person at a terminal sees of the daemon."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from icat_stream import __version__
from icat_stream.config import Settings
from icat_stream.records import Outcome, OutcomeKind, Record, printable

_COLOURS = {
    OutcomeKind.INGESTED: "32",
    OutcomeKind.UNCHANGED: "32",
    OutcomeKind.DEFERRED: "33",
    OutcomeKind.REJECTED: "31",
}
_BOLD, _DIM = "1", "2"
# What a person knows a record by; the file only where it has no dataset.
_NAMES = ("investigation", "dataset", "user")


class TerminalReport:
    """Who the daemon is, a line a record, and totals, as text to be printed.

    Parameters
    ----------
    settings
        Of the daemon.
    names
        The consumers that run.
    """

    def __init__(self, settings: Settings, names: Sequence[str]) -> None:
        self._settings = settings
        self._names = names
        self._began = time.monotonic()
        self._coloured = "NO_COLOR" not in os.environ
        self._counts: Counter[OutcomeKind] = Counter()

    def greeting(self) -> str:
        """Return who this is and what it reads and writes."""
        settings = self._settings
        title = f"icat-stream {__version__}, facility {settings.facility}"
        lines = [self._styled(title, _BOLD) + ", until Ctrl-C"]
        icat = settings.icat
        lines.append(f"  Kafka {settings.kafka.bootstrap_servers}")
        lines.append(f"  ICAT  {icat.url} as {icat.auth}/{icat.username}")
        if settings.ids.url is not None:
            lines.append(f"  IDS   {settings.ids.url} ({settings.ids.mode})")
        for name in self._names:
            topics = ", ".join(settings.consumers[name].topics)
            group = f"{settings.kafka.group_id}.{name}"
            lines.append(f"  {name} reads {topics} as group {group}")
        return "\n".join([lines[0], *map(printable, lines[1:])])

    def outcome(self, record: Record, outcome: Outcome) -> str:
        """Return a line for a record, and one for the reason if there is one."""
        self._counts[outcome.kind] += 1
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = " ".join(str(a) for a in _about(outcome)) or str(record.origin)
        seconds = f" {sum(outcome.steps.values()):.1f} s" if outcome.steps else ""
        width = shutil.get_terminal_size().columns - len(now) - 11 - len(seconds)
        about = _cut(printable(about), max(10, width))
        kind = self._styled(f"{outcome.kind.value:9}", _COLOURS.get(outcome.kind, "0"))
        line = f"{self._styled(now, _DIM)} {kind} {about}{self._styled(seconds, _DIM)}"
        if not outcome.reason:
            return line
        reason = f"  {record.origin}: {outcome.reason}"
        return f"{line}\n{printable(reason)}"

    def totals(self) -> str:
        """Return how many records became what, and how fast."""
        seconds = time.monotonic() - self._began
        total = self._counts.total()
        rate = f", {total / seconds:.1f} a second" if total and seconds > 0 else ""
        kinds = ", ".join(f"{self._counts[k]} {k.value}" for k in self._counts)
        text = f"{total} records in {seconds:.0f} s{rate}"
        return self._styled(text, _BOLD) + (f": {kinds}" if kinds else "")

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._coloured else text


def _about(outcome: Outcome) -> Iterator[object]:
    objects = outcome.objects
    names = _NAMES if "dataset" in objects else (*_NAMES, "file")
    for name in names:
        if name in objects:
            yield objects[name]


def _cut(text: str, width: int) -> str:
    """Leave out the middle of a text that is too wide: both ends tell more."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
