"""``icat_stream web`` as operators and scientists meet it, and as attackers do."""

import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from urllib.parse import urlsplit

import pytest
import requests

from .conftest import eventually
from .dashboard import GROUP, MARKUP, PAGE, Site, Visitor

SPOILT = "is no"


def test_the_facility_has_a_dashboard(facility):
    answer = requests.get(f"{facility.endpoints['web']}/", headers=PAGE, timeout=60)
    assert answer.url.endswith("/login")
    assert "Log in" in answer.text


def test_an_operator_sees_what_became_of_everything(operator):
    assert "failed in 24 hours" in operator.get("/").text
    found = operator.json("/messages")["messages"]
    outcomes = {each["outcome"] for each in found}
    assert {"ingested", "deferred", "rejected"} <= outcomes
    # The newest come first; what other tests brought in is newer.
    *_, ingested = [each for each in found if each["outcome"] == "ingested"]
    by_name = operator.json(f"/messages?q={ingested['dataset']}")["messages"]
    # Other tests may have had it handled again.
    assert {each["offset"] for each in by_name} == {ingested["offset"]}
    where = "/messages/{topic}/{partition}/{offset}".format(**ingested)
    way = operator.json(where)
    assert way["outcome"] in ("ingested", "unchanged")
    assert way["payload"]["format"] == "wrdn"
    assert way["consumers"][0]["consumer"] == "scans"
    shown = operator.get(where).text
    assert ingested["investigation"] in shown
    assert str(way["objects"]["dataset_id"]) in shown
    lines = operator.get("/messages", Accept="text/csv").text.splitlines()
    assert len(lines) == len(found) + 1


def test_all_that_failed_for_one_reason_is_replayed_once(site, operator):
    [group] = [
        each
        for each in operator.json("/problems")["failed"]
        if SPOILT in each["reason"]
    ]
    assert group["count"] == 2
    at = f"/problems/{group['fingerprint']}"
    assert "What to do about it" in operator.get(at).text
    assert "Replay 2 records?" in operator.get(f"{at}/replay").text
    # Nothing without a reason, nothing without having been asked for on a page.
    csrf, before = operator.csrf(), operator.json("/audit")["acts"]
    assert operator.post(f"{at}/replay", csrf=csrf, reason=" ").status_code == 400
    assert operator.post(f"{at}/replay", reason="repaired").status_code == 403
    assert operator.json("/audit")["acts"] == before

    # Two people at once: one of them is told that it is done.
    other = site.enter("simple", "useroffice")
    why = "the files are repaired"
    with ThreadPoolExecutor(2) as pool:
        tried = [
            pool.submit(who.post, f"{at}/replay", csrf=who.csrf(), reason=why)
            for who in (operator, other)
        ]
        done = [each.result() for each in tried]
    assert sorted(each.status_code for each in done) in ([200, 200], [200, 404])
    assert sum("2 records done" in each.text for each in done) == 1
    [act] = [
        each
        for each in operator.json("/audit")["acts"]
        if each["reason"] == why and each["result"] == "2 records done"
    ]
    assert act["user"] == "simple/useroffice"
    assert operator.get(at).status_code == 404
    # They are still spoilt: they come back, and are discarded.
    site.ingest()
    at = eventually(lambda: _group(operator, SPOILT))
    done = operator.post(f"{at}/discard", csrf=csrf, reason="nobody needs them")
    assert "2 records done" in done.text
    assert _group(operator, SPOILT) is None


def _group(operator: Visitor, words: str) -> str | None:
    for each in operator.json("/problems")["failed"]:
        if words in each["reason"]:
            return f"/problems/{each['fingerprint']}"
    return None


def test_a_message_is_handled_again(site, operator):
    # The newest come first; what other tests brought in is newer.
    *_, one = operator.json("/messages?outcome=ingested")["messages"]
    where = "/messages/{topic}/{partition}/{offset}".format(**one)
    assert "Replay 1 record?" in operator.get(f"{where}/again").text
    done = operator.post(f"{where}/again", csrf=operator.csrf(), reason="to be sure")
    assert "1 records done" in done.text
    site.ingest()
    [consumer] = operator.json(where)["consumers"]
    first, *later = [row["outcome"] for row in consumer["rows"]]
    assert first == "ingested"
    # Others may have had it handled again before.
    assert set(later) == {"unchanged"}


