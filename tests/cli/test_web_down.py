"""The dashboard while systems are down: it says which, and shows the rest."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from plugins.proxy import Proxy

from .dashboard import Site, Visitor, running

NOBODY = "127.0.0.1:9"


@pytest.fixture(scope="module")
def icat(facility) -> Iterator[Proxy]:
    parts = urlsplit(facility.endpoints["icat"])
    proxy = Proxy((parts.hostname, parts.port))
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def alone(facility, icat) -> Iterator[Site]:
    """A dashboard with an ICAT, and nothing else."""
    config = facility.variant(
        "alone",
        kafka={"bootstrap_servers": NOBODY, "group_id": "alone"},
        icat={"url": f"http://127.0.0.1:{icat.port}", "timeout": "5s"},
        ids={"url": f"http://{NOBODY}/ids"},
        journal={"url": "sqlite:///nowhere.db"},
        health={"listen": NOBODY},
    )
    with running(facility, config) as site:
        yield site


@contextmanager
def down(icat: Proxy) -> Iterator[None]:
    icat.close()
    try:
        yield
    finally:
        icat.set("pass")


@pytest.fixture(scope="module")
def operator(alone: Site) -> Visitor:
    return alone.enter("simple", "useroffice")


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/", {"daemon", "journal"}),
        ("/problems", {"kafka", "journal"}),
        ("/consumers", {"daemon", "kafka", "journal"}),
        ("/integrations", {"daemon", "kafka", "journal"}),
        ("/consumers/file_written", {"daemon", "kafka", "journal"}),
    ],
)
def test_a_page_says_what_is_missing_and_shows_the_rest(operator, path, missing):
    found = operator.get(path)
    assert found.status_code == 200
    assert "does not answer" in found.text
    told = {each["system"] for each in operator.json(path)["missing"]}
    assert told == missing


@pytest.mark.parametrize("path", ["/messages", "/messages/t/0/0", "/audit"])
def test_a_page_of_the_journal_alone_says_that_it_is_not_there(operator, path):
    found = operator.get(path)
    assert found.status_code == 503
    assert "journal does not answer" in found.text


def test_data_are_seen_while_all_but_icat_is_down(operator):
    [one, *_] = operator.json("/investigations")["investigations"]
    page = operator.json(f"/investigations/{one['id']}")
    assert [each["system"] for each in page["missing"]] == ["journal"]


def test_a_download_says_that_the_data_service_is_down(site, alone):
    # What the other dashboard's consumer has brought in.
    person = alone.enter("db", "acord")
    [dataset, *_] = [
        dataset["id"]
        for each in person.json("/investigations")["investigations"]
        for dataset in person.json(f"/investigations/{each['id']}")["datasets"]
    ]
    found = person.get(f"/datasets/{dataset}/download")
    assert found.status_code == 503
    assert "data service does not answer" in found.text


def test_without_icat_operators_see_what_does_not_come_from_it(alone, icat, operator):
    with down(icat):
        assert operator.get("/").status_code == 200
        assert operator.get("/help/icat-down").status_code == 200
        found = operator.get("/investigations")
        assert found.status_code == 503
        assert "icat does not answer" in found.text
        stranger = Visitor(alone.url)
        form = {"authenticator": "db", "username": "acord", "password": "any"}
        assert "Nobody can log in now" in stranger.post("/login", **form).text
        landing = stranger.get("/doi/10.5072/anything")
        assert landing.status_code == 503
        # Nobody acts whose rights cannot be asked for.
        [csrf] = {
            line.split('value="')[1].split('"')[0]
            for line in operator.get("/").text.splitlines()
            if 'name="csrf"' in line
        }
        act = operator.post("/problems/0123456789ab/replay", csrf=csrf, reason="x")
        assert act.status_code == 403
    assert operator.get("/investigations").status_code == 200
