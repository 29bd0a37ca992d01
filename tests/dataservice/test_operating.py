"""What operators see: health, metrics, traces, logs, starts and stops."""

import json
import re
import signal
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from icat.ids import DataSelection

from plugins.commands import Commands, Done

from .conftest import Site, start_service
from .two_levels import Service, service, until

pytestmark = pytest.mark.facility


def get(made: Service, path: str) -> tuple[int, str]:
    url = made.url.removesuffix("/ids") + path
    try:
        with urllib.request.urlopen(url) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_metrics_and_traces(site: Site) -> None:
    telemetry = {"console": True, "log_level": "info"}
    with service(site, "observed", telemetry=telemetry) as made:
        dataset = made.dataset("d")
        file = made.put(dataset, "a", b"12345")
        made.idle()
        assert made.get(datafileIds=file) == b"12345"
        made.call("GET", "getData", datafileIds=987654321)

        status, text = get(made, "/health")
        found = json.loads(text)
        assert (status, found["healthy"]) == (200, True)
        assert set(found["checks"]) == {"state", "icat", "main_storage"}

        status, text = get(made, "/metrics")
        values = dict(
            line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#"
        )
        assert values['ids_calls_total{call="put",status="201"}'] == "1"
        assert values['ids_calls_total{call="getData",status="404"}'] == "1"
        assert values['ids_bytes_total{direction="in"}'] == "5"
        assert values['ids_bytes_total{direction="out"}'] == "5"
        assert values['ids_operations_total{kind="write",result="done"}'] == "1"
        assert int(values['ids_icat_calls_total{call="create"}']) == 1
        assert values['ids_call_seconds_count{call="put"}'] == "1"
        assert values['ids_call_seconds_bucket{call="put",le="+Inf"}'] == "1"
        assert values["ids_failures"] == values["ids_possible_orphans"] == "0"
        for line in text.splitlines():
            assert re.fullmatch(
                r"# (HELP|TYPE) \w+ .+|\w+(\{[^{}]*\})? [0-9.e+-]+", line
            )

        assert made.child is not None
        log = made.child.log.read_text()
        assert site.client.sessionId not in log
        assert "call=put status=201" in log
        spans = [json.loads(x) for x in log.splitlines() if x.startswith('{"name"')]
        [put] = [s for s in spans if s["name"] == "ids.put"]
        children = [
            s["name"] for s in spans if s["parent_id"] == put["context"]["span_id"]
        ]
        assert "icat.search" in children
        assert "icat.create" in children


def test_a_trace_begun_elsewhere_goes_on(site: Site) -> None:
    with service(site, "traced", telemetry={"console": True}) as made:
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        request = urllib.request.Request(f"{made.url}/ping", headers=headers)
        with urllib.request.urlopen(request) as response:
            assert response.read() == b"IdsOK"
        assert made.child is not None
        log = made.child.log
        until(lambda: f"0x{trace}" in log.read_text())


