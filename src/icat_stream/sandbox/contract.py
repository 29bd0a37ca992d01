"""The files by which others find and use a running facility: their names are kept."""

import configparser
import io
import json
import secrets
import shlex
import shutil
import socket
from dataclasses import dataclass

import yaml

from icat_stream.config import shipped

from .folder import Folder
from .reference_data import DATABASE_USERS, FACILITY

SOURCE_TOPIC = "filewriter"
GROUP = "icat-stream"
PARTITIONS = 3
# Each authenticator's users; in icat.cfg a section may have a name of its own.
SECTIONS = {
    "root": ("simple", "root"),
    "useroffice": ("simple", "useroffice"),
    "ingest": ("simple", "dataingest"),
    "idsreader": ("simple", "idsreader"),
    **{name: ("db", name) for name in DATABASE_USERS},
}
ROOTS = ("simple/root", "simple/dataingest", "simple/idsreader")
_NOTE = "# Written by `icat_stream sandbox up`, and again the next time.\n"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the services are."""

    kafka: str
    icat: str
    ids: str
    web: str = ""


def topics() -> dict[str, int]:
    """Return the topics of a facility with their numbers of partitions."""
    ours = ("events", "outcomes", "dead-letters")
    names = [SOURCE_TOPIC, *(f"icat-stream.{name}" for name in ours)]
    names += [f"{GROUP}.file_written.retry.{n}" for n in range(3)]
    names.append(f"{GROUP}.file_written.parked")
    return dict.fromkeys(names, PARTITIONS)


def accounts(folder: Folder) -> dict[str, dict[str, str]]:
    """Return passwords by user by authenticator, made up the first time."""
    found: dict[str, dict[str, str]] = {}
    for authenticator, user in SECTIONS.values():
        path = folder.secrets / user
        if not path.exists():
            folder.write(path, secrets.token_urlsafe(12) + "\n", 0o600)
        password = path.read_text("utf-8").strip()
        found.setdefault(authenticator, {})[user] = password
    return found


def write_accounts(folder: Folder) -> None:
    """Write what the ICAT server lets people in by."""
    text = json.dumps(accounts(folder))
    folder.write(folder.secrets / "accounts.json", text, 0o600)


def copy_schemas(folder: Folder) -> None:
    """Put the shipped metadata schemas where they can be tried and changed."""
    if not folder.schemas.exists():
        shutil.copytree(shipped("schemas"), folder.schemas)


def write_data_service(folder: Folder, icat: str, *, two_level: bool = False) -> None:
    """Write the data service's configuration."""
    settings: dict[str, object] = {
        "icat": {"url": icat},
        "listen": "127.0.0.1:0",
        "folder": str(folder.ids),
        "main_storage": {"root": str(folder.data)},
        "root_users": list(ROOTS),
        "reader": {
            "auth": "simple",
            "username": "idsreader",
            "password_file": str(folder.secrets / "idsreader"),
        },
    }
    if two_level:
        folder.archive.mkdir(exist_ok=True)
        settings["archive_storage"] = {"root": str(folder.archive)}
        settings["storage_unit"] = "dataset"
        # Nobody who tries this waits as long as a facility does.
        settings["queue"] = {"interval": "1s", "write_delay": "2s"}
    folder.write(folder.run / "ids.yaml", _yaml(settings))


def write_config(folder: Folder, endpoints: Endpoints) -> None:
    """Write config.yaml, with which the dashboard is started, too."""
    folder.write(folder.config, _config(folder, endpoints))


def write_contract(folder: Folder, endpoints: Endpoints) -> None:
    """Write env and icat.cfg, and endpoints.json last."""
    folder.write(folder.env, _env(folder, endpoints))
    folder.write(folder.icat_cfg, _icat_cfg(folder, endpoints), 0o600)
    facts = {
        "kafka": endpoints.kafka,
        "icat": endpoints.icat,
        "ids": endpoints.ids,
        "journal": _journal(folder),
        "data": str(folder.data),
        "web": endpoints.web,
    }
    folder.write(folder.endpoints, json.dumps(facts) + "\n")


def _config(folder: Folder, endpoints: Endpoints) -> str:
    data = str(folder.data)
    settings = {
        "facility": FACILITY,
        "kafka": {
            "bootstrap_servers": endpoints.kafka,
            "group_id": GROUP,
            "partitions": PARTITIONS,
        },
        "icat": {
            "url": endpoints.icat,
            "auth": "simple",
            "username": "dataingest",
            "password_file": "secrets/dataingest",
        },
        "ids": {"url": endpoints.ids, "mode": "register", "location": {"root": data}},
        # Nobody here writes for long: waiting would only make trying slow.
        "files": {"roots": [data], "settle": "300ms", "settle_deadline": "2s"},
        "schemas": "schemas",
        "journal": {"url": "sqlite:///journal.db"},
        "health": {"listen": f"127.0.0.1:{_free_port()}"},
        # The facility's own has the port that endpoints.json names.
        "web": {"listen": "127.0.0.1:0"},
        "consumers": {
            "file_written": {"handler": "file_written", "topics": [SOURCE_TOPIC]}
        },
    }
    return _NOTE + _yaml(settings)


def _free_port() -> int:
    """Return a port for the daemon: known beforehand, so that it can be asked."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _env(folder: Folder, endpoints: Endpoints) -> str:
    data = str(folder.data)
    settings = {
        "FACILITY": FACILITY,
        "KAFKA__BOOTSTRAP_SERVERS": endpoints.kafka,
        "ICAT__URL": endpoints.icat,
        "ICAT__USERNAME": "dataingest",
        "ICAT__PASSWORD_FILE": str(folder.secrets / "dataingest"),
        "IDS__URL": endpoints.ids,
        "IDS__LOCATION__ROOT": data,
        "FILES__ROOTS": json.dumps([data]),
        "FILES__PATH_MAP": json.dumps({"/writer/data": data}),
        "JOURNAL__URL": _journal(folder),
        # Several facilities may be tried beside each other.
        "HEALTH__LISTEN": "127.0.0.1:0",
    }
    lines = [f"export ICAT_STREAM_{k}={shlex.quote(v)}\n" for k, v in settings.items()]
    return f"{_NOTE}# source it, and the shipped sample runs here.\n" + "".join(lines)


def _icat_cfg(folder: Folder, endpoints: Endpoints) -> str:
    parser = configparser.ConfigParser(interpolation=None)
    passwords = accounts(folder)
    for section, (authenticator, user) in SECTIONS.items():
        parser[section] = {
            "url": f"{endpoints.icat}/ICATService/ICAT?wsdl",
            "auth": authenticator,
            "username": user,
            "password": passwords[authenticator][user],
            "idsurl": endpoints.ids,
        }
    text = io.StringIO()
    parser.write(text)
    return _NOTE + text.getvalue()


def _journal(folder: Folder) -> str:
    return f"sqlite:///{folder.journal}"


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
