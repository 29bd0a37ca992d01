"""Who needs the server first starts it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from icat_stream.sandbox.jars import JarsError
from plugins.sharing import shared

from .server import OpenSearchServer


@pytest.fixture(scope="session")
def opensearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL; an index is named after the test, since others use the server, too."""

    @contextmanager
    def start(folder: Path) -> Iterator[str]:
        server = OpenSearchServer(folder / "server")
        try:
            server.start()
        except JarsError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no OpenSearch: {error}")
        try:
            yield server.url
        finally:
            server.kill()

    with shared(tmp_path_factory, "opensearch", start) as url:
        yield url