def test_a_consumer_says_how_it_is_and_what_waits_for_it(operator):
    [listed] = operator.json("/consumers")["consumers"]
    assert listed["name"] == "scans"
    assert listed["unread"] == 0
    assert listed["last_success"] > 0
    assert listed["outcomes"]["ingested"] >= 1
    one = operator.json("/consumers/scans")
    [wait] = one["waits"]
    assert wait["messages"] == 2
    assert "No consumer" not in operator.get("/consumers/scans").text
    assert operator.json("/integrations")["consumers"] == []


def test_a_file_is_tried_below_the_roots_only(site, operator):
    *_, one = operator.json("/messages?outcome=ingested")["messages"]
    [path] = (site.facility.path / "data").rglob(one["file"])
    [draft] = operator.json(f"/schemas/try?file={path}")["drafts"]
    assert draft["name"] == one["dataset"]
    assert one["dataset"] in operator.get(f"/schemas/try?file={path}").text
    for outside in ("/etc/passwd", f"{path.parent}/../../secrets/root"):
        found = operator.json(f"/schemas/try?file={outside}")
        assert found["drafts"] == []
        assert "not opened" in found["refusal"]


def test_what_waits_is_named_with_what_it_waits_for(operator):
    [waiting] = operator.json("/problems")["waiting"]
    assert waiting["count"] == 2
    assert "999999" not in waiting["reason"]
    assert waiting["consumer"] == "scans"


def test_a_scientist_finds_a_dataset_and_gets_its_file(site, operator, scientist):
    # The newest come first; what other tests brought in is newer.
    *_, one = operator.json("/messages?outcome=ingested")["messages"]
    first = scientist.get("/")
    assert urlsplit(first.url).path == "/investigations"
    found = scientist.json("/search?q=" + one["dataset"])["found"]
    [dataset] = found["datasets"]
    page = scientist.get(f"/datasets/{dataset['id']}").text
    assert one["dataset"] in page
    values = scientist.json(f"/datasets/{dataset['id']}")
    client = site.facility.client()
    held = client.search(
        "SELECT t.name, p.numericValue FROM DatasetParameter p JOIN p.type t"
        f" WHERE p.dataset.id = {dataset['id']} AND p.numericValue IS NOT NULL"
    )
    client.logout()
    shown = {each["name"]: each["value"] for each in values["parameters"]}
    assert held
    # All of their digits.
    assert {name: shown[name] for name, _ in held} == dict(held)
    assert all(f">{shown[name]}<" in page for name, _ in held)
    [file] = values["datafiles"]
    at = f"/datafiles/{file['id']}/download"
    assert at in page
    content = scientist.get(at).content
    assert content == _on_disk(site, one["file"])
    assert scientist.get(f"/datasets/{dataset['id']}/download").content[:2] == b"PK"
    investigation = scientist.json(f"/investigations/{values['investigation']['id']}")
    assert one["dataset"] in {each["name"] for each in investigation["datasets"]}
    roles = {each["role"] for each in investigation["people"]}
    assert roles == {"Investigator", "Participant"}


def _on_disk(site: Site, name: str) -> bytes:
    [path] = (site.facility.path / "data").rglob(name)
    return path.read_bytes()


def test_nobody_sees_what_is_somebody_elses(site, operator, scientist):
    other = site.enter("db", "rbeck")
    mine = scientist.json("/investigations")["investigations"]
    theirs = other.json("/investigations")["investigations"]
    assert mine
    assert theirs
    assert not {i["id"] for i in mine} & {i["id"] for i in theirs}
    # The newest come first; what other tests brought in is newer.
    *_, one = operator.json("/messages?outcome=ingested")["messages"]
    [dataset] = scientist.json("/search?q=" + one["dataset"])["found"]["datasets"]
    [file] = scientist.json(f"/datasets/{dataset['id']}")["datafiles"]
    for path in (
        f"/investigations/{mine[0]['id']}",
        f"/datasets/{dataset['id']}",
        f"/datasets/{dataset['id']}/files",
        f"/datasets/{dataset['id']}/download",
        f"/datafiles/{file['id']}/download",
    ):
        assert scientist.get(path).status_code == 200
        refused, missing = other.get(path), other.get(re.sub(r"\d+", "987654", path))
        assert refused.status_code == missing.status_code == 404
    assert other.json("/search?q=" + one["dataset"])["count"] == 0


