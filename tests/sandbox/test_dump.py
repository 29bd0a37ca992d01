"""The reference data of the embedded facility, dumped and restored by python-icat."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import icat.client
import pytest

from icat_stream.config.resources import shipped
from icat_stream.sandbox import reference_data
from icat_stream.schemas import load_schemas
from plugins.icat import Server, start_icat

pytestmark = pytest.mark.facility


def script(name: str, server: Server, file: Path, *options: str) -> None:
    login = f"[site]\nurl = {server.url}\nauth = simple\nusername = root\n"
    config = file.parent / f"{name}.cfg"
    config.write_text(f"{login}password = secret\n")
    command = [str(Path(sys.executable).parent / name), "-c", str(config), "-s", "site"]
    done = subprocess.run(
        [sys.executable, *command, *options, "-f", "YAML"],
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def logged_in(server: Server) -> Any:
    client = icat.client.Client(server.url)
    client.login("simple", {"username": "root", "password": "secret"})
    return client


def kinds(client: Any) -> set[tuple[str, str, str]]:
    found = client.search("ParameterType")
    return {(kind.name, kind.units, kind.valueType) for kind in found}


def test_python_icat_restores_its_dump(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    keys = load_schemas(shipped("schemas")).parameter_keys()
    file = tmp_path / "dump.yaml"
    for first in start_icat(tmp_path / "first"):
        client = logged_in(first)
        reference_data.load(client, keys)
        dumped = kinds(client)
        names = {i.name for i in client.search("Investigation")}
        script("icatdump.py", first, file, "-o", str(file))
        client.logout()
    for second in start_icat(tmp_path / "second"):
        script("icatingest.py", second, file, "-i", str(file))
        client = logged_in(second)
        assert kinds(client) == dumped == set(keys)
        assert {i.name for i in client.search("Investigation")} == names
        client.logout()
