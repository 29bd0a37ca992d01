"""A stand-in of DataCite: refuses what the real one refuses, and is as treacherous.

It keeps what it is told only if it knows the attribute, ignores events that do not fit
the state, says that all is well where the handle system did not answer, and checks what
the XML schema checks, not more.
"""

import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

ACCOUNT, PASSWORD, PREFIX = "MUST.ER", "d4tacite-s3cret", "10.5072"
_KNOWN = {
    "doi",
    "url",
    "event",
    "schemaVersion",
    "titles",
    "publisher",
    "types",
    "creators",
    "contributors",
    "dates",
    "descriptions",
    "subjects",
    "alternateIdentifiers",
    "rightsList",
    "language",
    "publicationYear",
    "fundingReferences",
    "relatedIdentifiers",
    "sizes",
    "formats",
}
_DOI = re.compile(r"10\.[0-9]{4,5}/[-._;()/:a-zA-Z0-9*~$=]+")
_STEPS = {
    "register": {"draft": "registered"},
    "publish": {"draft": "findable", "registered": "findable"},
    "hide": {"findable": "registered"},
    "show": {"registered": "findable"},
}
_RESOURCES = {"Dataset", "Collection", "Text", "Software", "Project", "Instrument"}
_CONTRIBUTORS = {"DataCollector", "ContactPerson", "ProjectManager", "ProjectMember"}
_DATES = {"Accepted", "Available", "Collected", "Created", "Issued", "Withdrawn"}


