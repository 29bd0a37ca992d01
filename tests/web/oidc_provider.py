"""A small OpenID Connect provider with one person, which lies when it is told to."""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "dashboard", "s:e c%ret"


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Provider:
    """Serves discovery, keys, the login of its person, and tokens for codes."""

    def __init__(self) -> None:
        self.key, self.other_key = _key(), _key()
        self.codes: dict[str, dict[str, str]] = {}
        self.claims: dict[str, Any] = {}
        """Put into the next ID tokens; None: left out."""
        self.sign: Any = None
        """Makes ID tokens instead of the provider."""
        self.answered = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._get(self)

            def do_POST(self) -> None:
                provider._post(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def tell_the_truth(self) -> None:
        self.claims, self.sign = {}, None

    def token(self, audience: str = CLIENT, **claims: Any) -> str:
        """Return a token as it makes them."""
        now = int(time.time())
        made = {
            "iss": self.issuer,
            "sub": "jdoe",
            "aud": audience,
            "iat": now,
            "exp": now + 300,
            **claims,
            **self.claims,
        }
        made = {name: value for name, value in made.items() if value is not None}
        if self.sign is not None:
            return str(self.sign(made))
        return jwt.encode(made, self.key, "RS256", {"kid": "one"})

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        asked = {k: v[0] for k, v in parse_qs(urlsplit(request.path).query).items()}
        if path == "/.well-known/openid-configuration":
            found = {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
            self._answer(request, 200, found)
        elif path == "/keys":
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
            self._answer(request, 200, {"keys": [{**key, "kid": "one", "use": "sig"}]})
        elif path == "/authorize":
            code = secrets.token_urlsafe(8)
            self.codes[code] = asked
            back = urlencode({"code": code, "state": asked["state"]})
            request.send_response(302)
            request.send_header("Location", f"{asked['redirect_uri']}?{back}")
            request.end_headers()
        else:
            self._answer(request, 404, {})

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers["Content-Length"])
        form = {
            k: v[0] for k, v in parse_qs(request.rfile.read(length).decode()).items()
        }
        begun = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        pair = base64.b64encode(b"dashboard:s%3Ae%20c%25ret").decode()
        if (
            begun is None
            or begun["code_challenge_method"] != "S256"
            or begun["code_challenge"] != challenge
            or begun["redirect_uri"] != form["redirect_uri"]
            or begun["client_id"] != form["client_id"]
            or request.headers["Authorization"] != f"Basic {pair}"
        ):
            self._answer(request, 400, {"error": "invalid_grant"})
            return
        self.answered += 1
        found = {
            "token_type": "Bearer",
            "access_token": "opaque",
            "id_token": self.token(nonce=begun["nonce"]),
        }
        self._answer(request, 200, found)

    def _answer(self, request: BaseHTTPRequestHandler, status: int, found: Any) -> None:
        body = json.dumps(found).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
