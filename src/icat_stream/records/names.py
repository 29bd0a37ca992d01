"""Names of datasets that are made beside others."""

import hashlib
import json
from collections.abc import Sequence

_NAME_LIMIT = 255


def replacing_name(name: str, version: object) -> str:
    """Return the name under which a dataset is made that takes another one's place.

    A function of name and version alone: whoever tries again finds what is there, even
    if the files have changed meanwhile, and so does whoever finds a higher version.
    """
    return suffixed(name, "~", [str(version)])


def suffixed(name: str, mark: str, stable: Sequence[object]) -> str:
    """Return a name with a mark and a hash, short enough for a catalogue.

    Parameters
    ----------
    name
        To begin with.
    mark
        Before the hash.
    stable
        What is hashed: as JSON has it.
    """
    suffix = mark + hashlib.sha256(json.dumps(stable).encode()).hexdigest()[:8]
    return name[: _NAME_LIMIT - len(suffix)] + suffix
