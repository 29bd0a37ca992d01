"""Opening a journal to look into it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import make_url

from icat_stream.config import ConfigError, JournalSettings, Problem

from .journal import Journal


def journal_exists(settings: JournalSettings) -> bool:
    """Whether the journal is more than a file that SQLite would make."""
    url = make_url(settings.url)
    return not url.drivername.startswith("sqlite") or bool(
        url.database and Path(url.database).exists()
    )


@contextmanager
def reading(settings: JournalSettings) -> Iterator[Journal]:
    """Open a journal as it is, and make none.

    Parameters
    ----------
    settings
        Where it is.

    Raises
    ------
    ConfigError
        There is no journal yet, or its tables are of another version.
    SystemUnavailable
        Its database does not answer.
    """
    if not journal_exists(settings):
        raise _unusable("the file is not there: the daemon makes it when it starts")
    with closing(Journal(settings)) as journal:
        if not journal.is_current():
            raise _unusable(
                "its tables are not yet those of this version: the daemon makes them"
                " so when it starts"
            )
        yield journal


def _unusable(why: str) -> ConfigError:
    problem = Problem(source="the journal", field="journal.url", expected=why)
    return ConfigError([problem])
