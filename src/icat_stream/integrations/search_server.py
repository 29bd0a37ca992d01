"""An OpenSearch or Elasticsearch server: its connection, bulk requests, its answers."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator

from icat_stream.config import ConfigError, Duration, PasswordSection, Problem, Url
from icat_stream.records import (
    Failure,
    Rejection,
    SystemUnavailable,
    TransientFailure,
    shortened,
)

# Servers take 100 MB, proxies before them often less.
_REQUEST_BYTES = 4 * 2**20
_NOT_FOUND = 404
_CONFLICT = 409
_TOO_LARGE = 413
_BUSY = 429
_REFUSED = (401, 403)
_GONE = (502, 503, 504)
_LONGEST_REASON = 400
_BLOCKS = ("read_only", "read_only_allow_delete", "write", "metadata")
WORD: Mapping[str, Any] = {"type": "keyword", "ignore_above": 1024}
TIME: Mapping[str, Any] = {"type": "date", "format": "strict_date_time"}


class SearchServerOptions(PasswordSection):
    """How a search server is reached."""

    urls: list[Url] = Field(
        ["http://127.0.0.1:9200"],
        min_length=1,
        description="Of the cluster's nodes, or of a proxy before them.",
    )
    username: str | None = Field(None, description="At the server.")
    password: SecretStr | None = Field(None, description="Rather use password_file.")
    password_file: Path | None = Field(None, description="File with the password.")
    ca_file: Path | None = Field(
        None, description="Certificates of those who sign the server's; null: usual."
    )
    timeout: Duration = Field(30.0, gt=0, le=600, description="Of one request.")
    shards: int = Field(1, ge=1, le=1024, description="Of a new index.")
    replicas: int = Field(1, ge=0, le=16, description="Of a new index.")

    @field_validator("password_file", "ca_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            raise ValueError("expected an absolute path")
        return path

    @model_validator(mode="after")
    def _a_password_has_its_user(self) -> "SearchServerOptions":
        if self.username is None and (self.password or self.password_file):
            raise ValueError("username: is required with a password")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One line of a bulk request, and the document under it.

    Parameters
    ----------
    kind
        ``index``, ``create`` or ``delete``.
    id
        Of the document; at most 512 bytes.
    version
        For ``index`` and ``delete``; an older one never overwrites a newer one.
    source
        ``None`` to delete.
    """

    kind: str
    id: str
    version: int | None = None
    source: Mapping[str, Any] | None = None

    def lines(self) -> bytes:
        """Return it as bulk requests have it."""
        about: dict[str, Any] = {"_id": self.id}
        if self.version is not None:
            about |= {"version": self.version, "version_type": "external"}
        lines = [json.dumps({self.kind: about})]
        if self.source is not None:
            lines.append(json.dumps(self.source, allow_nan=False))
        return "".join(f"{line}\n" for line in lines).encode()


@dataclass(frozen=True, slots=True)
class Conflict:
    """There is a document already, with this version or a newer one."""

    reason: str


class MappingRefused(Rejection):
    """The index has no field for what a document says."""


Answer = Failure | Conflict | None
"""What became of an action; ``None``: it is done."""


