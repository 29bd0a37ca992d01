"""Who takes files in where the data service stores them."""

from typing import Protocol

from icat_stream.records import Datafile


class FileStore(Protocol):
    """A data service that takes files in and catalogues them itself."""

    def put(self, datafile: Datafile, *, dataset_id: int, format_id: int) -> None:
        """Bring one file in; it is not in the catalogue yet.

        Parameters
        ----------
        datafile
            Planned, with its source.
        dataset_id, format_id
            ICAT's.

        Raises
        ------
        Failure
            It could not be brought in.
        """
        ...

    def verify(self, datafile: Datafile, *, dataset_id: int) -> None:
        """See that a file that is in the catalogue already arrived whole.

        Parameters
        ----------
        datafile
            Planned, with its source.
        dataset_id
            ICAT's.

        Raises
        ------
        Failure
            It did not, or it is another one.
        """
        ...
