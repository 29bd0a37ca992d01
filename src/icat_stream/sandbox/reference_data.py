"""What the catalogue of the embedded facility holds before the first announcement.

Nobody and nothing named here exists.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from icat_stream.records import ValueType

from .samples import ESS_INSTRUMENT, ESS_INSTRUMENT_SHORT, ISIS_INSTRUMENT

ParameterKey = tuple[str, str, ValueType]

FACILITY = "EXAMPLE"

DATABASE_USERS = {
    "acord": ("Aurelia", "Cordwain", "Institute of Amber"),
    "ahau": ("Anselm", "Hauberk", "Polder University"),
    "jbotu": ("Jolanda", "Botulph", "Harbour College"),
    "jdoe": ("Jasper", "Doelittle", "Institute of Amber"),
    "nbour": ("Nerissa", "Bournemill", "Polder University"),
    "rbeck": ("Roland", "Beckenrath", "Harbour College"),
}


@dataclass(frozen=True, slots=True)
class Visit:
    """An investigation that is announced for.

    Parameters
    ----------
    proposal, visit_id
        Its key.
    instrument
        Where it takes place.
    title
        Of the investigation.
    start, end
        When.
    users
        Role by user.
    """

    proposal: str
    visit_id: str
    instrument: str
    title: str
    start: datetime
    end: datetime
    users: dict[str, str]


def _day(month: int, day: int) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC)


VISITS = (
    Visit(
        "240815",
        "1",
        ESS_INSTRUMENT,
        "Domains in soft films",
        _day(3, 1),
        _day(4, 1),
        {"acord": "Investigator", "jdoe": "Participant"},
    ),
    Visit(
        "240815",
        "2",
        ESS_INSTRUMENT,
        "Domains in soft films, continued",
        _day(4, 1),
        _day(6, 15),
        {"acord": "Investigator", "nbour": "Participant"},
    ),
    Visit(
        "250042",
        "1",
        ESS_INSTRUMENT,
        "Lipid membranes under load",
        _day(3, 1),
        _day(6, 15),
        {"nbour": "Investigator", "ahau": "Participant"},
    ),
    Visit(
        "RB2610007",
        "1",
        ISIS_INSTRUMENT,
        "Slow dynamics of ferrites",
        _day(3, 1),
        _day(6, 15),
        {"rbeck": "Investigator", "jbotu": "Participant"},
    ),
    Visit(
        "RB2610019",
        "1",
        ISIS_INSTRUMENT,
        "Calibration with vanadium",
        _day(3, 1),
        _day(6, 15),
        {"ahau": "Investigator"},
    ),
)
_INSTRUMENTS = {
    ESS_INSTRUMENT: "Small-angle scattering at the long pulse",
    ESS_INSTRUMENT_SHORT: "Lumen, by the name that some programs use",
    ISIS_INSTRUMENT: "Spectrometer for slow motions",
}
_TECHNIQUES = {
    "small angle neutron scattering": "http://purl.org/pan-science/PaNET/PaNET01189",
    "neutron reflectometry": None,
    "neutron tomography": None,
    "neutron powder diffraction": None,
    "inelastic neutron scattering": None,
    "neutron time-of-flight": None,
}
_FORMATS = (("NeXus", "4"), ("NeXus", "HDF5"), ("JSON", "1.0"))
# Anybody sees what describes the facility, members see what is theirs.
_PUBLIC = (
    "DatafileFormat",
    "DatasetType",
    "Facility",
    "Instrument",
    "InvestigationType",
    "ParameterType",
    "SampleType",
    "Technique",
    "User",
)
_MEMBER = "InvestigationUser <-> User[name=:user]"
_OF_MEMBERS = (
    f"Investigation <-> {_MEMBER}",
    f"InvestigationInstrument <-> Investigation <-> {_MEMBER}",
    "SELECT p FROM InvestigationUser p JOIN p.investigation i JOIN i.investigationUsers"
    " m WHERE m.user.name = :user",
    f"Sample <-> Investigation <-> {_MEMBER}",
    f"Dataset <-> Investigation <-> {_MEMBER}",
    f"DatasetParameter <-> Dataset <-> Investigation <-> {_MEMBER}",
    f"Datafile <-> Dataset <-> Investigation <-> {_MEMBER}",
)
# What operators of the dashboard follow from a message to its data.
_DATA = ("Dataset", "DatasetParameter", "Datafile", "Sample")
_OFFICE = ("Investigation", "InvestigationInstrument", "InvestigationUser", "User")


def load(client: Any, parameter_types: Iterable[ParameterKey]) -> None:
    """Bring a new catalogue to what announcements need; leave an old one alone.

    Parameters
    ----------
    client
        Of python-icat, logged in as root.
    parameter_types
        Name, units and kind of value of each.
    """
    facility = client.search(f"Facility [name='{FACILITY}']")
    if facility:
        _complete_parameter_types(client, facility[0], parameter_types)
        return
    facility = _facility(client, parameter_types)
    users = _users(client)
    client.createMany(
        [
            client.new("Technique", name=name, pid=pid)
            for name, pid in _TECHNIQUES.items()
        ]
    )
    _rules(client)
    instruments = {i.name: i for i in facility.instruments}
    client.createMany(
        [
            _investigation(client, facility, visit, instruments, users)
            for visit in VISITS
        ]
    )


def _facility(client: Any, parameter_types: Iterable[ParameterKey]) -> Any:
    facility = client.new("Facility", name=FACILITY, fullName="The embedded facility")
    facility.instruments = [
        client.new("Instrument", name=name, fullName=full)
        for name, full in _INSTRUMENTS.items()
    ]
    facility.investigationTypes = [
        client.new("InvestigationType", name=name)
        for name in ("experiment", "calibration")
    ]
    facility.datasetTypes = [
        client.new("DatasetType", name=name)
        for name in ("raw", "processed", "acquisition")
    ]
    facility.datafileFormats = [
        client.new("DatafileFormat", name=name, version=version)
        for name, version in _FORMATS
    ]
    facility.parameterTypes = [
        client.new("ParameterType", **_parameter_type(key)) for key in parameter_types
    ]
    facility.create()
    return client.get(
        "Facility INCLUDE Instrument, InvestigationType, ParameterType", facility.id
    )


def _complete_parameter_types(
    client: Any, facility: Any, parameter_types: Iterable[ParameterKey]
) -> None:
    """Add the types of schemas that were written since."""
    known = {(t.name, t.units or "") for t in client.search("ParameterType")}
    client.createMany(
        [
            client.new("ParameterType", facility=facility, **_parameter_type(key))
            for key in parameter_types
            if key[:2] not in known
        ]
    )


def _parameter_type(key: ParameterKey) -> dict[str, Any]:
    name, units, value_type = key
    return {
        "name": name,
        "units": units,
        "valueType": str(value_type),
        "applicableToDataset": True,
        "applicableToDatafile": True,
    }


_ACCOUNTS = {
    "useroffice": "User office",
    "root": "Root",
    "idsreader": "Data service",
}


def _users(client: Any) -> dict[str, Any]:
    users = {
        name: client.new(
            "User",
            name=f"db/{name}",
            givenName=given,
            familyName=family,
            fullName=f"{given} {family}",
            affiliation=affiliation,
        )
        for name, (given, family, affiliation) in DATABASE_USERS.items()
    }
    for name, title in _ACCOUNTS.items():
        users[name] = client.new("User", name=f"simple/{name}", fullName=title)
    for user, id_ in zip(
        users.values(), client.createMany(list(users.values())), strict=True
    ):
        user.id = id_
    return users


def _rules(client: Any) -> None:
    member = client.search("User [name='simple/useroffice']")[0]
    office = client.new("Grouping", name="useroffice")
    # Of the dashboard.
    operators = client.new("Grouping", name="operators")
    for group in (office, operators):
        group.create()
        client.create(client.new("UserGroup", grouping=group, user=member))
    client.createMany(
        [
            *(
                client.new("Rule", what=what, crudFlags="R")
                for what in (*_PUBLIC, *_OF_MEMBERS)
            ),
            *(
                client.new("Rule", what=what, crudFlags="CRUD", grouping=office)
                for what in _OFFICE
            ),
            *(
                client.new("Rule", what=what, crudFlags="R", grouping=operators)
                for what in _DATA
            ),
        ]
    )
    # Of plans of retention: never the account that carries them out.
    approvers = client.new("Grouping", name="approvers")
    approvers.create()
    for name in ("root", "idsreader"):
        (user,) = client.search(f"User [name='simple/{name}']")
        client.create(client.new("UserGroup", grouping=approvers, user=user))


def _investigation(
    client: Any,
    facility: Any,
    visit: Visit,
    instruments: dict[str, Any],
    users: dict[str, Any],
) -> Any:
    investigation = client.new(
        "Investigation",
        facility=facility,
        name=visit.proposal,
        visitId=visit.visit_id,
        title=visit.title,
        type=facility.investigationTypes[0],
        startDate=visit.start,
        endDate=visit.end,
    )
    investigation.investigationInstruments = [
        client.new("InvestigationInstrument", instrument=instruments[visit.instrument])
    ]
    investigation.investigationUsers = [
        client.new("InvestigationUser", user=users[name], role=role)
        for name, role in visit.users.items()
    ]
    return investigation
