"""Logging in at an OpenID Connect provider: authorization code with PKCE.

ICAT's authn.oidc takes any token of its provider, also one that was made for somebody
else's application; what is for us is told apart here, before ICAT sees it.
"""

import base64
import hashlib
import hmac
import http.client
import json
import secrets
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import jwt

from icat_stream.config import OidcSettings, is_loopback
from icat_stream.records import SystemUnavailable

from .accounts import LoginWrong
from .sign_ins import SIGN_ON_S

SYSTEM = "the login provider"
_TIMEOUT_S = 10.0
_LONGEST_ANSWER = 1_000_000
_DISCOVERED_S = 3600.0
_MOST_PENDING = 1_000
_LEEWAY_S = 30
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class _Pending:
    """A login that was begun.

    Parameters
    ----------
    goal
        Where to go on after it.
    cookie, state, nonce, verifier
        What has to come back, each by another way.
    began
        Monotonic.
    """

    goal: str
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    began: float = field(default_factory=time.monotonic)


class SingleSignOn:
    """Sends people to the provider, and understands with what they come back.

    Safe for threads.

    Parameters
    ----------
    settings
        Of the provider.
    redirect_uri
        Where people come back, as the provider knows it.
    """

    def __init__(self, settings: OidcSettings, redirect_uri: str) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._tls = ssl.create_default_context(
            cafile=None if settings.ca_file is None else str(settings.ca_file)
        )
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._found: tuple[float, dict[str, Any]] | None = None
        self._keys: jwt.PyJWKClient | None = None

    def begin(self, goal: str) -> tuple[str, str]:
        """Return the provider's address to go to, and the cookie to come back with.

        Raises
        ------
        SystemUnavailable
            The provider does not answer.
        """
        provider, _ = self._provider()
        made = _Pending(goal)
        with self._lock:
            limit = time.monotonic() - SIGN_ON_S
            for key, each in list(self._pending.items()):
                if each.began < limit or len(self._pending) >= _MOST_PENDING:
                    del self._pending[key]
            self._pending[made.cookie] = made
        challenge = hashlib.sha256(made.verifier.encode()).digest()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._settings.client_id,
                "redirect_uri": self._redirect_uri,
                "scope": self._settings.scope,
                "state": made.state,
                "nonce": made.nonce,
                "code_challenge": base64.urlsafe_b64encode(challenge)
                .rstrip(b"=")
                .decode(),
                "code_challenge_method": "S256",
            }
        )
        endpoint = str(provider["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}", made.cookie

    def finish(self, cookie: str | None, answer: Mapping[str, str]) -> tuple[str, str]:
        """Return the token by which ICAT knows the person, and where to go on.

        Parameters
        ----------
        cookie
            That the person came back with.
        answer
            The parameters of the address.

        Raises
        ------
        LoginWrong
            It is no login, or none of this browser's.
        SystemUnavailable
            The provider does not answer.
        """
        with self._lock:
            # Once: what is repeated is somebody else's.
            pending = self._pending.pop(cookie or "", None)
        if pending is None or time.monotonic() - pending.began > SIGN_ON_S:
            raise LoginWrong("This login was not begun here, or too long ago.")
        if not hmac.compare_digest(
            pending.state.encode(), answer.get("state", "").encode()
        ):
            raise LoginWrong("This login was begun by somebody else.")
        provider, keys = self._provider()
        if answer.get("iss", self._settings.issuer) != self._settings.issuer:
            raise LoginWrong("Another provider has answered.")
        if "error" in answer or not answer.get("code"):
            text = answer.get("error_description") or answer.get("error") or "no code"
            raise LoginWrong(f"The provider refuses the login: {text[:200]}")
        tokens = self._tokens(provider, answer["code"], pending.verifier)
        self._check(tokens.get("id_token"), keys, pending.nonce)
        token = tokens.get(self._settings.token)
        if not isinstance(token, str):
            raise LoginWrong(f"The provider gives no {self._settings.token}.")
        return token, pending.goal

    def _provider(self) -> tuple[dict[str, Any], jwt.PyJWKClient]:
        with self._lock:
            if self._found is not None and self._keys is not None:
                at, found = self._found
                if time.monotonic() - at < _DISCOVERED_S:
                    return found, self._keys
        issuer = self._settings.issuer
        found = self._json(
            urllib.request.Request(  # noqa: S310
                f"{issuer.rstrip('/')}/.well-known/openid-configuration"
            )
        )
        if found.get("issuer") != issuer:
            raise _unavailable(f"says that it is {str(found.get('issuer'))[:200]}")
        for name in _ENDPOINTS:
            if not _is_safe(found.get(name)):
                raise _unavailable(f"has no {name} by https")
        keys = jwt.PyJWKClient(
            found["jwks_uri"], timeout=int(_TIMEOUT_S), ssl_context=self._tls
        )
        with self._lock:
            self._found, self._keys = (time.monotonic(), found), keys
        return found, keys

    def _tokens(
        self, provider: Mapping[str, Any], code: str, verifier: str
    ) -> dict[str, Any]:
        settings = self._settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": settings.client_id,
            "code_verifier": verifier,
        }
        request = urllib.request.Request(  # noqa: S310
            str(provider["token_endpoint"]), urlencode(form).encode()
        )
        try:
            secret = settings.secret()
        except OSError as error:
            raise SystemUnavailable(
                f"web.oidc.client_secret_file: {error.strerror}", system=SYSTEM
            ) from None
        if secret is not None:
            pair = f"{quote(settings.client_id, safe='')}:{quote(secret, safe='')}"
            coded = base64.b64encode(pair.encode()).decode()
            request.add_header("Authorization", f"Basic {coded}")
        return self._json(request)

    def _check(self, token: object, keys: jwt.PyJWKClient, nonce: str) -> None:
        """See that an ID token is for us, and of this login."""
        if not isinstance(token, str):
            raise LoginWrong("The provider gives no id_token.")
        settings = self._settings
        try:
            claims = jwt.decode(
                token,
                keys.get_signing_key_from_jwt(token),
                algorithms=["RS256"],
                audience=settings.client_id,
                issuer=settings.issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.PyJWKClientConnectionError:
            raise _unavailable("does not give its keys") from None
        except jwt.PyJWTError as error:
            raise LoginWrong(f"The provider's token is not good: {error}") from None
        audience = claims["aud"]
        several = isinstance(audience, list) and len(audience) > 1
        if claims.get("azp", settings.client_id) != settings.client_id or (
            several and "azp" not in claims
        ):
            raise LoginWrong("The provider's token is for another application.")
        told = claims.get("nonce")
        if not isinstance(told, str) or not hmac.compare_digest(
            told.encode(), nonce.encode()
        ):
            raise LoginWrong("The provider's token is of another login.")

    def _json(self, request: urllib.request.Request) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=_TIMEOUT_S, context=self._tls
            ) as answer:
                found = json.loads(answer.read(_LONGEST_ANSWER))
        except urllib.error.HTTPError as error:
            if error.code in (400, 401):
                raise LoginWrong(
                    f"The provider refuses the login: {_reason(error)}"
                ) from None
            raise _unavailable(f"answers with HTTP {error.code}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            # The text of an error of the connection; never of the answer.
            reason = getattr(error, "reason", type(error).__name__)
            raise _unavailable(f"does not answer ({reason})") from None
        if not isinstance(found, dict):
            raise _unavailable("answers with something else than an object")
        return found


def _reason(error: urllib.error.HTTPError) -> str:
    """Return the code of OAuth's errors, which is a word without secrets."""
    try:
        return str(json.loads(error.read(_LONGEST_ANSWER))["error"])[:60]
    except (OSError, ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"


def _is_safe(address: object) -> bool:
    if not isinstance(address, str):
        return False
    parts = urlsplit(address)
    return parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    )


def _unavailable(what: str) -> SystemUnavailable:
    return SystemUnavailable(f"it {what}", system=SYSTEM)
