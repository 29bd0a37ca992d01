"""Hostile calls of the data service, over real sockets.

A finding is what no caller may meet: an answer that is none of the service's, a
failure that nobody foresaw (also in the log), no answer, a file of somebody else, a
service that is gone or has grown.
"""

import http.client
import json
import random
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import icat.client
import yaml

from icat_stream.sandbox.children import Child, has_ended
from icat_stream.sandbox.folder import Folder

ACCOUNTS = {"simple": {"root": "r", "idsreader": "i"}, "db": {"jdoe": "j"}}
SECRET = b"content that jdoe may not read"
GROWTH_MB = 100
LONGEST_S = 60
_CALLS = {
    "GET": (
        *("ping", "version", "getApiVersion", "getIcatUrl", "isReadOnly", "isTwoLevel"),
        *("getServiceStatus", "getStatus", "getSize", "getDatafileIds", "isPrepared"),
        *("getData", "getData", "getData", "../health", "../metrics"),
    ),
    "POST": (
        *("prepareData", "prepareData", "getLink", "reset", "archive", "restore"),
        *("write", "put"),
    ),
    "PUT": ("put",),
    "DELETE": ("delete", "prepareData"),
}
_METHODS = ("HEAD", "OPTIONS", "PATCH", "BREW", *_CALLS)
_RANGES = (
    *("bytes=0-0", "bytes=-1", "bytes=5-2", "bytes=0-99999999999999999999", "bytes="),
    *("bytes=1-2,4-5", "items=0-1", "bytes=\u00b2-", "bytes=0-", "bytes=-0"),
)
_TEXTS = (
    *("", "1", "-1", "0", "true", "TRUE", "null", "1,2,3", ",", "9" * 18, "9" * 400),
    *("' OR 1=1", "\u0000", "\ud7ff", "\N{GRINNING FACE}", "..", "/etc/passwd", "a/b"),
    *("a" * 5000, "%", "<x/>", "\r\nX: y", "1e3", "\u0661", " 1 ", "{", "[1]"),
)
_BUG = re.compile(r'"[A-Z]\w*(Error|Exception|Exit|Interrupt): ')


class Calls:
    """Makes calls that were right once.

    Parameters
    ----------
    chance
        Chooses.
    sessions
        Of users that may.
    ids
        Of objects by the parameter that names them.
    """

    def __init__(
        self, chance: random.Random, sessions: list[str], ids: dict[str, list[str]]
    ) -> None:
        self._chance = chance
        self._sessions = sessions
        self._ids = ids

    def call(self) -> tuple[str, str, dict[str, str], bytes]:
        """Return method, target, headers and body."""
        choose, maybe = self._chance.choice, self._chance.random
        method = choose(("GET", "GET", "GET", "POST", "POST", "PUT", "DELETE"))
        name = choose(_CALLS[method])
        if maybe() < 0.1:
            method = choose(_METHODS)
        given = self._parameters()
        target = f"/ids/{name}"
        body = b""
        headers: dict[str, str] = {}
        if maybe() < 0.3:
            headers["Range"] = (
                choose(_RANGES).encode("utf-8", "replace").decode("latin-1")
            )
        if maybe() < 0.1:
            headers["If-Range"] = choose(("*", '"x"', "yesterday", ""))
        encoded = urlencode(given, errors="replace")
        if maybe() < 0.05:
            encoded = self._damaged(encoded)
        if method in ("POST", "PUT") and maybe() < 0.7:
            if maybe() < 0.5:
                body = encoded.encode()
                headers["Content-Type"] = choose(
                    (
                        "application/x-www-form-urlencoded",
                        "multipart/form-data; boundary=x",
                        "multipart/form-data",
                        "text/plain",
                        "",
                    )
                )
            else:
                target += f"?{encoded}"
                body = self._chance.randbytes(self._chance.randrange(300))
            if maybe() < 0.2:
                body = self._multipart(given)
                headers["Content-Type"] = "multipart/form-data; boundary=x"
        else:
            target += f"?{encoded}"
        if maybe() < 0.03:
            target = self._damaged(target).replace(" ", "+") or "/"
        return method, target, headers, body

    def _parameters(self) -> dict[str, str]:
        choose, maybe = self._chance.choice, self._chance.random
        given: dict[str, str] = {}
        if maybe() < 0.9:
            given["sessionId"] = choose(self._sessions)
        for name, values in self._ids.items():
            if maybe() < 0.3:
                count = self._chance.randrange(1, 4)
                given[name] = ",".join(choose(values) for _ in range(count))
        for name in ("name", "outname", "zip", "compress", "preparedId", "username"):
            if maybe() < 0.2:
                given[name] = choose(_TEXTS)
        for name in ("datafileCreateTime", "datafileModTime", "description", "doi"):
            if maybe() < 0.1:
                given[name] = choose(_TEXTS)
        for name in list(given):
            if maybe() < 0.08:
                given[name] = choose(_TEXTS)
            if maybe() < 0.02:
                given[self._damaged(name)] = given.pop(name)
        return given

    def _multipart(self, given: dict[str, str]) -> bytes:
        parts = [
            b'--x\r\nContent-Disposition: form-data; name="'
            + quote_plus(name, errors="replace").encode()
            + b'"\r\n\r\n'
            + value.encode("utf-8", "replace")
            + b"\r\n"
            for name, value in given.items()
        ]
        parts.append(
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
            b"content\r\n--x--\r\n"
        )
        body = b"".join(parts)
        if self._chance.random() < 0.3:
            cut = self._chance.randrange(len(body))
            body = body[:cut] + self._chance.randbytes(3) + body[cut:]
        return body

    def _damaged(self, text: str) -> str:
        where = self._chance.randrange(len(text) + 1)
        match self._chance.randrange(4):
            case 0:
                return text[:where]
            case 1:
                return text[:where] + self._chance.choice("%&=/?#;.*") + text[where:]
            case 2:
                return text[:where] + text[: self._chance.randrange(30)] + text[where:]
        return text[:where] + text[where + 1 :]


