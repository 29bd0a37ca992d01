"""What reconciliations found, as operators see it."""

import pytest


def compare(commands, site, place):
    arguments = ("reconcile", "-c", str(site.config), "--folder", str(place))
    return commands.run("icat_stream", *arguments, timeout=240)


def comparison(operator, place):
    """Return the address of what was found below a folder."""
    runs = operator.json("/reconcile")["runs"]
    [run] = [each for each in runs if each["compared"] == f"below {place}"]
    return f"/reconcile?run={run['number']}"


@pytest.fixture(scope="module")
def missing(site, commands):
    """Files without an entry, found by a comparison of their folder."""
    place = site.facility.path / "data" / "seen-by-operators"
    place.mkdir()
    files = []
    for number in range(3):
        written = site.facility.write().path
        files.append(written.rename(place / f"<b>_{number}_{written.name}"))
    done = compare(commands, site, place)
    assert done.code == 3, done.err
    assert "no_entry: announce them again" in done.err
    return files


def test_findings_are_shown_with_what_to_do(operator, missing):
    at = comparison(operator, missing[0].parent)
    found = operator.json(at)
    [kind] = found["kinds"]
    assert (kind["kind"], kind["count"]) == ("no_entry", 3)
    assert "--ingest" in kind["what_to_do"]
    names = {each["what"] for each in found["findings"]}
    assert names == {str(each) for each in missing}
    assert operator.json(f"{at}&kind=size")["findings"] == []
    assert len(operator.json(f"{at}&after=0")["findings"]) == 2
    assert len(operator.get(at, Accept="text/csv").text.splitlines()) == 4
    page = operator.get(at).text
    assert "3 things do not fit" in page
    assert "<b>_0" not in page


def test_files_without_an_entry_are_announced_again(site, operator, missing):
    number = operator.json(comparison(operator, missing[0].parent))["run"]["number"]
    at = f"/reconcile/{number}/announce"
    assert "Announce 3 files?" in operator.get(at).text
    csrf = operator.csrf()
    assert operator.post(at, csrf=csrf, reason=" ").status_code == 400
    assert "3 records done" in operator.post(at, csrf=csrf, reason="lost").text
    [act] = [
        each
        for each in operator.json("/audit")["acts"]
        if each["action"] == "announce" and each["reason"] == "lost"
    ]
    assert act["records"] == 3
    site.ingest()
    for path in missing:
        named = operator.json(f"/messages?q={path.name}")["messages"]
        assert [each["outcome"] for each in named] == ["ingested"]


def test_what_is_in_order_is_said(site, operator, missing, commands):
    empty = site.facility.path / "data" / "empty-folder"
    empty.mkdir()
    done = compare(commands, site, empty)
    assert done.code == 0, done.err
    # The newest, if no other one is named.
    assert "agree" in operator.get("/reconcile").text
    # What was found before is still there.
    earlier = operator.json(comparison(operator, missing[0].parent))
    assert len(earlier["findings"]) == 3
