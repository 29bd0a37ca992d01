import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from icat_stream.nexus import NexusReader


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NexusReader]:
    """One that may read all temporary folders of this run."""
    with NexusReader(
        [tmp_path_factory.getbasetemp()],
        path_map={"/writer": str(tmp_path_factory.getbasetemp())},
        deadline=20.0,
    ) as reader:
        yield reader


@pytest.fixture
def aged() -> Callable[[Path], str]:
    """Make a file look as if it was last written a minute ago."""

    def aged(path: Path) -> str:
        then = time.time() - 60
        os.utime(path, (then, then))
        return str(path)

    return aged
