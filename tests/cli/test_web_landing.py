"""What a DOI leads to, for who is not logged in."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from .dashboard import Site, Visitor

HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def investigations(site: Site) -> Iterator[dict[str, str]]:
    """Three: open, under embargo, without a DOI."""
    client = site.facility.client()
    facility = client.search("Facility")[0]
    kind = client.search("InvestigationType")[0]
    user = client.search("User [name='db/jdoe']")[0]
    contact = client.search("User [name='db/nbour']")[0]
    now = datetime.now(UTC)
    made = []
    for name, release, doi in (
        ("open", now - timedelta(days=1), "10.5072/Landing-open"),
        ("closed", now + timedelta(days=365), "10.5072/landing-closed"),
        ("never", None, "10.5072/landing/never"),
    ):
        one = client.new(
            "Investigation",
            facility=facility,
            type=kind,
            name=f"landing-{name}",
            visitId="1",
            title=f"Spin ice {HOSTILE}",
            summary=f"secret until the release {HOSTILE}",
            startDate=now - timedelta(days=20),
            endDate=now - timedelta(days=18),
            releaseDate=release,
            doi=doi,
        )
        one.investigationUsers = [
            client.new("InvestigationUser", user=user, role="Principal investigator"),
            client.new("InvestigationUser", user=contact, role="Local contact"),
        ]
        one.create()
        made.append(one)
    dataset_type = client.search("DatasetType")[0]
    for one in made:
        dataset = client.new(
            "Dataset", investigation=one, type=dataset_type, name=f"of {one.name}"
        )
        dataset.create()
    client.logout()
    yield {"open": "10.5072/landing-open", "closed": "10.5072/landing-closed"}
    client = site.facility.client()
    client.deleteMany(made)
    client.logout()


def schema_org(text: str) -> dict:
    [found] = re.findall(
        r'<script type="application/ld\+json">(.*?)</script>', text, re.S
    )
    return json.loads(found)


def test_a_doi_leads_to_a_page_for_everybody(site, investigations):
    page = Visitor(site.url).get(f"/doi/{investigations['open']}")
    assert page.status_code == 200
    assert HOSTILE not in page.text
    assert "https://doi.org/10.5072/Landing-open" in page.text
    assert "secret until the release" in page.text
    assert "of landing-open" in page.text
    told = schema_org(page.text)
    assert told["@type"] == "Dataset"
    assert told["@id"] == "https://doi.org/10.5072/Landing-open"
    assert told["name"] == f"Spin ice {HOSTILE}"
    assert [each["name"] for each in told["creator"]] == ["Doelittle, Jasper"]
    assert told["isAccessibleForFree"] is True
    values = Visitor(site.url).json(f"/doi/{investigations['open']}")
    assert values["citation"].startswith("Doelittle, Jasper (")


@pytest.mark.parametrize("doi", ["10.5072/landing-closed", "10.5072/landing/never"])
def test_before_the_release_it_says_who_what_and_when(site, investigations, doi):
    stranger = Visitor(site.url)
    page = stranger.get(f"/doi/{doi}")
    values = stranger.json(f"/doi/{doi}")
    assert page.status_code == 200
    assert "not public yet" in page.text
    for text in (page.text, json.dumps(values)):
        assert "Spin ice" in text
        assert "Doelittle, Jasper" in text
        assert "secret" not in text
        assert "of landing-" not in text
    assert schema_org(page.text)["isAccessibleForFree"] is False


@pytest.mark.parametrize(
    "doi",
    [
        "10.5072/none",
        "10.5072/",
        "11.1/x",
        "10.5072/" + "a" * 100_000,
        "10.5072/%27%20OR%201%3D1%20--",
        "10.5072/%25",
        "10.5072/%E2%80%AE",
        "10.5072/..%2f..%2finvestigations%2f1",
    ],
)
def test_what_is_no_doi_of_ours_is_not_there(site, investigations, doi):
    found = Visitor(site.url).get(f"/doi/{doi}")
    assert found.status_code in (400, 404)
    assert "Traceback" not in found.text
