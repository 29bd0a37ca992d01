"""What reasons have in common, whatever file, time or number they are about."""

import re

# In this order: a quoted text may hold a path, a path numbers.
_OWN = (
    (re.compile(r"""b?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""), "'…'"),
    (re.compile(r"(?<![\w.])/[^\s:,;()]+"), "/…"),
    (re.compile(r"[\w.-]+\.(?:nxs|h5|hdf5?|nx5)\b"), "…"),
    (re.compile(r"[\w.-]*\d[\w.-]*"), "…"),
    (re.compile(r"…(?:[ ,]*…)+"), "…"),
)


def reason_kind(reason: str) -> str:
    """Return a reason without what is only this record's: paths, values, numbers."""
    for pattern, put in _OWN:
        reason = pattern.sub(put, reason)
    return reason
