"""The name of a dataset whose own is taken."""

from datetime import UTC

from icat_stream.records import Dataset, suffixed


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
    return suffixed(planned.name, "-", stable)
