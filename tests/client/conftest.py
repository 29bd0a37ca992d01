"""One server for all tests of this folder."""

from collections.abc import Iterator

import icat
import pytest

from icat_stream.sandbox.icat.launch import Running, running

from .places import ACCOUNTS, MAX_ENTITIES, Counting, Place, login


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    options = ["--max-entities", str(MAX_ENTITIES), "--timezone", "Europe/Berlin"]
    with running(
        ACCOUNTS, roots=["simple/root", "simple/writer"], options=options
    ) as s:
        yield s


@pytest.fixture(scope="session")
def root(server: Running) -> Iterator[icat.Client]:
    client = login(server, "root")
    yield client
    client.cleanup()


@pytest.fixture(scope="session")
def writer(server: Running) -> Iterator[icat.Client]:
    client = login(server, "writer")
    yield client
    client.cleanup()


@pytest.fixture
def catalogue(root: icat.Client) -> Counting:
    return Counting(root)


@pytest.fixture
def place(catalogue: Counting) -> Iterator[Place]:
    made = Place(catalogue)
    catalogue.queries.clear()
    yield made
    catalogue.delete(made.facility)
