"""The rights in ICAT that handlers need: letters of C, R, U and D by entity."""

from collections.abc import Mapping

Rights = Mapping[str, str]

READING: Rights = {"Facility": "R", "Investigation": "R"}
DATASETS: Rights = {
    **READING,
    "Instrument": "R",
    "DatasetType": "R",
    "DatafileFormat": "R",
    "ParameterType": "R",
    "Technique": "R",
    "Sample": "CR",
    "Dataset": "CRU",
    "Datafile": "CRU",
    "DatasetParameter": "CRU",
    "DatafileParameter": "CRU",
    "DatasetInstrument": "CR",
    "DatasetTechnique": "CR",
}
USERS: Rights = {"Facility": "R", "User": "CRU", "Grouping": "CR", "UserGroup": "CRD"}
INVESTIGATIONS: Rights = {
    "Facility": "R",
    "Investigation": "CRU",
    "InvestigationType": "R",
    "InvestigationInstrument": "CRD",
    "Instrument": "R",
    "ParameterType": "R",
    "Sample": "CRU",
    "SampleType": "R",
    "SampleParameter": "CRU",
    "User": "R",
    "InvestigationUser": "CRD",
    "Keyword": "CRD",
    "InvestigationParameter": "CRU",
    "Shift": "CRD",
    "FacilityCycle": "R",
    "InvestigationFacilityCycle": "CRD",
}
