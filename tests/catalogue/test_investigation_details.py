"""What other systems are told of an investigation."""

from datetime import UTC, datetime

from icat_stream.records import InvestigationKey

from .conftest import new_investigation


def test_all_of_it_in_one_question(client, lane, investigation):
    (held,) = client.search(f"Investigation [name = '{investigation.name}']")
    held.get()
    held.summary = "What we did"
    held.doi = "10.5072/x"
    held.releaseDate = datetime(2030, 1, 2, tzinfo=UTC)
    held.update()
    instrument = client.search("Instrument [name = 'DREHM']")[0]
    client.new(
        "InvestigationInstrument", investigation=held, instrument=instrument
    ).create()
    user = client.new(
        "User",
        name=f"jdoe-{investigation.name}",
        fullName="Jane Doe",
        familyName="Doe",
        orcidId="0000-0002-1825-0097",
    )
    user.create()
    client.new(
        "InvestigationUser", investigation=held, user=user, role="Participant"
    ).create()
    for name in ("zinc", "ice"):
        client.new("Keyword", investigation=held, name=name).create()
    client.new("Sample", investigation=held, name="salt").create()
    other = new_investigation(client)
    gone = InvestigationKey(name=investigation.name, visit_id="another")
    nul = InvestigationKey(name="\0", visit_id="1")

    first, second = lane.investigation_details([other, gone, investigation, nul])
    assert (first.key, second.key) == (investigation, other)
    assert first.id == held.id
    assert (first.title, first.type) == ("A test", "experiment")
    assert (first.summary, first.doi) == ("What we did", "10.5072/x")
    assert first.release == datetime(2030, 1, 2, tzinfo=UTC)
    assert not first.is_released(datetime(2029, 1, 2, tzinfo=UTC))
    assert first.is_released(datetime(2031, 1, 2, tzinfo=UTC))
    assert [each.name for each in first.instruments] == ["DREHM"]
    (member,) = first.members
    assert (member.user, member.role) == (user.name, "Participant")
    assert (member.full_name, member.family_name) == ("Jane Doe", "Doe")
    assert member.orcid == "0000-0002-1825-0097"
    assert (first.keywords, first.samples) == (("ice", "zinc"), ("salt",))
    assert second.members == ()
    assert not second.is_released(datetime(2031, 1, 2, tzinfo=UTC))
