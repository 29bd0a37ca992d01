"""Where a login leads, who has to wait, and how long one stays."""

import time

import pytest

from icat_stream.web.login_attempts import LoginAttempts
from icat_stream.web.login_pages import goal
from icat_stream.web.sign_ins import SignIn, SignIns


@pytest.mark.parametrize(
    "address", ["/", "/problems", "/messages?q=a%20b&outcome=rejected", "/datasets/7"]
)
def test_a_login_goes_on_where_it_began(address):
    assert goal(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/x\r\nSet-Cookie: a=b",
        " /problems",
        "///evil.example",
        "/problems\\..\\evil",
        "/login",
        "/logout",
        "http:evil.example",
        "/[//evil",
    ],
)
def test_a_login_never_leads_away(address):
    assert goal(address) in ("/", "/[//evil")


def test_who_guesses_has_to_wait_longer_each_time():
    attempts = LoginAttempts()
    waits = []
    for _ in range(12):
        waits.append(attempts.wait("db/jdoe", "192.0.2.1"))
        attempts.failed("db/jdoe", "192.0.2.1")
    assert waits[:5] == [0] * 5
    assert all(waits[5:])
    assert waits[5:] == sorted(waits[5:])
    assert attempts.wait("db/nbour", "192.0.2.1") == 0
    attempts.succeeded("db/jdoe")
    assert attempts.wait("db/jdoe", "192.0.2.1") == 0


def test_an_address_that_tries_many_names_has_to_wait():
    attempts = LoginAttempts()
    for number in range(60):
        attempts.failed(f"db/user{number}", "192.0.2.1")
    assert attempts.wait("db/nobody", "192.0.2.1") > 0
    assert attempts.wait("db/nobody", "192.0.2.2") == 0


def test_who_does_nothing_is_logged_out(monkeypatch):
    sign_ins = SignIns(idle=60, longest=600)
    person = SignIn("db/jdoe", "secret", operator=False)
    sign_ins.add(person)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 50)
    assert sign_ins.find(person.key) is person
    # A page that is open refreshes itself: that is nobody's doing.
    monkeypatch.setattr(time, "monotonic", lambda: now + 100)
    assert sign_ins.find(person.key, active=False) is person
    monkeypatch.setattr(time, "monotonic", lambda: now + 111)
    assert sign_ins.find(person.key) is None


def test_everybody_is_logged_out_in_the_end(monkeypatch):
    sign_ins = SignIns(idle=60, longest=120)
    person = SignIn("db/jdoe", "secret", operator=False)
    sign_ins.add(person)
    now = time.monotonic()
    for later in (50, 100):
        monkeypatch.setattr(time, "monotonic", lambda at=now + later: at)
        assert sign_ins.find(person.key) is person
    monkeypatch.setattr(time, "monotonic", lambda: now + 121)
    assert sign_ins.find(person.key) is None
