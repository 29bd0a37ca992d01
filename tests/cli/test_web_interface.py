"""The description of the dashboard's JSON, beside what it answers."""

import json
import re

import pytest

from .dashboard import Site, Visitor


@pytest.fixture(scope="module")
def description(operator: Visitor) -> dict:
    return operator.json("/openapi.json")


def test_every_page_answers_as_it_is_described(site: Site, operator, description):
    *_, one = operator.json("/messages?outcome=ingested")["messages"]
    [group, *_] = operator.json("/problems")["failed"]
    parts = {**one, "name": "scans", "page": "icat-down", **group}
    seen = set()
    for path, item in description["paths"].items():
        if re.search(r"\{(id|number|action)\}", path) or path == "/integrations/{name}":
            continue
        page = item["get"]["responses"]["200"]["content"]
        address = path.format(**parts)
        if "application/octet-stream" in page:
            assert operator.get(address).status_code == 200
            continue
        values = operator.json(address)
        assert isinstance(values["title"], str), path
        # There is no daemon here.
        assert {each["system"] for each in values["missing"]} <= {"daemon"}, path
        as_csv = operator.get(f"{address}?format=csv").status_code
        assert as_csv == (200 if "text/csv" in page else 400), path
        for name in page["application/json"]["schema"].get("required", []):
            assert isinstance(values[name], list), path
        seen.add(path)
    assert {"/messages", "/problems", "/audit", "/reconcile", "/search"} <= seen


def test_addresses_and_references_are_whole(description):
    assert description["openapi"].startswith("3.1")
    known = description["components"]
    for path, item in description["paths"].items():
        for operation in item.values():
            assert operation["summary"].endswith(".")
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            for scheme in operation["security"]:
                assert set(scheme) <= set(known["securitySchemes"])
    for reference in re.findall(
        r'"#/components/schemas/(\w+)"', json.dumps(description)
    ):
        assert reference in known["schemas"]


def test_the_description_says_where_it_is_of(site, description):
    assert description["servers"] == [{"url": site.url}]
