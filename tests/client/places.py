"""A facility with something in it, and a catalogue that counts its calls."""

import datetime as dt
from itertools import count
from typing import Any

import icat

from icat_stream.client import Catalogue, Item
from icat_stream.sandbox.icat.launch import Running

UTC = dt.UTC
ACCOUNTS = {"simple": {"root": "rootpw", "writer": "w"}}
MAX_ENTITIES = 400
_numbers = count(1)


class Counting(Catalogue):
    """Counts what goes over the wire."""

    def __init__(self, client: icat.Client) -> None:
        super().__init__(client)
        self.queries: list[str] = []

    def search(self, query: str) -> list[Any]:
        self.queries.append(query)
        return super().search(query)


def login(server: Running, name: str) -> icat.Client:
    client = icat.Client(server.url)
    client.login("simple", {"username": name, "password": ACCOUNTS["simple"][name]})
    return client


class Place:
    """A facility of a test's own, with what a dataset needs."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.name = f"F{next(_numbers)}"
        create = catalogue.create
        self.facility = create("Facility", name=self.name)
        self.type = create(
            "InvestigationType", name="experiment", facility=self.facility
        )
        self.raw = create("DatasetType", name="raw", facility=self.facility)
        self.temperature = create(
            "ParameterType",
            name="temperature",
            units="K",
            facility=self.facility,
            valueType="NUMERIC",
            applicableToDataset=True,
        )
        self.investigation = create(
            "Investigation",
            facility=self.facility,
            name=f"{self.name}-1",
            visitId="1",
            title="It's <hot> & cold",
            type=self.type,
        )


def dataset(
    catalogue: Catalogue, place: Place, name: str, files: int = 0, **more: Any
) -> Item:
    return catalogue.new(
        "Dataset",
        **{
            "name": name,
            "investigation": place.investigation,
            "type": place.raw,
            "complete": False,
            "datafiles": [
                catalogue.new(
                    "Datafile", name=f"{name}-{n}.nxs", location=f"/{name}/{n}"
                )
                for n in range(files)
            ],
            **more,
        },
    )