def fuzz_calls(count: int, seed: int) -> list[str]:
    """Make hostile calls; return what was wrong."""
    chance = random.Random(seed)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name, _service(Path(name)) as site:
        calls = Calls(chance, site["sessions"], site["ids"])
        asked = site["connection"]()
        before = 0
        for number in range(count):
            if number == min(2000, count // 2):
                before = site["memory"]()
            if number % 1000 == 0:
                # What was there is deleted by now.
                site["fill"]()
            method, target, headers, body = calls.call()
            try:
                asked.request(method, target, body or None, headers)
                answer = asked.getresponse()
                content = answer.read()
            except (http.client.HTTPException, OSError, ValueError) as error:
                # Closed after an answer, or never sent: no harm; silence is.
                asked.close()
                asked = site["connection"]()
                if isinstance(error, TimeoutError):
                    wrong.append(f"no answer: {method} {target[:500]}")
                continue
            wrong += _faults(method, target, answer, content)
            if len(wrong) > 20:
                wrong.append(f"given up after {number:,}")
                break
        asked.close()
        if has_ended(site["child"].pid):
            return [*wrong, "the data service ended"]
        if (grown := site["memory"]() - before) > GROWTH_MB:
            wrong.append(f"memory grew by {grown} MB")
        log = site["child"].log.read_text(errors="replace")
        if "Traceback" in log:
            wrong.append("in the log: " + log[log.index("Traceback") - 500 :][:1500])
    return wrong


def _faults(method: str, target: str, answer: Any, content: bytes) -> Iterator[str]:
    what = f"{answer.status} {content[:300]!r} to {method} {target[:500]}"
    if SECRET in content:
        yield f"a file of somebody else's: {what}"
    if answer.status >= 400 and method != "HEAD" and answer.status != 416:
        try:
            code = json.loads(content)["code"]
        except (ValueError, KeyError, TypeError):
            # What is no HTTP for the server is answered before the service sees it.
            if answer.status != 400 or not content.startswith(b"Invalid HTTP"):
                yield f"no error of the service's: {what}"
            return
        if answer.status == 500 and _BUG.search(content.decode("utf-8", "replace")):
            yield f"not foreseen ({code}): {what}"
    if answer.status > 500 and answer.status not in (501, 503, 507):
        yield f"none of the service's: {what}"


@contextmanager
def _service(path: Path) -> Iterator[dict[str, Any]]:
    """Start an ICAT and a data service with an archive; two users, one with nothing."""
    folder = Folder(path)
    folder.make()
    accounts = folder.secrets / "accounts.json"
    accounts.write_text(json.dumps(ACCOUNTS))
    options = ["--database", str(folder.catalogue), "--accounts", str(accounts)]
    server = Child("icat", ["-m", "icat_stream.sandbox.icat", *options], folder)
    url = server.ready()["url"]
    config = folder.run / "ids.yaml"
    archive = path / "archive"
    archive.mkdir()
    config.write_text(
        yaml.safe_dump(
            {
                "icat": {"url": url},
                "listen": "127.0.0.1:0",
                "folder": str(path / "state"),
                "main_storage": {"root": str(folder.data)},
                "archive_storage": {"root": str(archive)},
                "reader": {"auth": "simple", "username": "idsreader", "password": "i"},
                "root_users": ["simple/root"],
            }
        )
    )
    child = Child(
        "ids", ["-m", "icat_stream.dataservice", "--config", str(config)], folder
    )
    try:
        address = urlsplit(child.ready()["url"])
        root, jdoe = _login(url, "simple", "root", "r"), _login(url, "db", "jdoe", "j")
        ids = _fill(root, folder.data)
        investigation = root.search("Investigation [name='open']")[0]
        yield {
            # Root's is missing: what comes back is never the hidden file.
            "sessions": [jdoe.sessionId, jdoe.sessionId, "0" * 36, ""],
            "ids": ids,
            "fill": lambda: _files(root, investigation, b"content", folder.data, ids),
            "child": child,
            "memory": lambda: _memory(child.pid),
            "connection": lambda: http.client.HTTPConnection(
                address.hostname or "", address.port, timeout=LONGEST_S
            ),
        }
    finally:
        icat.client.Client.cleanupall()
        child.stop()
        server.stop()


def _login(url: str, auth: str, user: str, password: str) -> Any:
    client = icat.client.Client(url)
    client.login(auth, {"username": user, "password": password})
    return client


def _fill(root: Any, data: Path) -> dict[str, list[str]]:
    """Create one dataset that jdoe may do all with, and one that is hidden."""
    facility = root.new("Facility", name="EXAMPLE")
    facility.create()
    kind = root.new("InvestigationType", name="experiment", facility=facility)
    kind.create()
    raw = root.new("DatasetType", name="raw", facility=facility)
    raw.create()
    nexus = root.new("DatafileFormat", name="NeXus", version="1", facility=facility)
    nexus.create()
    ids: dict[str, list[str]] = {
        "investigationIds": [],
        "datasetIds": [],
        "datafileIds": [],
        "datasetId": [],
        "datafileFormatId": [str(nexus.id)],
    }
    for name in ("open", "hidden"):
        investigation = root.new(
            "Investigation",
            name=name,
            visitId="1",
            title="t",
            facility=facility,
            type=kind,
        )
        investigation.create()
        ids["investigationIds"].append(str(investigation.id))
    _files(root, investigation, SECRET, data, ids)
    where = "Investigation [name='open']"
    for what in (
        where,
        f"Dataset <-> {where}",
        f"Datafile <-> Dataset <-> {where}",
        "Facility",
        "DatafileFormat",
        "DatasetType",
    ):
        root.new("Rule", what=what, crudFlags="CRUD").create()
    return ids


def _files(
    root: Any, investigation: Any, content: bytes, data: Path, ids: dict[str, list[str]]
) -> None:
    """Create a dataset of three files, and forget the oldest but the hidden one."""
    dataset = root.new(
        "Dataset",
        name=f"d{time.monotonic_ns()}",
        type=root.search("DatasetType")[0],
        investigation=investigation,
        complete=True,
    )
    dataset.create()
    for number in range(3):
        location = f"{investigation.name}/{dataset.id}-{number}"
        path = data / location
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        file = root.new(
            "Datafile",
            name=f"f{number}",
            location=location,
            fileSize=len(content),
            dataset=dataset,
        )
        file.create()
        ids["datafileIds"].append(str(file.id))
    ids["datasetIds"].append(str(dataset.id))
    ids["datasetId"].append(str(dataset.id))
    del ids["datafileIds"][3:-6], ids["datasetIds"][1:-2], ids["datasetId"][1:-2]


def _memory(pid: int) -> int:
    """Return the megabytes that a process holds."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found[1]) // 1024 if found else 0