class DataCiteServer:
    """Keeps DOIs, and may be down, slow, or lose its answers."""

    def __init__(self) -> None:
        self.dois: dict[str, dict[str, Any]] = {}
        self.owners: dict[str, str] = {}
        self.prefixes = [PREFIX, "10.80000"]
        self.domains = ["example.org"]
        self.calls: list[str] = []
        # Each DOI's way: state after each write.
        self.history: dict[str, list[str]] = {}
        self.status = 200
        self.retry_after: str | None = None
        self.handles = True
        self.dropped: set[str] = set()
        # So many of the next writes are done, and not answered.
        self.lost_answers = 0
        self.refused = ""
        self.held: threading.Event | None = None
        self.arrived = threading.Event()
        self.lock = threading.RLock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._do(fake._get)

            def do_PUT(self) -> None:
                self._do(fake._put)

            def _do(self, act: Any) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                path = unquote(urlsplit(self.path).path)
                fake.calls.append(f"{self.command} {path}")
                if fake.status != 200:
                    extra = (
                        {"Retry-After": fake.retry_after} if fake.retry_after else {}
                    )
                    self._say(fake.status, {"errors": [{"title": "busy"}]}, extra)
                    return
                login = f"{ACCOUNT}:{PASSWORD}".encode()
                expected = f"Basic {base64.b64encode(login).decode()}"
                if self.headers["Authorization"] != expected:
                    bad = {"status": "401", "title": "Bad credentials."}
                    self._say(401, {"errors": [bad]})
                    return
                if self.command == "PUT":
                    held, fake.held = fake.held, None
                    if held is not None:
                        fake.arrived.set()
                        held.wait(30)
                with fake.lock:
                    status, answer = act(path, urlsplit(self.path).query, body)
                    lost = self.command == "PUT" and fake.lost_answers > 0
                    fake.lost_answers -= lost
                if lost:
                    self.close_connection = True
                    self.connection.close()
                    return
                self._say(status, answer)

            def _say(self, status: int, answer: Any, extra: Any = None) -> None:
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.api+json")
                self.send_header("Content-Length", str(len(text)))
                for name, value in (extra or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def writes(self) -> list[str]:
        return [call for call in self.calls if call.startswith("PUT")]

    def _get(self, path: str, query: str, body: bytes) -> tuple[int, Any]:
        if path == f"/repositories/{ACCOUNT.lower()}":
            linked = [{"id": each, "type": "prefixes"} for each in self.prefixes]
            data = {
                "id": ACCOUNT.lower(),
                "type": "repositories",
                "relationships": {"prefixes": {"data": linked}},
            }
            return 200, {"data": data}
        doi = path.removeprefix("/dois/").lower()
        found = self.dois.get(doi)
        if found is None or (
            self.owners[doi] != ACCOUNT.lower() and found["state"] != "findable"
        ):
            missing = "The resource you are looking for doesn't exist."
            return 404, {"errors": [{"status": "404", "title": missing}]}
        return 200, self._shown(doi, query)

    def _shown(self, doi: str, query: str = "") -> Any:
        attributes = dict(self.dois[doi])
        if "publisher=true" not in query and isinstance(
            attributes.get("publisher"), dict
        ):
            attributes["publisher"] = attributes["publisher"].get("name")
        if "affiliation=true" not in query:
            for field in ("creators", "contributors"):
                attributes[field] = [
                    {**p, "affiliation": [a.get("name") for a in p["affiliation"]]}
                    for p in attributes.get(field) or ()
                ]
        owner = {"data": {"id": self.owners[doi], "type": "clients"}}
        data = {
            "id": doi,
            "type": "dois",
            "attributes": attributes,
            "relationships": {"client": owner},
        }
        return {"data": data}

    def _put(self, path: str, query: str, body: bytes) -> tuple[int, Any]:
        try:
            data = json.loads(body)["data"]
            sent = data["attributes"]
        except (ValueError, KeyError, TypeError):
            wrong = "You need to provide a payload following the JSONAPI spec"
            return 400, {"errors": [{"status": "400", "title": wrong}]}
        doi = path.removeprefix("/dois/").lower()
        if not _DOI.fullmatch(doi):
            return self._unprocessable("doi", "Is invalid", doi)
        refused = {"status": "403", "title": "You are not authorized."}
        if doi.partition("/")[0] not in self.prefixes:
            return 403, {"errors": [refused]}
        if self.owners.get(doi, ACCOUNT.lower()) != ACCOUNT.lower():
            return 403, {"errors": [refused]}
        if self.refused and self.refused in json.dumps(sent):
            return self._unprocessable("titles", "is refused", doi)
        known = {k: v for k, v in sent.items() if k in _KNOWN - self.dropped}
        event = known.pop("event", None)
        known.pop("doi", None)
        is_new = doi not in self.dois
        before = self.dois.get(doi, {"state": "draft", "registered": None})
        after = {**before, **json.loads(json.dumps(known))}
        after["state"] = _STEPS.get(event, {}).get(before["state"], before["state"])
        url = after.get("url")
        if url is not None and not re.match(r"^(ftp|http|https)://\S+$", url):
            return self._unprocessable("url", "Is invalid", doi)
        if after["state"] != "draft":
            wrong = self._wrong(after)
            if wrong is not None:
                return self._unprocessable(*wrong, doi)
            if self.handles and after["registered"] is None:
                after["registered"] = "2026-01-01T00:00:00Z"
        self.dois[doi] = after
        self.owners.setdefault(doi, ACCOUNT.lower())
        self.history.setdefault(doi, []).append(after["state"])
        return (201 if is_new else 200), self._shown(doi)

    def _wrong(self, held: dict[str, Any]) -> tuple[str, str] | None:
        if not held.get("url"):
            return "url", "Can't be blank"
        if not any(urlsplit(held["url"]).hostname == each for each in self.domains):
            return "url", f"URL {held['url']} is not allowed by repository"
        if not held.get("creators"):
            return "creators", "Missing child element(s). Expected is ( creator )."
        if not held.get("titles"):
            return "titles", "Missing child element(s). Expected is ( title )."
        publisher = held.get("publisher") or {}
        if not (publisher if isinstance(publisher, str) else publisher.get("name")):
            return "publisher", "[facet 'minLength'] The value has a length of '0'"
        if not re.fullmatch(r"[0-9]{4}", str(held.get("publicationYear", ""))):
            return "publicationYear", "The value is not accepted by the pattern"
        if (held.get("types") or {}).get("resourceTypeGeneral") not in _RESOURCES:
            return "types", "is not an element of the set"
        for each in (*held["creators"], *(held.get("contributors") or ())):
            if not isinstance(each.get("nameIdentifiers", []), list):
                return "creators", "nameIdentifiers is no array"
        for each in held.get("contributors") or ():
            if each.get("contributorType") not in _CONTRIBUTORS or not each.get("name"):
                return "contributors", "is not an element of the set"
        for each in held.get("dates") or ():
            if each.get("dateType") not in _DATES:
                return "dates", "is not an element of the set"
        return None

    def _unprocessable(self, source: str, title: str, doi: str) -> tuple[int, Any]:
        error = {"source": source, "title": f"DOI {doi}: {title}", "uid": doi}
        return 422, {"errors": [error]}
