"""Plans for an investigation, and what became of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from icat_stream.records import (
    Datafile,
    DatafileFormat,
    Dataset,
    InvestigationKey,
    Parameter,
    Plan,
    Sample,
    Technique,
)

FACILITY = "Muster"
START = datetime(2024, 5, 6, 7, 8, 9, 987654, UTC)


def full(investigation: InvestigationKey, **changes: Any) -> Dataset:
    dataset = Dataset(
        investigation=investigation,
        name="run 7",
        type="raw",
        description="5 < 6 & \"7\" > '8' \n\t😀",
        location="2024/run7",
        start=START,
        end=datetime(2024, 5, 6, 9, 30, tzinfo=timezone(timedelta(hours=2))),
        sample=Sample(name="Salz", create=True),
        instruments=("DREHM", "ÄTHER'S <1>"),
        techniques=(Technique(name="diffraction"),),
        parameters=(
            Parameter(
                name="wavelength",
                units="angstrom",
                value=1.8,
                error=0.1,
                range_bottom=1.0,
                range_top=2,
            ),
            Parameter(name="title", units="", value="it's ]]> <b>"),
            Parameter(name="when", units="", value=START),
        ),
        datafiles=(
            Datafile(
                name="run7.nxs",
                location="/data/2024/run7.nxs",
                size=4711,
                create_time=START,
                mod_time=START + timedelta(seconds=5),
                format=DatafileFormat(name="NeXus", version="1.0"),
                checksum="xxh3_64:0123456789abcdef",
                description="the file",
                parameters=(Parameter(name="wavelength", units="angstrom", value=2),),
            ),
            Datafile(name="run7.log"),
        ),
    )
    return replace(dataset, **changes)


def plan(*datasets: Dataset) -> Plan:
    return Plan(facility=FACILITY, datasets=datasets)


def held(client: Any, investigation: InvestigationKey) -> list[Any]:
    return list(
        client.search(
            "SELECT d FROM Dataset d WHERE d.investigation.name ="
            f" '{investigation.name}' ORDER BY d.name INCLUDE d.type, d.sample,"
            " d.parameters.type, d.datafiles.datafileFormat,"
            " d.datafiles.parameters.type, d.datasetInstruments.instrument,"
            " d.datasetTechniques.technique"
        )
    )
