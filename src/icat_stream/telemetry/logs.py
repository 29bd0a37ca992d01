"""Log lines that say which record and which trace they belong to."""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from opentelemetry import trace

from icat_stream.records import json_line, printable

current_record: ContextVar[object] = ContextVar("current_record", default="-")
"""Coordinates of the record that this thread handles; as text only when logged."""

_FORMAT = "%(asctime)s %(levelname)-7s %(record)s trace=%(trace)s %(name)s: %(message)s"
_BRIEF = "%(asctime)s %(levelname)-9s %(message)s"


def _time(record: logging.LogRecord, timespec: str) -> str:
    time = datetime.fromtimestamp(record.created, UTC)
    return time.isoformat(timespec=timespec).replace("+00:00", "Z")


class _Context(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.record = str(current_record.get())
        context = trace.get_current_span().get_span_context()
        record.trace = format(context.trace_id, "032x") if context.is_valid else "-"
        return True


class _WithoutOutcomes(logging.Filter):
    """Leave out what is said of single records: a person is shown their outcomes."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING or str(current_record.get()) == "-"


class _Text(logging.Formatter):
    timespec = "milliseconds"

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return _time(record, self.timespec)

    def formatMessage(self, record: logging.LogRecord) -> str:
        # Names that others chose are in it: none shall move a terminal's cursor.
        record.message = printable(record.message)
        return super().formatMessage(record)


class _Brief(_Text):
    timespec = "seconds"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record, "microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "record": getattr(record, "record", "-"),
            "trace_id": getattr(record, "trace", "-"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json_line(line)


def configure_logging(
    level: str, file: Path | None, *, as_json: bool = False, brief: bool = False
) -> None:
    """Send the program's logs to a file, or to standard error.

    Parameters
    ----------
    level
        ``debug``, ``info``, ``warning`` or ``error``.
    file
        Appended to; its folder must exist.
    as_json
        One object a line.
    brief
        For a terminal that shows the outcomes: neither traces nor loggers, and nothing
        of single records but errors.  A file has it all.

    Raises
    ------
    OSError
        The file cannot be opened.
    """
    handler: logging.Handler = (
        logging.StreamHandler(sys.stderr)
        if file is None
        else logging.FileHandler(file, encoding="utf-8")
    )
    if as_json:
        handler.setFormatter(_Json())
    elif brief and file is None:
        handler.setFormatter(_Brief(_BRIEF))
        handler.addFilter(_WithoutOutcomes())
    else:
        handler.setFormatter(_Text(_FORMAT))
    handler.addFilter(_Context())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    # The libraries' own debugging (suds prints whole envelopes, passwords included)
    # is never wanted here.
    root.setLevel(max(logging.WARNING, getattr(logging, level.upper())))
    logging.getLogger("icat_stream").setLevel(level.upper())
