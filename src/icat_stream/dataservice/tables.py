"""The tables of what survives a restart, and what is read from them."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, String, Table, Text

metadata = MetaData()


class Request(StrEnum):
    """What is wanted of a unit."""

    WRITE = "WRITE_REQUESTED"
    ARCHIVE = "ARCHIVE_REQUESTED"
    WRITE_THEN_ARCHIVE = "WRITE_THEN_ARCHIVE_REQUESTED"
    RESTORE = "RESTORE_REQUESTED"
    DELETE = "DELETE_REQUESTED"


class Failure(StrEnum):
    """What did not work."""

    WRITE = "Write failed"
    RESTORE = "Restore failed"


units = Table(
    "units",
    metadata,
    Column("unit", BigInteger, primary_key=True, autoincrement=False),
    Column("label", Text, nullable=False),
    Column("request", String(40)),
    Column("due", Float, nullable=False, server_default="0"),
    # Grows with each request, so that a finished one does not end a newer one.
    Column("serial", Integer, nullable=False, server_default="0"),
    Column("failure", String(20)),
    Column("reason", Text),
)
# What the archive holds of a unit, as this service wrote it.
copies = Table(
    "copies",
    metadata,
    Column("unit", BigInteger, primary_key=True, autoincrement=False),
    Column("listing", String(64), nullable=False),
    Column("content", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
)
reads = Table(
    "reads",
    metadata,
    Column("location", Text, primary_key=True),
    Column("at", Float, nullable=False),
)
prepared = Table(
    "prepared_selections",
    metadata,
    # Of the id, which is a key to the data and is kept nowhere.
    Column("digest", String(64), primary_key=True),
    Column("owner", Text, nullable=False, index=True),
    Column("expires", Float, nullable=False),
    Column("content", Text, nullable=False),
)
links = Table(
    "user_links",
    metadata,
    Column("path", Text, primary_key=True),
    # Who asked for it.
    Column("owner", Text, nullable=False, index=True),
    Column("expires", Float, nullable=False),
)
doubts = Table(
    "doubts",
    metadata,
    Column("location", Text, primary_key=True),
    Column("dataset", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("noted", Float, nullable=False),
    Column("reason", Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of which something is wanted or wrong."""

    unit: int
    label: str
    request: Request | None
    due: float
    serial: int
    failure: Failure | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Copy:
    """What the archive holds of a unit."""

    listing: str
    """Of the files by location and catalogued size."""
    content: str
    """Of the files by name, size and checksum."""
    size: int
    """Of the copy itself."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A stored file of which it is not certain that it is catalogued."""

    location: str
    dataset: int
    name: str
    noted: float
    reason: str
