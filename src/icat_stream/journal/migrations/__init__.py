"""How the journal's tables came to be as they are, and how they become so.

Each module of ``versions`` is one step, named ``<revision>_<what>`` with numbers that
rise; the last one is what this program needs.
"""

from importlib import resources
from threading import Lock

from sqlalchemy import Connection, inspect, text

from icat_stream.config import ConfigError, Problem

# Alembic's environment is global.
_lock = Lock()


def needed() -> str:
    """Return the revision of the tables that this program works with."""
    names = (each.name for each in (resources.files(__name__) / "versions").iterdir())
    return max(n.partition("_")[0] for n in names if n[0].isdigit())


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to the revision that this program needs.

    Parameters
    ----------
    connection
        In a transaction, in which no other process can do the same.
    revision
        An earlier one, to see what becomes of its rows.

    Raises
    ------
    ConfigError
        A newer program has made the tables what they are.
    """
    if is_current(connection):
        return
    # Here, because it takes longer to import than to ask.
    from alembic import command
    from alembic.config import Config

    with _lock, resources.as_file(resources.files(__name__)) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def is_current(connection: Connection) -> bool:
    """Whether the tables are of the revision that this program needs.

    Raises
    ------
    ConfigError
        A newer program has made the tables what they are.
    """
    found, wanted = _revision(connection), needed()
    if found is not None and found > wanted:
        raise ConfigError(
            [
                Problem(
                    source="the journal",
                    field="journal.url",
                    expected=f"its tables are of revision {found}, made by a newer"
                    f" icat-stream; this one knows them up to {wanted}: install the"
                    " newer one here as well",
                )
            ]
        )
    return found == wanted


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)