def test_operators_pages_are_for_operators(scientist):
    for path in (
        "/messages",
        f"/messages/{GROUP}-scans/0/0",
        f"/messages/{GROUP}-scans/0/0/payload",
        f"/messages/{GROUP}-scans/0/0/again",
        "/problems",
        "/problems/0123456789ab",
        "/problems/0123456789ab/replay",
        "/audit",
        "/reconcile",
        "/reconcile/1/announce",
        "/tokens",
        "/tokens/1/withdraw",
        "/consumers",
        "/consumers/scans",
        "/integrations",
        "/schemas/try?file=/etc/passwd",
        "/help/icat-down",
    ):
        assert scientist.get(path).status_code == 403
        assert scientist.get(path, Accept="application/json").status_code == 403


def test_without_a_login_nothing_is_told(site):
    stranger = Visitor(site.url)
    for path in ("/", "/messages", "/datasets/1", "/datasets/1/download", "/nothing"):
        assert urlsplit(stranger.get(path).url).path == "/login"
        assert stranger.get(path, Accept="application/json").status_code == 401


def test_the_login_goes_on_where_one_was_and_nowhere_else(site):
    visitor = Visitor(site.url)
    form = {
        "authenticator": "db",
        "username": "acord",
        "password": site.password("acord"),
    }
    sent = visitor.get("/search?q=a b&x=%26")
    [goal] = re.findall('name="next" value="([^"]*)"', sent.text)[:1]
    answer = visitor.post("/login", next=unescape(goal), **form)
    assert answer.url.startswith(f"{site.url}/search?q=a+b")
    for evil in ("//evil.example", "https://evil.example", "/\\evil.example"):
        answer = visitor.post("/login", next=evil, **form)
        assert urlsplit(answer.url).netloc == urlsplit(site.url).netloc


def test_who_is_logged_out_in_the_middle_of_an_act_goes_on_with_it(site, operator):
    *_, one = operator.json("/messages?outcome=ingested")["messages"]
    where = "/messages/{topic}/{partition}/{offset}/again".format(**one)
    visitor = Visitor(site.url)
    sent = visitor.post(
        where, csrf="of a session that is over", reason='say "why" & <b>'
    )
    assert urlsplit(sent.url).path == "/login"
    [goal] = re.findall('name="next" value="([^"]*)"', sent.text)[:1]
    back = visitor.post(
        "/login",
        authenticator="simple",
        username="useroffice",
        password=site.password("useroffice"),
        next=unescape(goal),
    )
    assert "Replay 1 record?" in back.text
    assert 'value="say &#34;why&#34; &amp; &lt;b&gt;"' in back.text


def test_a_cookie_that_was_there_before_is_worth_nothing(site):
    visitor = Visitor(site.url)
    visitor.http.cookies.set("icat-stream", "chosen-by-an-attacker")
    visitor.post(
        "/login",
        authenticator="db",
        username="acord",
        password=site.password("acord"),
    )
    keys = {c.value for c in visitor.http.cookies if c.name == "icat-stream"}
    assert max(keys, key=len) != "chosen-by-an-attacker"
    attacker = Visitor(site.url)
    attacker.http.cookies.set("icat-stream", "chosen-by-an-attacker")
    assert urlsplit(attacker.get("/investigations").url).path == "/login"


def test_the_cookie_is_for_the_server_alone(site):
    answer = requests.post(
        f"{site.url}/login",
        data={
            "authenticator": "db",
            "username": "acord",
            "password": site.password("acord"),
        },
        allow_redirects=False,
        timeout=60,
    )
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie


def test_who_logs_out_is_out_everywhere(site):
    visitor = site.enter("db", "jdoe")
    other_tab = Visitor(site.url)
    other_tab.http.cookies.update(visitor.http.cookies)
    page = other_tab.get("/investigations")
    [csrf] = set(re.findall('name="csrf" value="([^"]+)"', page.text))
    # Nobody else can log one out.
    visitor.post("/logout", csrf="x")
    other_tab.post("/logout", csrf=csrf)
    assert urlsplit(visitor.get("/investigations").url).path == "/login"