class SearchServer:
    """Used by several threads; what goes wrong is raised as our failures.

    Parameters
    ----------
    name
        Of the consumer: the system that failures speak of.
    options
        Where it is.

    Raises
    ------
    ConfigError
        The package for it is not installed.
    """

    def __init__(self, name: str, options: SearchServerOptions) -> None:
        try:
            import opensearchpy
        except ImportError as error:
            raise ConfigError(
                [
                    Problem(
                        source="configuration",
                        field="integration",
                        expected="needs the extra search: pip install"
                        f" 'icat-stream[search]' ({error})",
                    )
                ]
            ) from None
        # What it has to say is in its exceptions, too.
        logging.getLogger("opensearch").setLevel(logging.CRITICAL)
        self._name = name
        self._options = options
        self._errors = opensearchpy.exceptions
        self._module = opensearchpy
        self._lock = threading.Lock()
        self._client: Any = None

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        missing: Any = None,
        **params: Any,
    ) -> Any:
        """Ask the server something.

        Parameters
        ----------
        method, path
            Of the request.
        body
            JSON, or the bytes of a bulk request.
        missing
            What to return for what is not there; ``None``: a failure.
        **params
            Of the query.

        Raises
        ------
        Failure
            As the answer is to be understood.
        """
        try:
            return self._open().transport.perform_request(
                method, path, params=params or None, body=body
            )
        except self._errors.TransportError as error:
            if missing is not None and error.status_code == _NOT_FOUND:
                return missing
            raise self._failure(error, f"{method} {path}") from None
        except OSError as error:
            raise self.down(f"options.password_file: {error.strerror}") from None

    def bulk(
        self, actions: Sequence[Action], index: str, *, is_alias: bool = True
    ) -> list[Answer]:
        """Write documents, and return what became of each.

        Parameters
        ----------
        actions
            In their order.
        index
            Where they go.
        is_alias
            Refused if it is none: the server would make an index with guessed types.

        Raises
        ------
        Failure
            Nothing may have been written.
        """
        answers: list[Answer] = []
        for lines in _parts([action.lines() for action in actions]):
            answers += self._bulk(lines, f"/{index}/_bulk", is_alias)
        return answers

    def put_template(self, alias: str, mapping: Mapping[str, Any], **more: Any) -> None:
        """Say how indices are made whose names begin with an alias.

        Parameters
        ----------
        alias
            Theirs, followed by a dash and something else.
        mapping
            Their fields.
        **more
            Of the template.
        """
        settings = {
            "number_of_shards": self._options.shards,
            "number_of_replicas": self._options.replicas,
            # So long the version of what was deleted is kept: a writer that is slow
            # does not bring it back.
            "gc_deletes": "1h",
        }
        body = {
            "index_patterns": [f"{alias}-*"],
            "priority": 200,
            "template": {"settings": {"index": settings}, "mappings": mapping, **more},
        }
        self.call("PUT", f"/_index_template/{alias}", body)

    def make_index(self, name: str, body: Mapping[str, Any] | None = None) -> None:
        """Make an index, unless another process was faster."""
        try:
            self.call("PUT", f"/{name}", body)
        except Rejection as failure:
            if not self.call("GET", f"/{name}", missing={}):
                raise self.down(failure.reason) from failure

    def require_writable(self, name: str, index: Mapping[str, Any]) -> None:
        """Raise if nobody may write to an index.

        Parameters
        ----------
        name
            Its name.
        index
            As the server describes it.

        Raises
        ------
        SystemUnavailable
            With what is to be done.
        """
        blocks = index.get("settings", {}).get("index", {}).get("blocks", {})
        held = [each for each in _BLOCKS if str(blocks.get(each)).lower() == "true"]
        if held:
            raise self.down(
                f"{name} may not be written: index.blocks.{held[0]} is set; free its"
                " disk, or take the block away"
            )

    def refused(
        self, answer: Rejection, how: str, look: Callable[[], None]
    ) -> Rejection | SystemUnavailable:
        """Return whether a document is refused for itself, or because of its index.

        Parameters
        ----------
        answer
            The server's.
        how
            To mend the index.
        look
            Raises what is wrong with it.
        """
        if isinstance(answer, MappingRefused):
            return self.down(f"{answer.reason}; {how}")
        try:
            look()
        except SystemUnavailable as failure:
            return failure
        return answer

    def answers_strangers(self) -> bool:
        """Return whether somebody without credentials is let in, too."""
        stranger = self._options.model_copy(
            update={"username": None, "password": None, "password_file": None}
        )
        try:
            SearchServer(self._name, stranger).call("GET", "/")
        except Failure:
            return False
        return True

    def down(self, reason: str) -> SystemUnavailable:
        """Return the failure that this server is not usable, for whatever document."""
        where = f"{self._name} at {self._options.urls[0]}"
        return SystemUnavailable(
            f"{where}: {reason}", system=self._name, probe_tells=False
        )

    def close(self) -> None:
        """Give connections back."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _open(self) -> Any:
        with self._lock:
            if self._client is None:
                options = self._options
                secret = options.secret()
                auth = (options.username, secret or "") if options.username else None
                given: dict[str, Any] = {}
                if options.ca_file is not None:
                    given["ca_certs"] = str(options.ca_file)
                self._client = self._module.OpenSearch(
                    options.urls,
                    http_auth=auth,
                    timeout=options.timeout,
                    # A request is sent once: what follows is the stream core's matter.
                    max_retries=0,
                    **given,
                )
            return self._client

    def _bulk(self, lines: Sequence[bytes], path: str, is_alias: bool) -> list[Answer]:
        required = "true" if is_alias else "false"
        try:
            found = self.call("POST", path, b"".join(lines), require_alias=required)
        except Rejection as failure:
            # Of one line, or of their sum: halves tell which.
            if len(lines) == 1:
                return [failure]
            middle = len(lines) // 2
            return [
                *self._bulk(lines[:middle], path, is_alias),
                *self._bulk(lines[middle:], path, is_alias),
            ]
        return [self._answer(item) for item in found["items"]]

    def _answer(self, item: Mapping[str, Any]) -> Answer:
        ((kind, answer),) = item.items()
        status, error = answer["status"], answer.get("error")
        if error is None:
            # To delete what is not there is 404, and done.
            return None
        what = f"{kind} of {answer.get('_id')}"
        kind, reason = error.get("type", ""), _reason(error)
        if status == _CONFLICT:
            return Conflict(reason)
        if kind == "strict_dynamic_mapping_exception":
            return MappingRefused(f"{self._name}: {what}: {reason}")
        return self._judged(status, kind, f"{what}: {reason}")

    def _failure(self, error: Any, what: str) -> Failure:
        errors, status = self._errors, error.status_code
        if isinstance(error, errors.ConnectionTimeout):
            return self.down(f"does not answer within {self._options.timeout:g} s")
        if not isinstance(status, int):
            return self.down(f"cannot be reached: {shortened(str(error.info), 200)}")
        told = error.info.get("error", {}) if isinstance(error.info, dict) else {}
        if isinstance(told, str):
            told = {"reason": told}
        if status == 401:
            # The next try reads the file of the password again.
            self.close()
        return self._judged(
            status, told.get("type", ""), f"{what}: HTTP {status} {_reason(told)}"
        )

    def _judged(self, status: int, kind: str, text: str) -> Failure:
        """Return the failure that a status and a type of error are."""
        if kind == "cluster_block_exception":
            return self.down(f"{text}; free its disk or take the block away")
        if status in _REFUSED:
            who = self._options.username or "a guest"
            return self.down(f"{text}: {who} is refused; see options.username")
        if status == _NOT_FOUND:
            return self.down(f"{text}; was the index deleted?")
        if status in _GONE:
            return self.down(text)
        if status == _BUSY or status == 408 or status >= 500:
            return TransientFailure(f"{self._name}: {text}")
        return Rejection(f"{self._name}: {text}")


def _parts(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and size + len(line) > _REQUEST_BYTES:
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield part


def _reason(error: Mapping[str, Any]) -> str:
    cause = error.get("caused_by") or {}
    texts = [str(each.get("reason", "")) for each in (error, cause)]
    return shortened(": ".join(text for text in texts if text), _LONGEST_REASON)
