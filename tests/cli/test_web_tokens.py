"""Scripts that ask the dashboard by tokens."""

import re

import pytest
import requests

from .dashboard import GROUP, Site, Visitor


def make(who: Visitor, name: str, **form: str) -> str:
    """Make a token on its page, and return it."""
    given = {"csrf": who.csrf(), "name": name, "days": "2", **form}
    made = who.post("/tokens", **given)
    assert made.status_code == 200, made.text
    [token] = re.findall(r"<pre>(icat-stream-[\w-]+)</pre>", made.text)
    return token


def ask(site: Site, token: str, path: str, **form: str) -> requests.Response:
    return requests.request(
        "POST" if form else "GET",
        site.url + path,
        data=form or None,
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        timeout=60,
    )


@pytest.fixture(scope="module")
def token(operator: Visitor) -> str:
    return make(operator, "status page <b>")


def test_a_script_reads_what_operators_see(site, operator, token):
    asked = ask(site, token, "/messages")
    assert asked.status_code == 200
    mine = operator.json("/messages")["messages"]
    assert {each["offset"] for each in asked.json()["messages"]} == {
        each["offset"] for each in mine
    }
    for path in ("/", "/problems", "/consumers", "/audit", "/reconcile"):
        assert ask(site, token, path).status_code == 200


def test_a_script_sees_nothing_of_the_catalogue_and_makes_no_tokens(site, token):
    for path in ("/investigations", "/datasets/1", "/search?q=a", "/tokens"):
        assert ask(site, token, path).status_code in (400, 403)
    made = ask(site, token, "/tokens", name="another", days="2")
    assert made.status_code in (400, 403)


def test_a_token_only_reads_unless_it_may_act(site, operator, token):
    [group, *_] = operator.json("/problems")["failed"]
    at = f"/problems/{group['fingerprint']}/discard"
    refused = ask(site, token, at, reason="by a script")
    assert refused.status_code == 403
    assert "only reads" in refused.json()["error"]
    acting = make(operator, "nightly discard", acts="yes")
    # It needs no form of a page, but a reason as everybody.
    assert ask(site, acting, at, reason=" ").status_code == 400
    assert not [
        each
        for each in operator.json("/audit")["acts"]
        if each["reason"] == "by a script"
    ]


def test_a_script_acts_in_its_own_name(site, operator):
    *_, one = operator.json("/messages?outcome=ingested")["messages"]
    where = "/messages/{topic}/{partition}/{offset}/again".format(**one)
    acting = make(operator, "has it handled again", acts="yes")
    done = ask(site, acting, where, reason="by a script of ours")
    assert done.status_code == 200, done.text
    [act] = [
        each
        for each in operator.json("/audit")["acts"]
        if each["reason"] == "by a script of ours"
    ]
    assert act["user"] == "simple/useroffice, by token “has it handled again”"


def test_a_token_is_shown_once_and_kept_as_a_hash(site, operator, token):
    listed = operator.json("/tokens")["tokens"]
    assert "status page <b>" in {each["name"] for each in listed}
    for path in ("/tokens", "/audit"):
        for accept in ("text/html", "application/json", "text/csv"):
            text = operator.get(path, Accept=accept).text
            assert token not in text
    assert "<b>" not in operator.get("/tokens").text.partition("<main")[2]
    database = site.facility.path / f"{GROUP}.db"
    kept = [each.read_bytes() for each in database.parent.glob(f"{database.name}*")]
    assert any(b"status page" in each for each in kept)
    assert not any(token.encode() in each for each in kept)
    assert token not in site.config.with_suffix(".log").read_text()


def test_a_token_is_withdrawn(site, operator):
    token = make(operator, "to be withdrawn")
    [listed] = [
        each
        for each in operator.json("/tokens")["tokens"]
        if each["name"] == "to be withdrawn"
    ]
    at = f"/tokens/{listed['number']}/withdraw"
    # Nothing changes by looking, or by a form of somebody else.
    operator.get(at)
    assert operator.post(at, csrf="x").status_code == 403
    assert ask(site, token, "/problems").status_code == 200
    assert operator.post(at, csrf=operator.csrf()).status_code == 200
    gone = ask(site, token, "/problems")
    assert gone.status_code == 401
    assert gone.headers["WWW-Authenticate"] == "Bearer"
    assert operator.post(at, csrf=operator.csrf()).status_code == 404
    actions = {each["action"] for each in operator.json("/audit")["acts"]}
    assert {"make token", "withdraw token"} <= actions


@pytest.mark.parametrize(
    "token", ["", "icat-stream-guessed", "a" * 10_000, "' OR 1=1 --", "\xe9"]
)
def test_what_is_no_token_opens_nothing(site, operator, token):
    headers = {"Authorization": f"Bearer {token}".encode("latin-1")}
    # Nor does a cookie beside it count.
    answer = operator.http.get(f"{site.url}/problems", headers=headers, timeout=60)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", " "), ("name", "a" * 201), ("days", "0"), ("days", "366"), ("days", "²")],
)
def test_a_token_has_a_name_and_an_end(operator, field, value):
    form = {"csrf": operator.csrf(), "name": "x", "days": "2", field: value}
    assert operator.post("/tokens", **form).status_code == 400


def test_the_token_of_one_who_is_no_operator_any_more_does_nothing(site):
    client = site.facility.client()
    [group] = client.search("Grouping [name='operators']")
    [user] = client.search("User [name='db/jbotu']")
    member = client.new("UserGroup", grouping=group, user=user)
    member.create()
    try:
        token = make(site.enter("db", "jbotu"), "of one who leaves", acts="yes")
        assert ask(site, token, "/problems").status_code == 200
    finally:
        client.delete(member)
        client.logout()
    # An act asks anew; what is only read may be seen for another minute.
    at = "/problems/0123456789ab/discard"
    assert ask(site, token, at, reason="too late").status_code == 403
    assert ask(site, token, "/problems").status_code == 403
