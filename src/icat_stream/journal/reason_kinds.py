"""What reasons have in common, whatever file, time or number they are about."""

import re
from functools import partial

# A quoted text may hold a path, a path numbers: in this order.  An instrument is no one
# record's, and no person; formats and statuses have numbers that are not the record's.
_OWN = (
    (re.compile(r"(\binstrument '[^']*')|b?'(?:[^'\\]|\\.)*'"), "'…'"),
    (re.compile(r'()b?"(?:[^"\\]|\\.)*"'), '"…"'),
    (re.compile(r"()(?<![\w.])/[^\s:,;()]+"), "/…"),
    (re.compile(r"()[\w.-]+\.(?:nxs|h5|hdf5?|nx5)\b"), "…"),
    (
        re.compile(
            r"(\b(?:HDF5|h5py|UTF-8|cp1252|SHA-?256|ISO 8601|HTTP \d{3})\b)"
            r"|[\w.-]*\d[\w.-]*"
        ),
        "…",
    ),
)


def reason_kind(reason: str) -> str:
    """Return a reason without what is only this record's: paths, values, numbers."""
    for pattern, put in _OWN:
        reason = pattern.sub(partial(_replaced, put), reason)
    return reason


def _replaced(put: str, found: re.Match[str]) -> str:
    return found[1] or put
