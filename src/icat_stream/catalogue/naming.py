"""Names that follow from a planned dataset alone."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC

from icat_stream.records import Dataset

_NAME_LIMIT = 255


def new_name(planned: Dataset) -> str:
    """Return the name that a dataset gets where its own is taken by a different one.

    The suffix has to come out the same whenever the message comes again, or each
    time makes another dataset.  So it is made of what only the message decides: the
    investigation's name; the dataset's name, type, start and end; names and sizes of
    its datafiles.  Anything else may depend on configuration, on the time of reading
    or on what is in the catalogue by then: locations, checksums, times of files,
    sample, parameters, visit.
    """
    stable = [
        planned.investigation.name,
        planned.name,
        planned.type,
        *(
            None if time is None else time.astimezone(UTC).isoformat()
            for time in (planned.start, planned.end)
        ),
        sorted([f.name, -1 if f.size is None else f.size] for f in planned.datafiles),
    ]
    return _suffixed(planned.name, "-", stable)


def replacing_name(planned: Dataset) -> str:
    """Return the name under which a dataset is made that takes another one's place.

    A function of name and version alone: whoever tries again finds what is there, even
    if the files have changed meanwhile.
    """
    version = [str(p.value) for p in planned.parameters if p.name == planned.version]
    return _suffixed(planned.name, "~", version)


def _suffixed(name: str, mark: str, stable: Sequence[object]) -> str:
    suffix = mark + hashlib.sha256(json.dumps(stable).encode()).hexdigest()[:8]
    return name[: _NAME_LIMIT - len(suffix)] + suffix
