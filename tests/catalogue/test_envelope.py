"""The envelope that we write says what python-icat would have said."""

import re
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.catalogue.catalogue_session import CatalogueSession
from icat_stream.catalogue.dataset_xml import Writer
from icat_stream.catalogue.resolver import Resolver
from icat_stream.config import PolicySettings
from icat_stream.icat import soap
from icat_stream.icat.connection import Answer
from icat_stream.icat.faults import IcatFault, ResultUnknown
from icat_stream.icat.xml_text import FORBIDDEN, escape
from icat_stream.records import InvestigationKey, Sample, SystemUnavailable

from .plans import full, plan

META = {"createId", "createTime", "modId", "modTime"}
REFERENCES = {
    "datafileFormat",
    "instrument",
    "investigation",
    "sample",
    "technique",
}


def content(element: Any, parent: str = "bean") -> Any:
    """Return an element as values whose order and spelling do not matter."""
    tag = element.tag.rpartition("}")[2]
    children = [child for child in element if len(child) or child.text]
    if tag in REFERENCES or (tag == "type" and parent == "bean"):
        children = [c for c in children if c.tag.rpartition("}")[2] == "id"]
    elif tag == "type":
        names = META | {"facility"}
        children = [c for c in children if c.tag.rpartition("}")[2] not in names]
    if children:
        return tag, sorted((content(c, tag) for c in children), key=repr)
    text = element.text
    if tag not in ("stringValue", "name", "description", "location", "checksum"):
        if re.fullmatch(r"[-+.\deE]+", text):
            return tag, float(text)
        if re.match(r"\d{4}-\d\d-\d\dT", text):
            return tag, datetime.fromisoformat(text).replace(microsecond=0)
    return tag, text


def bean(envelope: bytes) -> Any:
    root = ElementTree.fromstring(envelope)
    return next(e for e in root.iter() if e.tag.rpartition("}")[2] == "bean")


