"""The embedded facility: up, used, down."""

import json
import os
import shlex
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from icat_stream.config import load
from icat_stream.config.resources import shipped
from icat_stream.sandbox.contract import SECTIONS
from icat_stream.sandbox.folder import Folder
from icat_stream.schemas import load_schemas

from .conftest import facility_in, logged_in, sandbox

pytestmark = pytest.mark.facility


def children(folder: Folder) -> list[int]:
    return [e["pid"] for e in json.loads((folder.run / "children.json").read_text())]


def running(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def wait_until_ended(pids: list[int]) -> None:
    deadline = time.monotonic() + 120
    while any(map(running, pids)):
        assert time.monotonic() < deadline, f"{pids} still run"
        time.sleep(0.02)


def test_the_contract_files(facility: Folder) -> None:
    endpoints = json.loads(facility.endpoints.read_text())
    assert list(endpoints) == ["kafka", "icat", "ids", "journal", "data", "web"]
    assert endpoints["data"] == str(facility.data)
    settings = load(facility.config, {})
    assert settings.facility == "EXAMPLE"
    assert settings.kafka.bootstrap_servers == endpoints["kafka"]
    assert settings.icat.url == endpoints["icat"]
    assert settings.ids.url == endpoints["ids"]
    assert settings.journal.url == endpoints["journal"]
    assert settings.files.roots == [facility.data]
    assert settings.ids.location.root == facility.data
    assert settings.icat.secret()
    assert load_schemas(settings.schemas or Path()).parameter_keys()


def test_the_environment_for_the_shipped_sample(
    facility: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in facility.env.read_text().splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] == "export"
            name, _, value = words[1].partition("=")
            monkeypatch.setenv(name, value)
    endpoints = json.loads(facility.endpoints.read_text())
    settings = load(shipped("config.sample.yaml"), {})
    assert settings.kafka.bootstrap_servers == endpoints["kafka"]
    assert settings.icat.url == endpoints["icat"]
    assert settings.icat.secret() == load(facility.config, {}).icat.secret()
    assert settings.ids.url == endpoints["ids"]
    assert settings.journal.url == endpoints["journal"]
    assert settings.files.roots == [facility.data]


def test_secrets_are_for_the_owner_alone(facility: Folder) -> None:
    files = [facility.icat_cfg, *facility.secrets.iterdir()]
    assert len(files) > len(SECTIONS)
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert stat.S_IMODE(facility.secrets.stat().st_mode) == 0o700


def test_every_account_can_log_in(facility: Folder) -> None:
    with logged_in(facility, *SECTIONS) as clients:
        for account, client in zip(SECTIONS.values(), clients, strict=True):
            assert client.getUserName() == "/".join(account)
            assert [f.name for f in client.search("Facility")] == ["EXAMPLE"]
            client.ids.ping()


def test_people_see_what_is_theirs(facility: Folder) -> None:
    with logged_in(facility, "ingest", "jdoe", "acord") as clients:
        seen = [
            {f"{i.name}/{i.visitId}" for i in client.search("Investigation")}
            for client in clients
        ]
    assert seen[0] >= {"240815/1", "240815/2", "250042/1"}
    assert seen[1:] == [{"240815/1"}, {"240815/1", "240815/2"}]


def test_a_second_one_in_the_same_folder_is_refused(facility: Folder) -> None:
    for options in ((), ("--detach",)):
        done = sandbox("up", facility.path, *options)
        assert done.returncode == 1
        assert "runs in" in done.stderr
        assert "sandbox down" in done.stderr
    done = sandbox("status", facility.path)
    assert done.returncode == 0
    assert str(facility.holder()) in done.stdout


def test_down_ends_all_and_up_finds_what_was(tmp_path: Path) -> None:
    with facility_in(tmp_path) as folder:
        before = children(folder)
        password = (folder.secrets / "root").read_text()
        with logged_in(folder, "root") as clients:
            next(clients).new("User", name="db/later").create()
        schema = next(folder.schemas.glob("*.yaml"))
        schema.write_text(schema.read_text() + "\n# ours\n")
        done = sandbox("down", tmp_path)
        assert (done.returncode, done.stdout) == (0, "ended\n")
        assert not any(map(running, before))
        assert not folder.endpoints.exists()
        assert sandbox("status", tmp_path).returncode == 1
        assert "nothing runs" in sandbox("down", tmp_path).stdout
        with facility_in(tmp_path, "--timezone", "Europe/Berlin"):
            assert (folder.secrets / "root").read_text() == password
            assert schema.read_text().endswith("# ours\n")
            with logged_in(folder, "root") as clients:
                client = next(clients)
                assert len(client.search("User [name='db/later']")) == 1
                assert len(client.search("Facility")) == 1


def test_ctrl_c_ends_one_in_the_foreground(tmp_path: Path) -> None:
    from .conftest import TOOL

    process = subprocess.Popen(
        [TOOL, "sandbox", "up", "--dir", str(tmp_path)], stdout=subprocess.PIPE
    )
    folder = Folder(tmp_path)
    assert process.stdout is not None
    with process.stdout:
        assert b": up after" in process.stdout.readline()
        before = children(folder)
        assert len(before) == 4
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not any(map(running, before))
    assert not folder.endpoints.exists()


def test_a_crash_of_a_part_ends_the_rest(tmp_path: Path) -> None:
    with facility_in(tmp_path) as folder:
        before = children(folder)
        icat = json.loads((folder.run / "icat.json").read_text())["pid"]
        os.kill(icat, signal.SIGKILL)
        wait_until_ended(before)
        deadline = time.monotonic() + 120
        while folder.holder() is not None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        log = (folder.log / "supervisor.log").read_text()
        assert f"icat (pid {icat}) ended by itself" in log
        assert not folder.endpoints.exists()


def test_what_a_killed_supervisor_leaves_is_found(tmp_path: Path) -> None:
    with facility_in(tmp_path) as folder:
        before = children(folder)
        supervisor = folder.holder()
        assert supervisor is not None
        os.kill(supervisor, signal.SIGKILL)
        wait_until_ended([supervisor])
        assert any(map(running, before))
        assert sandbox("status", tmp_path).returncode == 1
        assert sandbox("down", tmp_path).stdout == "ended\n"
        assert not any(map(running, before))


def test_no_other_process_is_ever_ended(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.make()
    with subprocess.Popen(["sleep", "60"]) as other:
        (folder.run / "supervisor.pid").write_text(str(other.pid))
        (folder.run / "children.json").write_text(
            json.dumps([{"pid": other.pid, "born": 1}])
        )
        assert "nothing runs" in sandbox("down", tmp_path).stdout
        assert other.poll() is None
        other.kill()


def test_a_part_that_does_not_start_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.make()
    folder.loaded.touch()
    folder.catalogue.mkdir()
    done = sandbox("up", tmp_path, "--detach")
    assert done.returncode == 1
    assert "icat ended with" in done.stderr
    assert "unable to open database file" in done.stderr
    assert folder.holder() is None
    assert not folder.endpoints.exists()


def test_a_zone_that_is_none(tmp_path: Path) -> None:
    done = sandbox("up", tmp_path, "--timezone", "Mars/Base")
    assert done.returncode == 1
    assert "--timezone Mars/Base: expected" in done.stderr


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    done = sandbox("up", tmp_path, "--detach", "--kafka", "127.0.0.1:9")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("no Kafka answers at 127.0.0.1:9: ")
    assert not (tmp_path / "icat.db").exists()


def test_a_word_that_is_no_kafka(tmp_path: Path) -> None:
    done = sandbox("up", tmp_path, "--detach", "--kafka", "emebdded")
    assert done.returncode == 1
    assert "emebdded" in done.stderr
    assert "embedded, java or HOST:PORT" in done.stderr


def test_a_reset_facility_is_empty_and_keeps_what_was_configured(
    tmp_path: Path,
) -> None:
    with facility_in(tmp_path) as folder:
        secret = (folder.secrets / "root").read_text()
        schema = folder.schemas / "isis.yaml"
        schema.write_text(f"# mine\n{schema.read_text()}")
        assert sandbox("announce", tmp_path, "--count", "2").returncode == 0
        assert list(folder.data.rglob("*.nxs"))
        done = sandbox("reset", tmp_path, "--yes")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "ended and emptied\n"
        assert not folder.data.exists()
        assert not folder.catalogue.exists()
        assert schema.read_text().startswith("# mine\n")
    with facility_in(tmp_path) as folder:
        assert (folder.secrets / "root").read_text() == secret
        with logged_in(folder, "root") as logins:
            [client] = list(logins)
            assert client.search("SELECT COUNT(i) FROM Instrument i") != [0]
    # What is no facility is not emptied.
    other = tmp_path / "other"
    other.mkdir()
    (other / "data").mkdir()
    done = sandbox("reset", other, "--yes")
    assert done.returncode == 1
    assert "is no facility's folder" in done.stderr
    assert (other / "data").exists()


def test_the_daemon_of_a_facility_can_be_asked_how_it_is(facility: Folder) -> None:
    listen = load(facility.config, {}).health.listen
    assert listen is not None
    assert not listen.endswith(":0")
