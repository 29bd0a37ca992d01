"""What the calls do, once their parameters are understood; knows nothing of HTTP."""

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from functools import partial
from typing import Any

from icat_stream.telemetry import fault_point

from . import delivery
from .catalogue import Catalogue, CataloguedFile, NewFile, Session
from .errors import (
    IdsError,
    InsufficientPrivileges,
    Internal,
    NotFound,
    NotImplementedHere,
    Unanswered,
)
from .levels import Levels, Selected
from .links import Links
from .locks import Lease
from .parameters import Selection
from .plugins import DatasetInfo, MainStorage, Upload, ZipMapper
from .puts import Put, Unfinished, Wanted
from .settings import DataServiceSettings
from .state import State

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Files that a caller may read."""

    selected: Selected
    datasets: Mapping[int, DatasetInfo]
    """Empty where nobody asked for them."""
    zip: bool
    compress: bool


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes to be sent."""

    blocks: Callable[[int], Iterator[bytes]]
    """From an offset on."""
    name: str
    lease: Lease
    etag: str
    """Another one if the bytes are other ones."""
    size: int | None = None
    """Of the whole, where it is known."""
    close: Callable[[], None] = lambda: None
    """Closes what is open, if no blocks are asked for."""

    def let_go(self) -> None:
        """Give up what would have been sent."""
        self.close()
        self.lease.release()


