"""How much of a file is read at most."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one look at one file may cost.

    The defaults are far above what a catalogue takes (ICAT's longest string has
    4,000 characters) and far below what hurts.

    Parameters
    ----------
    string_bytes
        Of one string.
    array_bytes
        Of one array, its numbers of eight bytes each.
    members
        Of all groups whose names have to be listed.
    values
        Found by one request, wildcards expanded.
    total_bytes
        Of all values of one request.
    chunk_bytes
        Of one chunk of a dataset, which HDF5 unpacks as a whole.
    soft_links
        Followed for one path.
    sources
        Pieces of one virtual dataset.
    other_files
        Opened besides, where links may be followed.
    memory
        Address space of a reading process above what it has when it is ready.
    """

    string_bytes: int = 64 * 1024
    array_bytes: int = 4 * 1024**2
    members: int = 100_000
    values: int = 10_000
    total_bytes: int = 16 * 1024**2
    chunk_bytes: int = 64 * 1024**2
    soft_links: int = 16
    sources: int = 10_000
    other_files: int = 64
    memory: int = 2 * 1024**3
