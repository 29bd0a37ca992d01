"""Datasets with more files than a server returns at once."""

from dataclasses import replace
from typing import Any

import icat.client
import pytest

from icat_stream.catalogue import Catalogue, CatalogueSession
from icat_stream.config import IcatSettings, PolicySettings
from icat_stream.records import (
    Datafile,
    DatafileFormat,
    InvestigationKey,
    OutcomeKind,
    Parameter,
    Rejection,
)

from .conftest import fill, new_investigation, start_icat
from .plans import FACILITY, full, plan

COUNT = 10_300
KIND = DatafileFormat(name="NeXus", version="1.0")


def count(client: Any, investigation: InvestigationKey) -> int:
    query = (
        "SELECT COUNT(f) FROM Datafile f WHERE f.dataset.investigation.name ="
        f" '{investigation.name}'"
    )
    return int(client.search(query)[0])


def test_more_files_than_a_server_returns_at_once(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    value = (Parameter(name="wavelength", units="angstrom", value=1.5),)
    files = tuple(
        Datafile(
            name=f"{n:06}.nxs",
            size=n,
            format=KIND,
            parameters=value if n % 2 else (),
        )
        for n in range(COUNT)
    )
    wanted = full(investigation, datafiles=files[:-200])
    lane.apply(plan(wanted))
    assert lane.apply(plan(wanted)).kind is OutcomeKind.UNCHANGED
    wanted = replace(wanted, datafiles=files)
    new = [c for c in lane.diff(plan(wanted)).changes if c.kind == "new"]
    assert len(new) == 300
    assert lane.apply(plan(wanted)).kind is OutcomeKind.INGESTED
    assert lane.apply(plan(wanted)).kind is OutcomeKind.UNCHANGED
    assert count(client, investigation) == COUNT
    # A file that differs is found wherever it is.
    last = replace(files[-1], size=1)
    wrong = replace(wanted, datafiles=(*files[:-1], last))
    with pytest.raises(Rejection, match=rf"{COUNT - 1:06}\.nxs: fileSize"):
        lane.apply(plan(wrong))


def test_a_server_that_returns_few_at_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("few")
    for server in start_icat(folder, "--max-entities", "60"):
        client = icat.client.Client(server.url)
        client.login("simple", {"username": "root", "password": "secret"})
        fill(client)
        investigation = new_investigation(client)
        client.logout()
        access = IcatSettings(url=server.url, username="root", password="secret")
        lane = Catalogue(access, FACILITY, PolicySettings()).new_session()
        value = (Parameter(name="wavelength", units="angstrom", value=1.5),)
        files = tuple(
            Datafile(name=f"{n}.nxs", format=KIND, size=n, parameters=value)
            for n in range(90)
        )
        # All of them, and so few that they are asked for by name.
        for some in (files, files[:45]):
            wanted = plan(full(investigation, datafiles=some))
            lane.apply(wanted)
            assert lane.apply(wanted).kind is OutcomeKind.UNCHANGED
        (applied,) = lane.apply(wanted).datasets
        number = applied.id
        hashed = tuple(
            Datafile(name=file.name, size=file.size, checksum=f"xxh3_64:{file.size:x}")
            for file in files[::3]
        )
        some = full(investigation, datafiles=hashed, existing="reject", partial=True)
        assert lane.apply(plan(some)).kind is OutcomeKind.INGESTED
        assert lane.apply(plan(some)).kind is OutcomeKind.UNCHANGED
        left = list(lane.datafiles_without_checksum(number))
        assert {(e.name, e.size) for e in left} == {
            (file.name, file.size) for file in set(files) - set(files[::3])
        }
        # What has a checksum keeps it, and nothing else of a file is touched.
        other = replace(some, datafiles=(replace(hashed[0], checksum="crc32:1"),))
        with pytest.raises(Rejection, match=r"checksum 'xxh3_64:0', planned 'crc32:1'"):
            lane.apply(plan(other))
        assert lane.apply(wanted).kind is OutcomeKind.UNCHANGED
        lane.close()
