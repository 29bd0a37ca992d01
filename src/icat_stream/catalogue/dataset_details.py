"""Datasets with all that other systems are told of them, in few questions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from icat_stream.icat import Session, entities, id_lists, related, select
from icat_stream.records import (
    DatasetDetails,
    InvestigationKey,
    ParameterValue,
)

_INCLUDED = (
    "INCLUDE o.investigation, o.type, o.sample, o.parameters.type,"
    " o.datasetInstruments.instrument, o.datasetTechniques.technique"
)


def dataset_details(
    session: Session, facility_id: int, ids: Sequence[int]
) -> dict[int, DatasetDetails]:
    """Return those of these datasets that the facility has, by id."""
    found: dict[int, DatasetDetails] = {}
    for listed in id_lists(ids):
        query = select(
            "Dataset",
            f"o.investigation.facility.id = {int(facility_id)}",
            f"o.id IN {listed}",
            then=_INCLUDED,
        )
        for row in entities(session.search(query, "Dataset")):
            found[row["id"]] = _dataset(row)
    return found


def _dataset(row: Mapping[str, Any]) -> DatasetDetails:
    investigation = related(row, "investigation", "Investigation")
    return DatasetDetails(
        id=row["id"],
        investigation=InvestigationKey(
            name=investigation["name"], visit_id=investigation["visitId"]
        ),
        name=row["name"],
        type=related(row, "type", "DatasetType")["name"],
        complete=bool(row.get("complete")),
        description=row.get("description"),
        location=row.get("location"),
        doi=row.get("doi"),
        start=_time(row.get("startDate")),
        end=_time(row.get("endDate")),
        sample=row.get("sample", {}).get("name"),
        instruments=_linked(row, "datasetInstruments", "instrument", "Instrument"),
        techniques=_linked(row, "datasetTechniques", "technique", "Technique"),
        parameters=_parameters(row.get("parameters", ())),
    )


def _parameters(rows: Iterable[Mapping[str, Any]]) -> tuple[ParameterValue, ...]:
    found = []
    for row in rows:
        of = related(row, "type", "ParameterType")
        time = _time(row.get("dateTimeValue"))
        found += [
            ParameterValue(name=of["name"], units=of["units"], value=value)
            for value in (row.get("numericValue"), row.get("stringValue"), time)
            if value is not None
        ]
    return tuple(sorted(found, key=lambda one: (one.name, one.units)))


def _linked(
    row: Mapping[str, Any], links: str, field: str, entity: str
) -> tuple[str, ...]:
    return _names(related(link, field, entity) for link in row.get(links, ()))


def _names(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted({str(row["name"]) for row in rows}))


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
