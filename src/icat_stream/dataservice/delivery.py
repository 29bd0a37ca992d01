"""Files on their way to a caller: one as it is, several as a zip, never in memory."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote
from zipfile import ZIP_DEFLATED, ZIP_STORED

from zipstream import ZipStream

from .catalogue import CataloguedFile
from .errors import IdsError, Internal, NotFound
from .plugins import DatasetInfo, MainStorage, StoredFile, ZipMapper


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
    skip: int,
) -> Iterator[bytes]:
    """Return a zip of catalogued files, piece by piece.

    Parameters
    ----------
    storage
        Where they are.
    zips
        Names the entries.
    files
        Which.
    datasets
        Theirs, by id.
    compress
        Deflate them.
    skip
        Bytes of the zip to leave out at its beginning.

    Raises
    ------
    IdsError
        Before the first piece: not all can be delivered.
    """
    archive = ZipStream(compress_type=ZIP_DEFLATED if compress else ZIP_STORED)
    for file in files:
        try:
            size = storage.size(location_of(file))
        except (OSError, IdsError) as error:
            raise explained(file, error) from None
        name = zips.entry_name(datasets[file.dataset_id], file.name)
        archive.add(_content(storage, file), name, size=size)
    return _without(skip, archive)


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


def _without(skip: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if skip >= len(piece):
            skip -= len(piece)
            continue
        yield piece[skip:] if skip else piece
        skip = 0