def test_a_tree_as_python_icat_marshals_it(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    wanted = full(investigation, sample=Sample(name="Salz", create=True))
    lane.apply(plan(wanted))  # makes the sample

    def one(entity: str, name: str) -> Any:
        name = name.replace("'", "''")
        query = f"SELECT o FROM {entity} o WHERE o.name = '{name}'"
        return client.assertedSearch(query)[0]

    def parameter(entity: str, planned: Any, **values: Any) -> Any:
        kind = one("ParameterType", planned.name)
        return client.new(entity, type=kind, **values)

    wavelength, title, when = wanted.parameters
    nexus, log = wanted.datafiles
    of_name = f"SELECT i FROM Investigation i WHERE i.name = '{investigation.name}'"
    where = client.assertedSearch(of_name)[0]
    samples = f"SELECT s FROM Sample s WHERE s.investigation.id = {where.id}"
    theirs = client.new(
        "Dataset",
        name=wanted.name,
        complete=True,
        description=wanted.description,
        location=wanted.location,
        startDate=wanted.start,
        endDate=wanted.end,
        investigation=where,
        type=one("DatasetType", "raw"),
        sample=client.assertedSearch(samples)[0],
        datasetInstruments=[
            client.new("DatasetInstrument", instrument=one("Instrument", name))
            for name in wanted.instruments
        ],
        datasetTechniques=[
            client.new("DatasetTechnique", technique=one("Technique", "diffraction"))
        ],
        parameters=[
            parameter(
                "DatasetParameter",
                wavelength,
                numericValue=1.8,
                error=0.1,
                rangeBottom=1.0,
                rangeTop=2.0,
            ),
            parameter("DatasetParameter", title, stringValue=title.value),
            parameter("DatasetParameter", when, dateTimeValue=when.value),
        ],
        datafiles=[
            client.new(
                "Datafile",
                name=nexus.name,
                location=nexus.location,
                fileSize=nexus.size,
                datafileCreateTime=nexus.create_time,
                datafileModTime=nexus.mod_time,
                datafileFormat=one("DatafileFormat", "NeXus"),
                checksum=nexus.checksum,
                description=nexus.description,
                parameters=[
                    parameter("DatafileParameter", wavelength, numericValue=2.0)
                ],
            ),
            client.new("Datafile", name=log.name),
        ],
    )
    client.set_options(nosend=True)
    try:
        request = client.service.create(client.sessionId, theirs.instance)
    finally:
        client.set_options(nosend=False)

    resolved = Resolver(lane._references, lane._session, PolicySettings()).resolve(
        wanted
    )
    ours = soap.envelope(
        "create",
        "x",
        soap.bean(
            "Dataset",
            Writer(lane._schema, resolved).dataset(
                wanted.name, complete=True, with_files=True
            ),
        ),
    )
    assert content(bean(ours)) == content(bean(request.envelope))
    kind = "{http://www.w3.org/2001/XMLSchema-instance}type"
    assert bean(ours).get(kind).rpartition(":")[2] == "dataset"


@given(st.text().filter(lambda text: FORBIDDEN.search(text) is None))
def test_any_text_survives_xml(text: str) -> None:
    element = ElementTree.fromstring(f"<a>{escape(text)}</a>".encode())
    assert (element.text or "") == text


@given(st.characters())
def test_exactly_what_xml_cannot_carry_is_forbidden(character: str) -> None:
    document = f"<a>{escape(character)}</a>"
    try:
        ElementTree.fromstring(document.encode("utf-8", "surrogatepass"))
        carried = True
    except (ElementTree.ParseError, UnicodeDecodeError):
        carried = False
    # The parser is more lenient than the standard with U+FFFE and U+FFFF only.
    if character not in "\ufffe\uffff":
        assert (FORBIDDEN.search(character) is None) == carried


def answer(body: str, status: int = 200, kind: str = "text/xml") -> Answer:
    return Answer(status, kind, body.encode())


def in_envelope(body: str) -> str:
    return (
        '<?xml version="1.0"?><x:Envelope xmlns:x='
        f'"http://schemas.xmlsoap.org/soap/envelope/"><x:Body>{body}</x:Body>'
        "</x:Envelope>"
    )


def test_what_an_operation_returned() -> None:
    one = '<n:createResponse xmlns:n="u"><return>7</return></n:createResponse>'
    many = "<createManyResponse><return>7</return><return>8</return>"
    assert soap.returned(answer(in_envelope(one)), "create") == ["7"]
    many = in_envelope(f"{many}</createManyResponse>")
    assert soap.returned(answer(many), "createMany") == ["7", "8"]
    none = in_envelope("<updateResponse/>")
    assert soap.returned(answer(none), "update") == []


def test_a_fault_is_told_by_its_type() -> None:
    body = (
        "<S:Fault xmlns:S='u'><faultcode>c</faultcode><faultstring>m</faultstring>"
        "<detail><n:IcatException xmlns:n='v'><message>too &lt; long</message>"
        "<type>VALIDATION</type></n:IcatException></detail></S:Fault>"
    )
    with pytest.raises(IcatFault) as raised:
        soap.returned(answer(in_envelope(body), 500), "create")
    assert (raised.value.kind, raised.value.message) == ("VALIDATION", "too < long")
    body = "<S:Fault xmlns:S='u'><faultstring>no type</faultstring></S:Fault>"
    with pytest.raises(IcatFault) as raised:
        soap.returned(answer(in_envelope(body), 500), "create")
    assert (raised.value.kind, raised.value.message) == ("", "no type")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, "<html></html>", SystemUnavailable),
        (404, "<html></html>", SystemUnavailable),
        (502, "<html></html>", ResultUnknown),
        (504, "", ResultUnknown),
        (500, "<html><p>broken</html>", ResultUnknown),
        (200, "<!DOCTYPE html><html></html>", ResultUnknown),
        (200, "<html></html>", ResultUnknown),
        (200, in_envelope("<otherResponse/>"), ResultUnknown),
        (200, "{}", ResultUnknown),
        (200, "", ResultUnknown),
    ],
)
def test_what_is_no_answer_of_icat(
    status: int, body: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        soap.returned(answer(body, status, "text/html"), "create")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_garbage_is_an_unknown_result(body: bytes) -> None:
    with pytest.raises(ResultUnknown):
        soap.returned(Answer(200, "text/xml", body), "create")
