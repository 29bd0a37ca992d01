"""Calls of another system's web service: what an answer means, and who waits for it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import urllib3
from pydantic import Field, SecretStr

from icat_stream.config import Duration, PasswordSection, Url
from icat_stream.records import SystemUnavailable, shortened

_LONGEST_ANSWER = 16 * 2**20
_CHUNK = 2**16
_SHOWN = 200
# After "too many requests" without a word of how long; and what is believed of one.
_PAUSE_S = 30.0
_LONGEST_PAUSE_S = 3600.0


class ServiceOptions(PasswordSection):
    """Where a web service is, and who we are there."""

    url: Url = Field(description="Of its API.")
    username: str | None = Field(None, min_length=1, description="For HTTP Basic.")
    password: SecretStr | None = Field(None, description="Rather use password_file.")
    password_file: Path | None = Field(None, description="File with the password.")
    timeout: Duration = Field(
        30.0, gt=0, description="A call without an answer for so long is given up."
    )
    ca_file: Path | None = Field(
        None,
        description="For https: certificates (PEM) of the authorities to trust, instead"
        " of the system's.",
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered.

    Parameters
    ----------
    status
        Of HTTP: a success, or a refusal in the service's own words.
    body
        Its JSON; ``None`` where there is none.
    """

    status: int
    body: Any


class JsonService:
    """Asks a web service; shared by threads.

    Parameters
    ----------
    options
        Where it is.
    name
        Of the consumer, for errors.
    down
        Makes the failure that the service is not usable for anybody.
    media_type
        Of what is sent.
    agent
        How we introduce ourselves.
    """

    def __init__(
        self,
        options: ServiceOptions,
        *,
        name: str,
        down: Callable[[str], SystemUnavailable],
        media_type: str = "application/json",
        agent: str = "icat-stream",
    ) -> None:
        self._options = options
        self._name = name
        self._down = down
        self._media_type = media_type
        self._agent = agent
        self._not_before = 0.0
        self._pool: urllib3.PoolManager | None = None

    def call(self, method: str, path: str, body: object = None) -> Answer:
        """Return the answer to a call.

        Parameters
        ----------
        method
            Of HTTP.
        path
            Below the service's URL, quoted.
        body
            Sent as JSON; ``None`` for nothing.

        Raises
        ------
        SystemUnavailable
            There is no answer, or it is nobody's fault who asks: whether the service
            did what was asked is not known then.
        """
        what = f"{self._name}: {method} {self._options.url.rstrip('/')}{path}"
        wait = self._not_before - time.monotonic()
        if wait > 0:
            raise self._down(
                f"{self._name}: it asked to be left alone for {wait:.0f} s more"
            )
        deadline = time.monotonic() + self._options.timeout
        try:
            response = self._opened().request(
                method,
                self._options.url.rstrip("/") + path,
                body=None if body is None else json.dumps(body).encode(),
                headers=self._headers(body is not None),
                timeout=urllib3.Timeout(total=self._options.timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                text = _read(response, deadline)
            finally:
                # Whatever is left of an answer that was not read would be the next one.
                response.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unanswered(f"{what}: {_words(error)}") from None
        return self._judged(what, response, text)

    def close(self) -> None:
        """Give connections back."""
        if self._pool is not None:
            self._pool.clear()

    def _opened(self) -> urllib3.PoolManager:
        if self._pool is None:
            ca_file = self._options.ca_file
            self._pool = urllib3.PoolManager(
                maxsize=16, ca_certs=None if ca_file is None else str(ca_file)
            )
        return self._pool

    def _headers(self, has_body: bool) -> dict[str, str]:
        headers = {"Accept": self._media_type, "User-Agent": self._agent}
        if has_body:
            headers["Content-Type"] = self._media_type
        if self._options.username is not None:
            try:
                secret = self._options.secret() or ""
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "is not UTF-8"
                file = self._options.password_file
                raise self._down(
                    f"{self._name}: options.password_file: {file} cannot be read:"
                    f" {reason}"
                ) from None
            headers |= urllib3.make_headers(
                basic_auth=f"{self._options.username}:{secret}"
            )
        return headers

    def _judged(
        self, what: str, response: urllib3.BaseHTTPResponse, text: bytes
    ) -> Answer:
        status = response.status
        try:
            body, ours = (json.loads(text) if text.strip() else None), True
        except ValueError:
            body, ours = None, False
        said = f"{what}: HTTP {status}"
        if status == 401:
            raise self._down(
                f"{said}: it refuses our credentials; see options.username and"
                " options.password_file"
            )
        if status == 429:
            pause = _pause(response.headers.get("Retry-After"))
            self._not_before = time.monotonic() + pause
            raise self._down(f"{said}: too many requests; waiting {pause:.0f} s")
        if status in (408, 425) or status >= 500:
            raise self._unanswered(f"{said}{_quoted(text)}")
        if 300 <= status < 400 or not ours:
            raise self._down(
                f"{said}: not the answer of such a service, but of something at its"
                f" place; see options.url{_quoted(text)}"
            )
        return Answer(status, body)

    def _unanswered(self, reason: str) -> SystemUnavailable:
        """Return the failure of a call that may have been carried out.

        If the service answers its ping, the record is in itself the trouble, and not
        tried for ever.
        """
        failure = self._down(reason)
        return SystemUnavailable(failure.reason, system=failure.system)


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Return the body of an answer, which may neither be endless nor trickle in."""
    text = b""
    while chunk := response.read1(_CHUNK):
        text += chunk
        if len(text) > _LONGEST_ANSWER:
            raise OSError(f"its answer is longer than {_LONGEST_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("its answer does not come to an end")
    return text


def _words(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "its host is not known"
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "it cannot be reached"
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
        return "it does not answer in time"
    return shortened(f"{type(error).__name__}: {error}", _SHOWN)


def _quoted(text: bytes) -> str:
    words = " ".join(text[: 4 * _SHOWN].decode("utf-8", "replace").split())
    return f" ({shortened(words, _SHOWN)})" if words else ""


def _pause(retry_after: str | None) -> float:
    """Return how many seconds to wait that a service asks for."""
    seconds = _PAUSE_S
    if retry_after is not None:
        try:
            seconds = float(retry_after)
        except ValueError:
            try:
                when = parsedate_to_datetime(retry_after)
                seconds = (when - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError):
                pass
    return min(max(seconds, 1.0), _LONGEST_PAUSE_S)
