"""A journal on each database, empty."""

from collections.abc import Iterator
from typing import Any

import pytest

from icat_stream.config import JournalSettings
from icat_stream.journal import Journal


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    found: str = request.getfixturevalue("empty_postgres")
    return found


@pytest.fixture
def journal(url: str) -> Iterator[Journal]:
    journal = Journal(JournalSettings(url=url))
    journal.create()
    yield journal
    journal.close()
