"""What the catalogue holds of a dataset."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from icat_stream.icat import Session, entities, in_lists, related, select
from icat_stream.records import LocationKey

Row = Mapping[str, Any]
TypeKey = tuple[str, str]

# So few files are asked for by name, whatever else is in the dataset.
_BY_NAME = 50
_PARAMETER = (
    "numericValue",
    "stringValue",
    "dateTimeValue",
    "error",
    "rangeBottom",
    "rangeTop",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDataset:
    """A dataset as the catalogue holds it.

    Parameters
    ----------
    row
        Its attributes, type and sample.
    parameters
        By name and units of the type.
    instruments, techniques
        Names.
    datafiles
        By name.
    datafile_parameters
        By the datafile's id, then as ``parameters``.
    """

    row: Row
    parameters: Mapping[TypeKey, Row] = field(default_factory=dict)
    instruments: frozenset[str] = frozenset()
    techniques: frozenset[str] = frozenset()
    datafiles: Mapping[str, Row] = field(default_factory=dict)
    datafile_parameters: Mapping[int, Mapping[TypeKey, Row]] = field(
        default_factory=dict
    )

    @property
    def id(self) -> int:
        """Its id."""
        return int(self.row["id"])

    @property
    def name(self) -> str:
        """Its name as the catalogue spells it."""
        return str(self.row["name"])


def datasets(
    session: Session, investigation_id: int, names: Collection[str]
) -> dict[str, Row]:
    """Return datasets of an investigation by name, with all but their datafiles."""
    found: dict[str, Row] = {}
    for listed in in_lists(names):
        query = select(
            "Dataset",
            f"o.investigation.id = {investigation_id}",
            f"o.name IN {listed}",
            then="INCLUDE o.type, o.sample, o.parameters.type,"
            " o.datasetInstruments.instrument, o.datasetTechniques.technique",
        )
        for row in entities(session.search(query, "Dataset")):
            found[row["name"]] = row
    return found


def holding(
    session: Session,
    row: Row,
    *,
    only: Collection[str] | None,
    with_parameters: bool,
    key: LocationKey | None = None,
) -> HeldDataset:
    """Return all that belongs to a dataset.

    Parameters
    ----------
    session
        To ask with.
    row
        Of :func:`datasets`.
    only
        Names of the datafiles that matter; ``None`` for all.
    with_parameters
        Whether the parameters of datafiles matter.
    key
        Of the locations.
    """
    number = int(row["id"])
    files = datafiles(session, number, only, key)
    return HeldDataset(
        row=row,
        parameters={type_key(p): p for p in row.get("parameters", ())},
        instruments=frozenset(
            related(link, "instrument", "Instrument")["name"]
            for link in row.get("datasetInstruments", ())
        ),
        techniques=frozenset(
            related(link, "technique", "Technique")["name"]
            for link in row.get("datasetTechniques", ())
        ),
        datafiles=files,
        datafile_parameters=_datafile_parameters(session, number)
        if with_parameters and files
        else {},
    )


def datafiles(
    session: Session,
    dataset_id: int,
    only: Collection[str] | None = None,
    key: LocationKey | None = None,
) -> dict[str, Row]:
    """Return datafiles of a dataset by name, with their formats."""
    conditions: Iterable[tuple[str, ...]] = [()]
    if only is not None and len(only) <= _BY_NAME:
        conditions = ((f"o.name IN {listed}",) for listed in in_lists(only))
    return {
        row["name"]: row
        for condition in conditions
        for row in datafile_pages(session, dataset_id, *condition, key=key)
    }


def datafile_pages(
    session: Session,
    dataset_id: int,
    *conditions: str,
    key: LocationKey | None = None,
) -> Iterator[Row]:
    """Yield datafiles of a dataset by id, with their formats, page by page.

    With a key, locations are without their digests, and ``signed`` says whether there
    was the right one.
    """
    last = 0
    while True:
        # By id, not by offset: others may add files meanwhile.
        query = select(
            "Datafile",
            f"o.dataset.id = {dataset_id}",
            *conditions,
            f"o.id > {last}",
            then=f"ORDER BY o.id INCLUDE o.datafileFormat LIMIT 0, {session.page}",
        )
        rows = entities(session.search(query, "Datafile"))
        yield from rows if key is None else (_unsigned(row, key) for row in rows)
        if len(rows) < session.page:
            return
        last = rows[-1]["id"]


def _unsigned(row: Row, key: LocationKey) -> Row:
    signed = row.get("location")
    if signed is None:
        return row
    location = key.location(row["id"], signed)
    if location is None:
        return {**row, "signed": False}
    return {**row, "location": location, "signed": True}


def _datafile_parameters(
    session: Session, dataset_id: int
) -> dict[int, dict[TypeKey, Row]]:
    names = ("id", "datafile.id", "type.name", "type.units", *_PARAMETER)
    wanted = ", ".join(f"o.{name}" for name in names)
    found: dict[int, dict[TypeKey, Row]] = {}
    last = 0
    while True:
        query = select(
            "DatafileParameter",
            f"o.datafile.dataset.id = {dataset_id}",
            f"o.id > {last}",
            what=wanted,
            then=f"ORDER BY o.id LIMIT 0, {session.page}",
        )
        rows = session.search(query, "DatafileParameter")
        for number, datafile, name, units, *values in rows:
            row = {"id": number} | dict(zip(_PARAMETER, values, strict=True))
            found.setdefault(datafile, {})[name, units] = row
        if len(rows) < session.page:
            return found
        last = rows[-1][0]


def type_key(parameter: Row) -> TypeKey:
    """Return name and units of the type of a parameter that is held."""
    found = related(parameter, "type", "ParameterType")
    return (found["name"], found["units"])
