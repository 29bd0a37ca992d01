"""Uploads to the data service, copies to its archive, and status."""

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from itertools import chain
from typing import Any, Protocol

import stamina

from icat_stream.icat import UnansweredWrites
from icat_stream.records import Datafile, Failure, Rejection, TransientFailure
from icat_stream.telemetry import client_span, quiet_span

from .answers import (
    IdsAnswer,
    NameTaken,
    NotOffered,
    NotOnline,
    SessionGone,
    Unanswered,
    failure_of,
    unavailable,
)
from .connection import Connection
from .upload_source import FileContents, UploadSource

_log = logging.getLogger(__name__)
_ATTEMPTS = 3
_WAIT = 0.2
_CRC32 = re.compile(r"[0-9a-f]{1,8}", re.IGNORECASE)
_SECURED = ("ARCHIVED", "RESTORING")


class _Left(TransientFailure):
    """Something else than the file is in its place, until somebody deletes it."""


class IcatAccess(Protocol):
    """What the data service needs of ICAT: a session, and what is catalogued."""

    @property
    def session_id(self) -> str:
        """ICAT's session id: a secret."""
        ...

    def renew_session(self) -> None:
        """Have the next :attr:`session_id` be a new one."""
        ...

    def datafile_rows(
        self, dataset_id: int, names: Collection[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """Return those datafiles of a dataset that are catalogued, by name."""
        ...


class IdsClient:
    """Uploads and requests with the ICAT session of one thread.

    Made by :meth:`Ids.client`; used by one thread at a time.
    """

    def __init__(
        self,
        connection: Connection,
        session: IcatAccess,
        *,
        files: FileContents | None,
        uploads: bool,
        two_level: Callable[[], bool],
        unanswered: UnansweredWrites,
    ) -> None:
        self._connection = connection
        self._session = session
        self._files = files
        self._uploads = uploads
        self._two_level = two_level
        self._unanswered = unanswered

    def put(self, datafile: Datafile, *, dataset_id: int, format_id: int) -> None:
        """Upload a file; the data service catalogues it.

        After a try without an answer the catalogue is asked by name first; where the
        service may still be at it, it is not sent again for a while.

        Parameters
        ----------
        datafile
            With its source.
        dataset_id, format_id
            ICAT's.

        Raises
        ------
        Failure
            It could not be uploaded, or not yet.
        """
        with client_span("ids.put", {"icat.count": 1}) as span:
            source = self._source(datafile)
            span.set_attribute("ids.bytes", source.size)
            for attempt in stamina.retry_context(
                on=_worth_another_try,
                attempts=_ATTEMPTS,
                timeout=None,
                wait_initial=_WAIT,
                wait_max=10 * _WAIT,
                wait_jitter=_WAIT,
            ):
                with attempt:
                    if attempt.num > 1 and self._stored(datafile, dataset_id, source):
                        return
                    self._put(datafile, dataset_id, format_id, source)

    def verify(self, datafile: Datafile, *, dataset_id: int) -> None:
        """See that a file that is in the data service already is the planned one.

        Parameters
        ----------
        datafile
            With its source.
        dataset_id
            ICAT's.

        Raises
        ------
        Failure
            It is another one, or is damaged.
        """
        with quiet_span("ids.verify"):
            if not self._stored(datafile, dataset_id, self._source(datafile)):
                raise TransientFailure(f"Datafile {datafile.name} went away")

    def archive(self, dataset_ids: Sequence[int]) -> tuple[str, ...]:
        """Have registered datasets copied to the archive, where there is one.

        Asked for again it does no harm.  What was uploaded is copied anyway.

        Returns
        -------
        tuple of str
            One line for what was asked for.
        """
        if not dataset_ids or self._uploads or not self._two_level():
            return ()
        asked = []
        for number in dataset_ids:
            with client_span("ids.write"):
                if self._write(number):
                    asked.append(f"archive copy of dataset {number} asked for")
        return tuple(asked)

    def leave_disk(self, dataset_id: int) -> None:
        """Have a dataset's files moved to the archive; the service does it later.

        It has a copy there first.  Asked for again it does no harm.

        Raises
        ------
        SystemUnavailable, TransientFailure, Rejection
            The data service does not take it.
        """
        doing = f"archive of dataset {dataset_id}"
        with client_span("ids.archive"):
            try:
                self._asked(
                    doing,
                    lambda session: self._connection.post(
                        "archive", sessionId=session, datasetIds=dataset_id
                    ),
                )
            except NotOffered as error:
                raise Rejection(f"{error}: it has no archive") from error
            except NotOnline as error:
                # It has left the disk already, or comes back just now.
                if self.status([dataset_id]) not in _SECURED:
                    raise TransientFailure(str(error)) from error

    def status(self, dataset_ids: Sequence[int]) -> str:
        """Return ``ONLINE``, ``RESTORING`` or ``ARCHIVED``."""
        listed = ",".join(str(number) for number in dataset_ids)
        with client_span("ids.getStatus"):
            answer = self._asked(
                "getStatus",
                lambda session: self._connection.get(
                    "getStatus", sessionId=session, datasetIds=listed
                ),
                writes=False,
            )
        return answer.body.decode("utf-8", "replace").strip()

    def try_download(self, datafile_id: int) -> None:
        """See that a datafile can be downloaded: ask for it, and read one byte.

        Raises
        ------
        Failure
            It cannot.
        """
        with client_span("ids.getData"):
            try:
                self._asked(
                    f"a download of datafile {datafile_id}",
                    lambda session: self._connection.begin(
                        "getData", sessionId=session, datafileIds=datafile_id
                    ),
                    writes=False,
                )
            except NotOnline as error:
                raise TransientFailure(f"{error}: it is archived") from error

    def _source(self, datafile: Datafile) -> UploadSource:
        if self._files is None:
            raise RuntimeError("an upload without the way to files")
        return UploadSource(datafile, self._files)

    def _put(
        self, datafile: Datafile, dataset_id: int, format_id: int, source: UploadSource
    ) -> None:
        parameters: dict[str, str | int] = {
            "name": datafile.name,
            "datasetId": dataset_id,
            "datafileFormatId": format_id,
        }
        if datafile.description is not None:
            parameters["description"] = datafile.description
        if datafile.create_time is not None:
            parameters["datafileCreateTime"] = _milliseconds(datafile.create_time)
        if datafile.mod_time is not None:
            parameters["datafileModTime"] = _milliseconds(datafile.mod_time)
        doing, request = f"put of {datafile.name}", f"{dataset_id}\0{datafile.name}"
        self._unanswered.check(request, doing)

        def call(session: str) -> IdsAnswer:
            with closing(source.chunks()) as content:
                # Who has to wait for a process does so before there is a request.
                first = next(content, b"")
                return self._connection.put(
                    "put",
                    chain((first,), content),
                    source.size,
                    sessionId=session,
                    **parameters,
                )

        try:
            answer = self._asked(doing, call)
        except Unanswered as error:
            self._unanswered.add(request, error.reason)
            raise
        except NameTaken as error:
            if self._stored(datafile, dataset_id, source):
                return
            raise TransientFailure(str(error)) from error
        except NotOnline as error:
            raise TransientFailure(str(error)) from error
        except NotOffered as error:
            raise unavailable(
                f"{error}: is it read-only?", probe_tells=False
            ) from error
        found = answer.content
        self._verify(datafile, found.get("id"), found.get("checksum"), source)

    def _stored(
        self, datafile: Datafile, dataset_id: int, source: UploadSource
    ) -> bool:
        """Whether an earlier try, or another lane, brought the file in."""
        rows = self._session.datafile_rows(dataset_id, [datafile.name])
        row = rows.get(datafile.name)
        if row is None:
            return False
        if row.get("fileSize") != source.size:
            raise Rejection(
                f"Datafile {datafile.name} is in the data service with"
                f" {row.get('fileSize')} bytes, {source.size} were to be uploaded"
            )
        held = _crc32(row.get("checksum"))
        if held is not None and held != source.read_crc32():
            # What is to be uploaded is whole: an operator may delete what is there.
            raise _Left(
                f"Datafile {datafile.name} is in the data service with CRC32 {held:x},"
                f" {source.crc32:x} was to be uploaded: it was left there damaged, or"
                " is another file; delete it"
            )
        return True

    def _verify(
        self, datafile: Datafile, number: object, crc32: object, source: UploadSource
    ) -> None:
        if crc32 == source.crc32:
            return
        damaged = f"{datafile.name} arrived with CRC32 {crc32}, {source.crc32} was sent"
        # Left there it would pass for the file.
        if not isinstance(number, int):
            raise _Left(f"{damaged}; not deleted: the answer has no id")
        try:
            self._asked(
                f"deletion of {datafile.name}",
                lambda session: self._connection.delete(
                    "delete", sessionId=session, datafileIds=number
                ),
            )
        except (Failure, NotOffered, NotOnline, NameTaken) as error:
            raise _Left(f"{damaged}; not deleted: {error}") from error
        _log.warning("%s: deleted", damaged)
        raise TransientFailure(f"{damaged}; deleted")

    def _write(self, number: int) -> bool:
        try:
            self._asked(
                f"write of dataset {number}",
                lambda session: self._connection.post(
                    "write", sessionId=session, datasetIds=number
                ),
            )
        except NotOffered as error:
            _log.warning("%s: the archive gets no copy", error)
            return False
        except NotOnline as error:
            # What left the main storage has been copied before.
            if self.status([number]) in _SECURED:
                return False
            raise TransientFailure(str(error)) from error
        return True

    def _asked(
        self, doing: str, call: Callable[[str], IdsAnswer], *, writes: bool = True
    ) -> IdsAnswer:
        """Call, and once more with a new session if the old one is gone."""
        answer = call(self._session.session_id)
        if answer.ok:
            return answer
        failure = failure_of(answer, doing, writes=writes)
        if isinstance(failure, SessionGone):
            self._session.renew_session()
            answer = call(self._session.session_id)
            if answer.ok:
                return answer
            failure = failure_of(answer, doing, writes=writes)
        if isinstance(failure, SessionGone):
            failure = TransientFailure(str(failure))
        raise failure


def _worth_another_try(error: Exception) -> bool:
    return isinstance(error, TransientFailure) and not isinstance(
        error, _Left | Unanswered
    )


def _milliseconds(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def _crc32(checksum: object) -> int | None:
    """Return what the data service catalogues as checksum, hexadecimal, as a number.

    ``None`` for none, or one that is of another kind.
    """
    if not isinstance(checksum, str) or not _CRC32.fullmatch(checksum):
        return None
    return int(checksum, 16)
