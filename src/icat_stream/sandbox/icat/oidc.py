"""ICAT's authenticator authn.oidc: lets in who has a token of one provider."""

import json
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from icat_stream.sandbox.icat.errors import IcatError

_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """What run.properties of authn.oidc says.

    Parameters
    ----------
    issuer
        Its tokens are taken.
    scope
        That a token has to have; ``None``: any.
    claim
        With the name of the user, ``mechanism/name`` where it has a slash; without it
        the claim ``sub`` counts.
    mechanism
        Of users whose claim has none.
    """

    issuer: str
    scope: str | None = None
    claim: str | None = None
    mechanism: str | None = None

    @classmethod
    def read(cls, file: Path) -> "OidcSettings":
        """Return what a JSON file says.

        Raises
        ------
        ValueError
            It says something else.
        """
        try:
            return cls(**json.loads(file.read_text("utf-8")))
        except TypeError as error:
            raise ValueError(f"{file}: {error}") from None


class OidcAuthenticator:
    """Knows users by tokens, as authn.oidc does: for whom one was made it does not ask.

    Parameters
    ----------
    settings
        Which tokens.
    """

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._keys: jwt.PyJWKClient | None = None

    def user(self, token: str | None) -> str:
        """Return whose a token is.

        Raises
        ------
        IcatError
            It is none, or no good.
        """
        if not token:
            raise _refusal("The credential does not contain a token")
        try:
            key = self._client().get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                issuer=self._settings.issuer,
                options={"verify_aud": False, "require": ["exp", "iss"]},
            )
        except (jwt.PyJWTError, OSError, ValueError, KeyError) as error:
            raise _refusal(f"The token is not valid: {error}") from None
        scope = self._settings.scope
        if scope is not None and scope not in str(claims.get("scope", "")).split():
            raise _refusal("The token is missing the required scope")
        return self._named(claims)

    def _named(self, claims: dict[str, Any]) -> str:
        name = claims.get(self._settings.claim or "") or claims.get("sub")
        if not isinstance(name, str) or not name:
            raise _refusal("The token does not tell the user")
        if "/" in name or self._settings.mechanism is None:
            return name
        return f"{self._settings.mechanism}/{name}"

    def _client(self) -> jwt.PyJWKClient:
        with self._lock:
            if self._keys is None:
                issuer = self._settings.issuer.rstrip("/")
                where = f"{issuer}/.well-known/openid-configuration"
                with urllib.request.urlopen(where, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                    address = json.load(answer)["jwks_uri"]
                self._keys = jwt.PyJWKClient(address, timeout=_TIMEOUT_S)
            return self._keys


def _refusal(text: str) -> IcatError:
    return IcatError("SESSION", text)
