"""Files on their way to a caller: one as it is, several as a zip, never in memory."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

from .catalogue import CataloguedFile
from .errors import IdsError, Internal, NotFound
from .plugins import DatasetInfo, MainStorage, StoredFile, ZipMapper
from .zips import Entry, Zip, distinct


def open_one(storage: MainStorage, file: CataloguedFile) -> StoredFile:
    """Open a catalogued file.

    Raises
    ------
    IdsError
        It is not in the storage, or its location leads out of it.
    """
    try:
        return storage.open(location_of(file))
    except (OSError, IdsError) as error:
        raise explained(file, error) from None


def zipped(
    storage: MainStorage,
    zips: ZipMapper,
    files: Sequence[CataloguedFile],
    datasets: Mapping[int, DatasetInfo],
    *,
    compress: bool,
) -> Zip:
    """Return a zip of catalogued files.

    Raises
    ------
    IdsError
        Not all can be delivered.
    """
    # The same zip for the same files, however they were chosen and found.
    files = sorted(files, key=lambda file: file.id)
    names = [zips.entry_name(datasets[file.dataset_id], file.name) for file in files]
    entries = []
    for file, name in zip(files, distinct(names), strict=True):
        try:
            size = storage.size(location_of(file))
        except (OSError, IdsError) as error:
            raise explained(file, error) from None
        content = partial(_content, storage, file)
        entries.append(Entry(name, size, content, _modified(file), _tag(file, size)))
    return Zip(entries, compress=compress)


def etag(file: CataloguedFile, size: int) -> str:
    """Return what tells a file from one with other content."""
    return f'"{hashlib.sha256(_tag(file, size).encode()).hexdigest()[:32]}"'


def location_of(file: CataloguedFile) -> str:
    """Return a file's location, which it need not have."""
    if not file.location:
        raise NotFound(f"Datafile {file.id}")
    return file.location


def disposition(name: str) -> str:
    """Return the Content-Disposition of a download."""
    name = name.rsplit("/", 1)[-1]
    plain = name.encode("ascii", "replace").decode()
    plain = "".join(c if c.isprintable() and c not in '"\\' else "_" for c in plain)
    value = f'attachment; filename="{plain}"'
    if plain != name:
        value += f"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    return value


def zip_name(outname: str | None) -> str:
    """Return the name of a zip: as wished, or the time."""
    if outname:
        return outname if outname.endswith(".zip") else f"{outname}.zip"
    return f"{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}.zip"


def explained(file: CataloguedFile, error: OSError | IdsError) -> IdsError:
    """Return an error that says which file it is about."""
    if isinstance(error, IdsError):
        return type(error)(f"Datafile[id:{file.id}]: {error.message}")
    return Internal(
        f"Datafile[id:{file.id}] is at {file.location!r} by the catalogue, but the"
        f" main storage cannot read it there: {error.strerror}"
    )


def _content(storage: MainStorage, file: CataloguedFile) -> Iterator[bytes]:
    # Opened when its turn comes: a zip may be of more files than a process may open.
    yield from storage.open(location_of(file)).blocks()


def without(skip: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Return pieces but for some bytes at their beginning.

    What is left out comes as empty pieces: to read up to there may take hours, and
    each piece is waited for by itself.
    """
    for piece in pieces:
        yield piece[skip:] if skip else piece
        skip = max(0, skip - len(piece))


def limited(size: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Return so many bytes of pieces, and close what they come from."""
    with closing(pieces):  # type: ignore[type-var]
        for piece in pieces:
            yield piece[:size]
            size -= len(piece)
            if size <= 0:
                return


def _tag(file: CataloguedFile, size: int) -> str:
    return repr((file.id, file.location, size, file.checksum))


def _modified(file: CataloguedFile) -> datetime | None:
    try:
        # As the catalogue shows it: a zip's times have no zone.
        return datetime.fromisoformat(file.modified or "").replace(tzinfo=None)
    except ValueError:
        return None
