"""Where an exception that nobody foresaw comes from, and whose it is to mend."""

import re
import sys
import traceback
from importlib.metadata import packages_distributions, requires
from pathlib import Path

_OURS = "icat_stream"


def bug_reason(error: BaseException) -> str:
    """Return what was raised, the file and line, and whose bug it is.

    Of the lines that the exception went through, the last one counts that is neither
    Python's own nor of a library that icat-stream requires: a handler of a facility's
    own may call libraries, and is called by us.
    """
    text = f"{type(error).__name__}: {error}"
    libraries: set[str] | None = None
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        name = frame.f_code.co_qualname
        file = frame.f_code.co_filename
        if module == _OURS:
            inner = file.rpartition(f"/{_OURS}/")[2]
            return f"{text} ({_OURS}/{inner}:{line} in {name}: a bug of icat-stream)"
        if module in sys.stdlib_module_names or file.startswith("<"):
            continue
        if libraries is None:
            libraries = _libraries()
        if module not in libraries:
            whose = f"a bug of {Path(file).name}, not of icat-stream"
            return f"{text} ({file}:{line} in {name}: {whose})"
    return text


def _libraries() -> set[str]:
    """Return the top-level modules of what icat-stream requires."""
    wanted = {
        re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")
        for requirement in requires("icat-stream") or ()
    }
    return {
        module
        for module, names in packages_distributions().items()
        if wanted & {name.lower().replace("_", "-") for name in names}
    } | {"numpy", "suds", "pydantic_core"}