def test_forms_of_other_sites_are_refused(site, operator):
    csrf = operator.csrf()
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        for path in ("/logout", "/login", "/problems/0123456789ab/replay"):
            answer = operator.http.post(
                site.url + path,
                data={"csrf": csrf, "reason": "x"},
                headers=headers,
                timeout=60,
            )
            assert answer.status_code == 403
    assert operator.get("/audit").status_code == 200


def test_it_answers_to_its_own_names_only(site):
    answer = requests.get(site.url, headers={"Host": "evil.example"}, timeout=60)
    assert answer.status_code == 421


def test_a_password_cannot_be_guessed(site):
    visitor = Visitor(site.url)
    codes = [
        visitor.post(
            "/login", authenticator="db", username="nbour", password=f"guess {n}"
        ).status_code
        for n in range(8)
    ]
    assert codes[:5] == [403] * 5
    assert set(codes[5:]) <= {403, 429}
    assert 429 in codes
    # And nobody else is kept out by it.
    assert site.enter("db", "ahau").get("/investigations").status_code == 200


def test_what_messages_hold_never_becomes_markup(operator):
    messages = operator.json("/messages")["messages"]
    problems = operator.json("/problems")["failed"]
    paths = [
        "/",
        "/messages",
        "/problems",
        *("/messages/{topic}/{partition}/{offset}".format(**m) for m in messages),
        *(f"/problems/{each['fingerprint']}" for each in problems),
    ]
    texts = [operator.get(path) for path in paths]
    assert any("&lt;script&gt;" in answer.text for answer in texts)
    for answer in texts:
        assert answer.status_code == 200
        assert MARKUP not in answer.text
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/messages?q=%27%22%25_%5C*%3B--",
        "/messages?q=%00%E2%80%AE%1B%5B31m",
        "/messages?after=1~2~x~3~4~y",
        "/messages?after=" + "9" * 40 + "~2~x~3~4~y",
        "/messages?since=99999999999999&until=0",
        "/search?q=%27%20OR%201%3D1%20--",
        "/search?q=%25%25%25",
        "/search?q=%F0%9F%98%80%E2%80%AE",
        "/search?q=" + "a" * 20_000,
    ],
)
def test_any_text_can_be_looked_for(operator, path):
    assert operator.get(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/messages?q=" + "a" * 2_000, 400),
        ("/messages?outcome=nonsense", 400),
        ("/messages?since=yesterday-ish", 400),
        ("/messages?reason=x", 400),
        ("/messages/none/0/0", 404),
        ("/messages/none/99999999999999999999/0", 404),
        ("/messages/none/4294967296/0", 404),
        ("/messages/none/-1/0", 404),
        ("/messages/%E2%80%AE%1B[31m/0/0", 404),
        ("/messages/none/0/0/payload", 404),
        ("/messages/none/0/0/again", 404),
        ("/reconcile?run=987654", 404),
        ("/reconcile?kind=%22%3E%3Cscript%3E", 400),
        ("/reconcile?after=-1", 400),
        ("/reconcile/987654/announce", 404),
        ("/tokens/x/withdraw", 404),
        ("/consumers/none", 404),
        ("/consumers/%22%3E%3Cscript%3E", 404),
        ("/integrations/" + "a" * 10_000, 404),
        ("/investigations/99999999999999999999", 404),
        ("/investigations/0", 404),
        ("/datasets/0/files?from=99999999999", 400),
        ("/datasets/0/download", 404),
        ("/datafiles/999999999999999999/download", 404),
        ("/datasets/99999999999999999999", 404),
        ("/datasets/0", 404),
        ("/datasets/abc", 404),
        ("/problems/nothing", 404),
        ("/problems/nothing/sell", 404),
        ("/help/..%2f..%2fREADME", 404),
        ("/help/nothing", 404),
        ("/static/..%2f..%2fserver.py", 404),
        ("/static/../server.py", 404),
        ("//evil.example/", 404),
    ],
)
def test_what_is_not_there_is_said(operator, path, code):
    assert operator.get(path).status_code == code


def test_a_form_of_megabytes_is_refused(operator):
    answer = operator.post("/problems/x/replay", reason="a" * 200_000)
    assert answer.status_code == 413
