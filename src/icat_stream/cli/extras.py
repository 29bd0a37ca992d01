"""What some commands need beyond the plain installation."""

import json
import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from itertools import takewhile

from icat_stream.records import ExitCode

from .exits import leave

_NAME = "icat-stream"
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


def require_extra(extra: str, command: str) -> None:
    """Leave with one line that says what to install, unless all of it is there.

    Parameters
    ----------
    extra
        One of ``project.optional-dependencies``.
    command
        What needs it, as it was typed.
    """
    own = distribution(_NAME)
    missing = [name for name in _names(own, extra) if not _is_installed(name)]
    if missing:
        leave(
            ExitCode.USAGE,
            f"{command} needs the extra {extra} ({', '.join(missing)} missing):"
            f" pip install '{_NAME}[{extra}]{_origin(own)}'",
        )


def _names(own: Distribution, extra: str) -> list[str]:
    wanted = []
    for requirement in own.requires or ():
        package, _, condition = requirement.partition(";")
        match = _EXTRA.search(condition)
        if match is not None and match[1] == extra:
            name = "".join(takewhile(lambda c: c.isalnum() or c in "-_.", package))
            wanted.append(name)
    return wanted


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _origin(own: Distribution) -> str:
    """Return where pip had icat-stream from, if that was no index (PEP 610)."""
    text = own.read_text("direct_url.json")
    if text is None:
        return ""
    found = json.loads(text)
    scheme = found.get("vcs_info", {}).get("vcs")
    return f" @ {scheme}+{found['url']}" if scheme else f" @ {found['url']}"