def test_an_icat_that_is_down_is_told(site: Site) -> None:
    made = Service(site, "alone")
    made.start(icat={"url": "http://127.0.0.1:9"})
    try:
        status, text = get(made, "/health")
        assert status == 503
        assert "does not answer" in json.loads(text)["checks"]["icat"]
    finally:
        made.stop()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reader": None}, "archive_storage needs a reader"),
        ({"archive_storage": None, "watermarks": {"high": 2, "low": 1}}, "need an arc"),
        ({"watermarks": {"high": 1, "low": 2}}, "watermarks: Value error, low must be"),
        ({"archive_storage": {"root": "{main}/in"}}, "one is inside the other"),
        ({"main_storage": {"root": "{main}/none"}}, "is no folder: create it"),
        ({"main_storage": {"root": "{main}", "colour": 1}}, "has no such option"),
        ({"reader": {"auth": "simple", "username": "root"}}, "reader: ICAT at http"),
        (
            {"reader": {"auth": "simple", "username": "x", "password_file": "none"}},
            "reader.password_file",
        ),
        ({"listen": "127.0.0.1:{taken}"}, "Address already in use"),
        ({"icat": {"url": "http://u:S3CRET@here"}}, "expected a URL without a user"),
        ({"icat": {"url": "http://here:S3CRET"}}, "expected a port from 0 to 65535"),
        ({"listen": "nonsense"}, "listen: String should match"),
        ({"storage_unit": "tape"}, "storage_unit: Input should be 'dataset' or"),
        ({"listen": "127.0.0.1:99999"}, "listen 127.0.0.1:99999: bind(): port"),
        ({"queue": {"workers": 0}}, "queue.workers: Input should be greater"),
        ({"queue": {"interval": 0}}, "queue.interval: Input should be greater"),
        ({"folder": "{main}/../file/x"}, "Not a directory"),
        ({"folder": "{main}/state"}, "state lies in main_storage.root"),
        ({"folder": "{main}/../aside/state"}, "state lies in main_storage.root"),
        ({"folder": "archive/state"}, "state lies in archive_storage.root"),
        ({"archive_storage": {"root": "{main}"}}, "one is inside the other"),
        ({"links": {"folder": "{main}/links"}}, "links.folder"),
        ({"telemetry": {"log_file": "{main}/log"}}, "telemetry.log_file"),
        (
            {
                "reader": {
                    "auth": "simple",
                    "username": "idsreader",
                    "password_file": "{main}/in/secret",
                }
            },
            "secret lies in main_storage.root",
        ),
        ({"main_storage": {"root": "{main}/.."}}, "the configuration"),
        ({"tls": {"certificate": "none", "key": "none"}}, "No such file or directory"),
        ({"tls": {"certificate": "file", "key": "file"}}, "cannot be used"),
        ({"tls": {"certificate": "file"}}, "tls.key: Field required"),
        ({"main_storage": {"root": "any-case"}}, "which differ in case only"),
        ({"main_storage": {"root": "any-form"}}, "differ in Unicode's normal form"),
    ],
)
def test_a_wrong_configuration_is_told_at_the_start(
    site: Site, start, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    main = tmp_path / "main"
    (main / "in").mkdir(parents=True)
    (main / "in" / "secret").write_text("i")
    (tmp_path / "file").touch()
    (tmp_path / "aside").symlink_to(main)
    (tmp_path / "archive").mkdir()
    # As where macOS, Windows or a share of theirs takes two names for one.
    for name, other in (
        ("any-case", "PROBE-\u00e9"),
        ("any-form", "probe-e\u0301"),
    ):
        incoming = tmp_path / name / ".incoming"
        incoming.mkdir(parents=True)
        (incoming / other).symlink_to("probe-\u00e9")
    settings = {
        "icat": {"url": site.icat_url},
        "listen": "127.0.0.1:0",
        "main_storage": {"root": str(main)},
        "archive_storage": {"root": "archive"},
        "reader": {"auth": "simple", "username": "idsreader", "password": "i"},
        **changes,
    }
    taken = site.ids_url.rsplit(":", 1)[1].split("/")[0]
    text = yaml.safe_dump(settings).replace("{main}", str(main))
    config = tmp_path / "ids.yaml"
    config.write_text(text.replace("{taken}", taken))
    ended = start(config)
    assert ended.code == 2
    assert message in ended.err
    assert "S3CRET" not in ended.err
    assert "Traceback" not in ended.err


def test_a_configuration_that_is_no_yaml_does_not_show_what_it_holds(
    start, tmp_path: Path
) -> None:
    config = tmp_path / "ids.yaml"
    config.write_text('reader:\n  password: "qwertz\n  auth: simple\n')
    ended = start(config)
    assert ended.code == 2
    assert f"{config}:" in ended.err
    assert "is no YAML" in ended.err
    assert "qwertz" not in ended.err


TLS = Path(__file__).parent / "tls"


def test_https_with_a_certificate_of_its_own(site: Site) -> None:
    tls = {"certificate": str(TLS / "certificate.pem"), "key": str(TLS / "key.pem")}
    (site.folder.path / "https").mkdir()
    child, url = start_service(
        site.folder,
        "https",
        icat={"url": site.icat_url},
        listen="127.0.0.1:0",
        main_storage={"root": str(site.folder.path / "https")},
        tls=tls,
    )
    try:
        assert url.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=tls["certificate"])
        with urllib.request.urlopen(f"{url}/ping", context=trusted) as response:
            assert response.read() == b"IdsOK"
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(f"{url}/ping")
        parts = urllib.parse.urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port)) as plain:
            plain.sendall(b"GET /ids/ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"IdsOK" not in plain.recv(1000)
    finally:
        child.stop()


def test_who_does_not_speak_tls_counts(site: Site) -> None:
    tls = {"certificate": str(TLS / "certificate.pem"), "key": str(TLS / "key.pem")}
    (site.folder.path / "silent").mkdir()
    child, url = start_service(
        site.folder,
        "silent",
        icat={"url": site.icat_url},
        listen="127.0.0.1:0",
        main_storage={"root": str(site.folder.path / "silent")},
        tls=tls,
        limits={"connections": 20, "head": "5s"},
    )
    trusted = ssl.create_default_context(cafile=tls["certificate"])
    parts = urllib.parse.urlsplit(url)
    try:
        with ExitStack() as stack:
            silent = [
                stack.enter_context(
                    socket.create_connection((parts.hostname, parts.port), timeout=60)
                )
                for _ in range(100)
            ]
            # Too many are refused at once, and the others when their time is over.
            for connection in reversed(silent):
                assert ended(connection)
            with urllib.request.urlopen(f"{url}/ping", context=trusted) as response:
                assert response.read() == b"IdsOK"
        # What comes with the end of the handshake is not lost.
        for _ in range(5):
            with (
                socket.create_connection((parts.hostname, parts.port)) as plain,
                trusted.wrap_socket(plain, server_hostname=parts.hostname) as spoken,
            ):
                head = "GET /ids/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                spoken.sendall(head.encode())
                found = b""
                while piece := spoken.recv(65536):
                    found += piece
                assert found.endswith(b"IdsOK")
    finally:
        child.stop()


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_two_on_one_folder(site: Site, start) -> None:
    with service(site, "first") as made:
        ended = start(site.folder.run / f"{made.name}.yaml")
        assert ended.code == 2
        assert "is in use by another data service" in ended.err


def test_a_stop_lets_finish_what_runs_and_parks_the_rest(site: Site) -> None:
    archive = site.folder.path / "stopped-archive"
    made = Service(site, "stopped")
    made.start()
    dataset, _ = made.offline("d")
    made.stop()
    storage = {"plugin": "storages:SlowArchive", "root": str(archive)}
    archive.mkdir()
    made.start(archive_storage=storage, stop_within=1)
    made.ids.restore(DataSelection([dataset]))
    until(lambda: made.service_status()["locks"])
    assert made.child is not None
    process = made.child._process
    process.send_signal(signal.SIGTERM)
    # The archive would hang for ever.
    assert process.wait(60) == 0
    made.start(queue={"interval": "1h"})
    try:
        assert made.queued(dataset) == ["RESTORE_REQUESTED"]
    finally:
        made.stop()


def test_the_commands(site: Site, commands: Commands, tmp_path: Path) -> None:
    def command(*arguments: str) -> Done:
        return commands.run(
            "icat_stream", "dataservice", *arguments, timeout=60, COLUMNS="200"
        )

    with service(site, "commanded") as made:
        made.put(made.dataset("d"), "a")
        made.idle()
        orphan = made.main / "1" / "2" / "3f6e1f0e-6f5c-4d2f-8a53-0123456789ab"
        orphan.parent.mkdir(parents=True, exist_ok=True)
        orphan.write_bytes(b"nobody's")
        config = str(site.folder.run / f"{made.name}.yaml")
        ended = command("check", "-c", config)
        line = "orphan 1/2/3f6e1f0e-6f5c-4d2f-8a53-0123456789ab"
        assert line in ended.out
        assert ended.code == 3
        ended = command(
            "-c", config, "check", "--repair", "--older-than", "0s", "--output", "json"
        )
        findings = [json.loads(line) for line in ended.out.splitlines()]
        assert [f["repaired"] for f in findings if f["kind"] == "orphan"] == [True]
        assert not orphan.exists()
        assert command("check", "-c", config, "--older-than", "soon").code == 2
    assert command("check").code == 2
    assert command().code == 2
    assert command("-c", str(tmp_path / "none.yaml")).code == 2
