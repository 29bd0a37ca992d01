"""What a facility that sends dataset messages has, and messages of it."""

import itertools
import json
from datetime import datetime
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

INSTRUMENT = "bl06"
PROPOSAL = "20250330096"
# As the developers of another program show it in a talk; ALBA's namespace.
XML = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<dataset
  xmlns="http://www.cells.es/icat">
  <investigation>20250330096</investigation>
  <instrument>bl06</instrument>
  <name>ref-cq_3_diffraction_thumbnail_run1</name>
  <location>Sample-cq/ref-cq_3_diffraction_thumbnail_run1/all_files</location>
  <startDate>2025-07-15_15:53:33</startDate>
  <endDate>2025-07-15_15:53:35</endDate>
  <parameter>
    <name>scanType</name>
    <value>diffraction_thumbnail</value>
  </parameter>
  <parameter>
    <name>input_datasets</name>
    <value>Sample-cq/ref-cq_3</value>
  </parameter>
  <parameter>
    <name>ResourcesGalleryFilePaths</name>
    <value>
      /icat/gallery/0_diffraction_thumbnail.png,
      /icat/gallery/1_diffraction_thumbnail.png,
      /icat/gallery/2_diffraction_thumbnail.png,
      /icat/gallery/3_diffraction_thumbnail.png
    </value>
  </parameter>
  <sample>
    <name>20250703_Sample-cq</name>
    <type>SAMPLE</type>
  </sample>
  <datafile>
    <location>0_diffraction_thumbnail.png</location>
  </datafile>
  <datafile>
    <location>1_diffraction_thumbnail.png</location>
  </datafile>
  <datafile>
    <location>2_diffraction_thumbnail.png</location>
  </datafile>
  <datafile>
    <location>3_diffraction_thumbnail.png</location>
  </datafile>
</dataset>
"""
_NAMES = itertools.count(1)


def prepare(client: Any) -> None:
    """Create what messages refer to, but no investigation."""
    facility = client.assertedSearch("SELECT f FROM Facility f")[0]
    new = client.new
    if client.search(f"SELECT i FROM Instrument i WHERE i.name = '{INSTRUMENT}'"):
        return
    types = [
        new(
            "ParameterType",
            name=name,
            units=units,
            valueType=kind,
            applicableToDataset=True,
            applicableToDatafile=True,
            facility=facility,
        )
        for name, units, kind in (
            ("scanType", "", "STRING"),
            ("input_datasets", "", "STRING"),
            ("ResourcesGalleryFilePaths", "", "STRING"),
            ("processing version", "", "STRING"),
            ("exposure", "s", "NUMERIC"),
            ("measured", "", "DATE_AND_TIME"),
        )
    ]
    for one in (
        new("Instrument", name=INSTRUMENT, facility=facility),
        new("SampleType", name="SAMPLE", molecularFormula="unknown", facility=facility),
        *types,
    ):
        one.create()


def new_investigation(
    client: Any,
    name: str | None = None,
    visit: str = "1",
    start: datetime | None = None,
    end: datetime | None = None,
    instrument: str = INSTRUMENT,
) -> str:
    """Create an investigation and return its name."""
    name = name or f"prop-{next(_NAMES):05}"
    facility = client.assertedSearch("SELECT f FROM Facility f")[0]
    kind = client.search("SELECT t FROM InvestigationType t")[0]
    found = client.assertedSearch(
        f"SELECT i FROM Instrument i WHERE i.name = '{instrument}'"
    )[0]
    client.new(
        "Investigation",
        name=name,
        visitId=visit,
        title="A test",
        facility=facility,
        type=kind,
        startDate=start,
        endDate=end,
        investigationInstruments=[
            client.new("InvestigationInstrument", instrument=found)
        ],
    ).create()
    return name


def send(bootstrap: str, topic: str, *values: Any) -> None:
    """Publish messages; what is no bytes as JSON."""
    create_topic(bootstrap, topic)
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        if not isinstance(value, bytes):
            value = value.encode() if isinstance(value, str) else json.dumps(value)
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def create_topic(bootstrap: str, topic: str, partitions: int = 1) -> None:
    """Create a topic that is not there."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    if topic not in admin.list_topics(timeout=10).topics:
        for done in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
            done.result(30)


def datasets(client: Any, investigation: str) -> list[Any]:
    """Return the datasets of an investigation, read back through python-icat."""
    return client.search(
        "SELECT d FROM Dataset d JOIN d.investigation i"
        f" WHERE i.name = '{investigation}' ORDER BY d.id"
        " INCLUDE d.datafiles, d.type, d.sample AS s, s.type,"
        " d.parameters AS p, p.type, d.datasetInstruments AS l, l.instrument,"
        " d.investigation"
    )
