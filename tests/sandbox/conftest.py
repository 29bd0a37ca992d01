"""A running facility, started as a user would."""

import configparser
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import icat
import pytest

from icat_stream.sandbox.folder import Folder

TOOL = str(Path(sys.executable).with_name("icat_stream"))


def sandbox(
    command: str, folder: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOOL, "sandbox", command, "--dir", str(folder), *options],
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextmanager
def facility_in(path: Path, *options: str) -> Iterator[Folder]:
    done = sandbox("up", path, "--detach", *options)
    assert done.returncode == 0, done.stderr
    try:
        yield Folder(path)
    finally:
        sandbox("down", path)


@pytest.fixture(scope="session")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    with facility_in(tmp_path_factory.mktemp("facility")) as folder:
        yield folder


@contextmanager
def logged_in(folder: Folder, *sections: str) -> Iterator[Iterator[Any]]:
    """Log in with what icat.cfg says, with one section after the other."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(folder.icat_cfg)
    facts = parser[sections[0]]
    # A client takes half a second to make, a login next to nothing.
    client = icat.Client(facts["url"], facts["idsurl"])

    def logins() -> Iterator[Any]:
        for section in sections:
            facts = parser[section]
            credentials = {k: facts[k] for k in ("username", "password")}
            client.login(facts["auth"], credentials)
            yield client

    try:
        yield logins()
    finally:
        client.logout()
