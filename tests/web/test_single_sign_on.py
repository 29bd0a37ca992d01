"""Single sign-on, with a provider and an ICAT in processes and threads of their own."""

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
import yaml
from cryptography.hazmat.primitives import serialization

from icat_stream.sandbox.children import Child
from icat_stream.sandbox.folder import Folder
from plugins.commands import BIN

from .oidc_provider import CLIENT, SECRET, Provider

BEGIN = "/login/single-sign-on"
PAGE = {"Accept": "text/html"}


@dataclass
class Site:
    url: str
    icat: str
    log: Path
    provider: Provider

    def get(self, http: requests.Session, path: str, **more: object):
        url = path if path.startswith("http") else self.url + path
        return http.get(url, headers=PAGE, timeout=60, **more)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    provider = Provider()
    folder = Folder(tmp_path_factory.mktemp("sign-on"))
    folder.make()
    accounts, oidc = folder.secrets / "accounts.json", folder.run / "oidc.json"
    accounts.write_text(json.dumps({"simple": {"root": "secret"}}))
    oidc.write_text(json.dumps({"issuer": provider.issuer, "mechanism": "oidc"}))
    command = ["-m", "icat_stream.sandbox.icat", "--accounts", str(accounts)]
    server = Child("icat", [*command, "--oidc", str(oidc)], folder)
    icat = server.ready()["url"]
    secret = folder.secrets / "client"
    secret.write_text(SECRET)
    config = folder.run / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "facility": "EXAMPLE",
                "icat": {"url": icat, "username": "root", "password": "secret"},
                "consumers": {"files": {"handler": "file_written", "topics": ["f"]}},
                "web": {
                    "oidc": {
                        "issuer": provider.issuer,
                        "client_id": CLIENT,
                        "client_secret_file": str(secret),
                    }
                },
            }
        )
    )
    log = folder.run / "web.log"
    command = [BIN / "icat_stream", "web", "-c", config, "--listen", "127.0.0.1:0"]
    with log.open("w") as err:
        process = subprocess.Popen(command, stderr=err)
    try:
        deadline = time.monotonic() + 240
        while not (at := re.search(r"dashboard is at (\S+)", log.read_text())):
            assert time.monotonic() < deadline
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield Site(at[1], icat, log, provider)
    finally:
        process.terminate()
        assert process.wait(60) == 0
        server.stop()
        provider.close()
    assert "Traceback" not in log.read_text()


@pytest.fixture(autouse=True)
def _true(site: Site) -> Iterator[None]:
    yield
    site.provider.tell_the_truth()


def test_a_person_logs_in_at_the_provider(site):
    http = requests.Session()
    page = site.get(http, "/login?next=/search")
    assert "Log in with your facility" in page.text
    # A token is nothing to be typed: it may have been made for somebody else.
    assert 'name="token"' not in page.text
    done = site.get(http, f"{BEGIN}?next=/search%3Fq%3Da")
    assert done.url == f"{site.url}/search?q=a"
    assert "oidc/jdoe" in done.text
    cookies = {each.name for each in http.cookies}
    assert cookies == {"icat-stream"}
    assert "secret" not in site.log.read_text()


def test_what_goes_to_the_provider(site):
    begun = site.get(requests.Session(), BEGIN, allow_redirects=False)
    asked = parse_qs(urlsplit(begun.headers["Location"]).query)
    assert asked["redirect_uri"] == [f"{site.url}{BEGIN}/answer"]
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["state"][0]) > 30
    assert len(asked["nonce"][0]) > 30
    cookie = begun.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert asked["state"][0] not in cookie


def _answer(site: Site, http: requests.Session) -> str:
    """Return the address with which the provider sends a person back."""
    begun = site.get(http, BEGIN, allow_redirects=False)
    sent = http.get(begun.headers["Location"], allow_redirects=False, timeout=60)
    return sent.headers["Location"]


def test_an_answer_is_for_the_browser_that_asked_and_once(site):
    http, victim = requests.Session(), requests.Session()
    answer = _answer(site, http)
    # An attacker's answer logs nobody in, with or without a login under way.
    assert site.get(victim, answer).status_code == 403
    _answer(site, victim)
    refused = site.get(victim, answer)
    assert refused.status_code == 403
    assert "somebody else" in refused.text
    assert site.get(http, answer, allow_redirects=False).status_code == 303
    assert site.get(requests.Session(), answer).status_code == 403
    assert site.get(http, answer).status_code == 403


@pytest.mark.parametrize("change", ["state", "code", "iss", "error"])
def test_an_answer_that_was_changed_is_refused(site, change):
    http = requests.Session()
    answer = _answer(site, http)
    if change in ("state", "code"):
        answer = re.sub(rf"{change}=[^&]+", f"{change}=another", answer)
    else:
        answer += f"&{change}=http%3A%2F%2Fevil.example%3Cscript%3E"
    before = site.provider.answered
    refused = site.get(http, answer)
    assert refused.status_code == 403
    assert "<script>" not in refused.text.replace("<script src", "")
    assert site.provider.answered == before


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of-another-login"},
        {"nonce": None},
        {"aud": "another-application"},
        {"aud": None},
        {"aud": [CLIENT, "another-application"]},
        {"aud": [CLIENT], "azp": "another-application"},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": 99_999_999_999},
        {"iss": "http://evil.example"},
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_us_is_refused(site, claims):
    site.provider.claims = claims
    refused = site.get(requests.Session(), BEGIN)
    assert refused.status_code == 403, claims
    assert "Log in" in refused.text


def _unsigned(claims: dict[str, object]) -> str:
    return jwt.encode(claims, None, "none", {"kid": "one"})


def test_a_token_of_another_key_is_refused(site):
    provider = site.provider
    public = provider.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def confused(claims: dict[str, object]) -> str:
        # Signed with the public key, as if it were a shared secret.
        head, body, _ = _unsigned(claims).split(".")
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').decode()
        key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        text = f"{head.rstrip('=')}.{body}"
        signature = base64.urlsafe_b64encode(key.sign(text.encode(), public)).decode()
        return f"{text}.{signature.rstrip('=')}"

    for sign in (
        _unsigned,
        confused,
        lambda claims: jwt.encode(claims, provider.other_key, "RS256", {"kid": "one"}),
        lambda claims: jwt.encode(claims, provider.other_key, "RS256", {"kid": "two"}),
        lambda claims: jwt.encode(claims, provider.key, "RS512", {"kid": "one"}),
        lambda claims: "no.token.atall",
        lambda claims: "",
    ):
        provider.sign = sign
        assert site.get(requests.Session(), BEGIN).status_code == 403


def test_a_token_cannot_be_brought_along(site):
    # ICAT would take it: it is of the provider, though for another application.
    token = site.provider.token("another-application")
    login = {"plugin": "oidc", "credentials": [{"token": token}]}
    taken = requests.post(
        f"{site.icat}/icat/session", data={"json": json.dumps(login)}, timeout=60
    )
    assert taken.status_code == 200
    answer = requests.post(
        f"{site.url}/login",
        data={"authenticator": "oidc", "token": token},
        headers=PAGE,
        timeout=60,
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("goal", ["//evil.example", "/login/single-sign-on", "/logout"])
def test_it_leads_nowhere_else(site, goal):
    http = requests.Session()
    done = site.get(http, f"{BEGIN}?next={goal}")
    assert done.url == f"{site.url}/investigations"