class DataService:
    """Stores files and hands them out, as the catalogue allows.

    Parameters
    ----------
    settings
        Who is root, and how long things are kept.
    catalogue
        That allows or refuses.
    storage
        With the files.
    zips
        Names entries of zips.
    levels
        Knows what is online.
    state
        What survives a restart.
    links
        Makes links.
    """

    def __init__(
        self,
        settings: DataServiceSettings,
        catalogue: Catalogue,
        storage: MainStorage,
        zips: ZipMapper,
        levels: Levels,
        state: State,
        links: Links,
    ) -> None:
        self.read_only = settings.read_only
        self.levels = levels
        self.catalogue = catalogue
        self._roots = settings.root_users
        self._prepared_settings = settings.prepared
        self._unfinished = Unfinished(settings.limits)
        self._storage = storage
        self._zips = zips
        self._state = state
        self._links = links

    def resolve(
        self, session: Session, selection: Selection, *, with_names: bool = False
    ) -> Resolved:
        """Return the files that a caller means and may read.

        Parameters
        ----------
        session
            Of the caller.
        selection
            What is meant.
        with_names
            Find out what their datasets are called, too.

        Raises
        ------
        IdsError
            Something does not exist, or the caller must not see it.
        """
        if selection.prepared is not None:
            return self._prepared(selection.prepared)
        levels = self.levels.two
        files: dict[int, CataloguedFile] = {}
        for entity, ids in selection.ids.items():
            for file in self.catalogue.files(
                session, entity, ids, with_datasets=with_names or levels
            ):
                if file.location:
                    files[file.id] = file
                elif entity == "Datafile":
                    raise NotFound(f"Datafile {file.id}")
        datasets: list[int] = []
        if levels:
            datasets += selection.ids.get("Dataset", ())
            investigations = selection.ids.get("Investigation")
            if investigations:
                datasets += self.catalogue.datasets_of(session, investigations)
        infos = {}
        if with_names:
            infos = self.catalogue.datasets(
                session, {file.dataset_id for file in files.values()}
            )
        selected = Selected(list(files.values()), datasets)
        return Resolved(selected, infos, zip=not selection.is_one_file, compress=False)

    def content(
        self, found: Resolved, *, zip_: bool, compress: bool, outname: str | None
    ) -> Content:
        """Return what getData sends.

        Raises
        ------
        IdsError
            Not everything can be read now.
        """
        files = found.selected.files
        lease = self.levels.reading(files)
        try:
            if zip_:
                made = delivery.zipped(
                    self._storage, self._zips, files, found.datasets, compress=compress
                )
                return Content(
                    partial(delivery.without, pieces=made),
                    delivery.zip_name(outname),
                    lease,
                    made.etag(),
                    made.size,
                )
            [file] = files
            opened = delivery.open_one(self._storage, file)
            etag = delivery.etag(file, opened.size)
            name = outname or file.name
            return Content(opened.blocks, name, lease, etag, opened.size, opened.close)
        except BaseException:
            lease.release()
            raise

    def prepare(
        self, session: str, found: Resolved, *, zip_: bool, compress: bool
    ) -> str:
        """Keep a selection under a new id, and begin to get it online."""
        owner = self.catalogue.user(session)
        id_ = str(uuid.uuid4())
        content = {
            "zip": zip_,
            "compress": compress,
            "files": [astuple(file) for file in found.selected.files],
            "empty": list(found.selected.datasets),
            "datasets": [
                {**asdict(info), "start": info.start and info.start.isoformat()}
                for info in found.datasets.values()
            ],
        }
        self._state.prepare(id_, owner, content, self._prepared_settings)
        self.levels.prepare(found.selected)
        return id_

    def withdraw(self, session: str, id_: str) -> None:
        """Forget a prepared id, for its maker or a root user.

        Raises
        ------
        IdsError
            There is no such id, or it is somebody else's.
        """
        user = self.catalogue.user(session)
        owner, _ = self._kept(id_)
        if user != owner and user not in self._roots:
            raise InsufficientPrivileges("this preparedId was made by somebody else")
        self._state.withdraw(id_)

    def service_status(self, session: str | None) -> dict[str, Any]:
        """Return queue, locks and failures to those who may see them."""
        try:
            if not session:
                raise InsufficientPrivileges("Session Id cannot be null or empty.")
            user = self.catalogue.user(session)
        except InsufficientPrivileges as error:
            raise InsufficientPrivileges(
                f"class org.icatproject.IcatException_Exception {error.message}"
            ) from None
        if user not in self._roots:
            raise InsufficientPrivileges(
                f"{user} is not included in the ids rootUserNames set."
            )
        return self.levels.service_status()

    def link(self, session: str, datafile: int, user: str) -> str:
        """Return a path under which one user can open a datafile for a while."""
        found = self.resolve(session, Selection({"Datafile": (datafile,)}))
        [file] = found.selected.files
        owner = self.catalogue.user(session)
        with self.levels.reading([file], link=True):
            try:
                path = self._storage.path(delivery.location_of(file))
            except OSError as error:
                raise delivery.explained(file, error) from None
            return str(self._links.make(path, user, owner))

    def delete(self, session: str, found: Resolved) -> None:
        """Remove files from the catalogue, and then from the storage.

        Raises
        ------
        NotImplementedHere
            Nobody could see whether a file is another entry's, too.
        """
        files = found.selected.files
        if not files:
            return
        if not self.catalogue.sees_everything:
            raise NotImplementedHere(
                "nothing is deleted here: this service has no reader account that"
                " could see whether a file is another entry's, too"
            )
        with self.levels.deleting(files):
            fault_point("delete.begin")
            self.catalogue.delete(session, [file.id for file in files])
            fault_point("delete.uncatalogued")
            self.levels.deleted(files)
            fault_point("delete.noted")
            for file in self._nobodys(files):
                try:
                    self._storage.delete(delivery.location_of(file))
                except (OSError, IdsError) as error:
                    self._left_behind(file, error)
                fault_point("delete.removed")

    def _nobodys(self, deleted: Sequence[CataloguedFile]) -> Sequence[CataloguedFile]:
        """Return those of some deleted files that are no other entry's, too."""
        ids = {file.id for file in deleted}
        locations = [file.location or "" for file in deleted]
        spellings = {where: self._storage.spellings(where) for where in locations}
        try:
            shared = self.catalogue.shared(ids, spellings)
        except IdsError as error:
            for file in deleted:
                self._left_behind(file, error)
            return ()
        return [file for file in deleted if file.location not in shared]

    def _left_behind(self, file: CataloguedFile, error: Exception) -> None:
        # It is uncatalogued: what stays behind is an orphan, no lie.
        reason = f"deleted in ICAT, but not in the main storage: {error}"
        _log.warning("Datafile[id:%d] is %s", file.id, reason)
        self._state.doubt(file.location or "", file.dataset_id, file.name, reason)

    def begin_put(self, session: str, wanted: Wanted, announced: int | None) -> Put:
        """Begin to store a file: whoever may not is told so before the body.

        Parameters
        ----------
        session
            Of the caller.
        wanted
            What the caller says about it.
        announced
            Bytes, if that was said.

        Raises
        ------
        IdsError
            The caller may not, or the dataset is not online.
        """
        self.catalogue.must_read_dataset(session, wanted.dataset_id)
        self.catalogue.must_create(session, wanted.file(location="-"))
        dataset = self.catalogue.dataset(session, wanted.dataset_id)
        counted = self._unfinished.begin(
            lambda: self.catalogue.user(session), announced or 0
        )
        with ExitStack() as held:
            held.callback(counted.release)
            held.callback(self.levels.putting(session, dataset).release)
            upload = self._storage.begin(dataset, wanted.name)
            finish = partial(self._finish_put, session, wanted, dataset, upload)
            return Put(upload, counted, finish, held.pop_all())

    def _finish_put(
        self, session: str, wanted: Wanted, dataset: DatasetInfo, upload: Upload
    ) -> dict[str, Any]:
        """Make a received file durable and catalogue it.

        Returns
        -------
        :
            The answer to the put.
        """
        fault_point("put.received")
        location = upload.commit()
        fault_point("put.stored")
        file = wanted.file(location, upload.size, upload.checksum)
        try:
            self.levels.stored(dataset, location, wanted.name)
        except IdsError:
            self._take_back(file)
            raise
        fault_point("put.noted")
        id_ = self._catalogued(session, file)
        fault_point("put.catalogued")
        self.levels.catalogued(
            CataloguedFile(id_, file.name, location, file.size, None, file.dataset_id)
        )
        return {
            "id": id_,
            "checksum": upload.checksum,
            "location": location,
            "size": upload.size,
        }

    def _catalogued(self, session: str, file: NewFile) -> int:
        """Catalogue a stored file; take it out again only when surely refused."""
        try:
            id_ = self._created(session, file)
            fault_point("put.created")
            self.catalogue.sign(session, id_, file)
        except Unanswered as error:
            # It may still be under way to the catalogue.
            self._doubt(file, str(error))
            raise
        except IdsError:
            self._take_back(file)
            raise
        return id_

    def _created(self, session: str, file: NewFile) -> int:
        try:
            return self.catalogue.create(session, file)
        except Internal as error:
            # An answer that says INTERNAL can follow a commit, and so can silence.
            try:
                found = self.catalogue.find(session, file)
            except IdsError as second:
                raise Unanswered(f"{error}; asked again: {second}") from None
            if found is None:
                raise
            return found

    def _take_back(self, file: NewFile) -> None:
        try:
            self._storage.delete(file.location or "")
            self.levels.refused(file.location or "")
        except (OSError, IdsError) as error:
            self._doubt(file, f"not catalogued, but not removed: {error}")

    def _doubt(self, file: NewFile, reason: str) -> None:
        _log.warning("perhaps an orphan: %s (%s)", file.location, reason)
        try:
            self._state.doubt(file.location or "", file.dataset_id, file.name, reason)
        except IdsError as error:
            # The log has it, and the caller is to hear of what was first.
            _log.error("%s is noted nowhere else: %s", file.location, error)

    def _kept(self, id_: str) -> tuple[str, Any]:
        kept = self._state.prepared(id_)
        if kept is None:
            raise NotFound(f"The preparedId {id_} is not known")
        return kept

    def _prepared(self, id_: str) -> Resolved:
        _, kept = self._kept(id_)
        infos = {}
        for raw in kept["datasets"]:
            start = raw["start"] and datetime.fromisoformat(raw["start"])
            raw |= {"start": start, "instruments": tuple(raw["instruments"])}
            infos[raw["id"]] = DatasetInfo(**raw)
        files = [CataloguedFile(*values) for values in kept["files"]]
        left = self.catalogue.still_there(files)
        if files and not left and not kept["zip"]:
            raise NotFound(f"Datafile[id:{files[0].id}] not found.")
        selected = Selected(left, kept["empty"])
        return Resolved(selected, infos, zip=kept["zip"], compress=kept["compress"])
