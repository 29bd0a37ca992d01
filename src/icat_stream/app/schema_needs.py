"""What the datasets of a metadata schema need of ICAT, and it does not have."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from icat.helper import simpleqp_quote

from icat_stream.catalogue import CatalogueSession
from icat_stream.config import Settings
from icat_stream.records import parameter_label
from icat_stream.schemas import Draft

from .pipeline import Pipeline

Lacking = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Fields of objects, by a name of their own, by ``icatingest``'s name of the entity."""


def lacking(settings: Settings, drafts: Iterable[Draft]) -> Lacking:
    """Return what ICAT lacks for datasets, all at once.

    Investigations and samples are not among it: others announce them.

    Parameters
    ----------
    settings
        Which ICAT, as whom.
    drafts
        As a schema makes them of files.

    Raises
    ------
    Failure
        ICAT cannot be asked.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with Pipeline(settings, dry_run=True) as pipeline:
        pipeline.catalogue.open()
        session = pipeline.catalogue.session()
        try:
            for draft in drafts:
                for kind, label, fields in _lacking(session, draft):
                    of_kind = found.setdefault(kind, {})
                    of_kind.setdefault(f"{kind}_{simpleqp_quote(label)}", fields)
        finally:
            pipeline.catalogue.leave()
    facility = f"Facility_name-{simpleqp_quote(settings.facility)}"
    for kind, objects in found.items():
        if kind != "technique":
            for fields in objects.values():
                fields["facility"] = facility
    return found


def as_icatingest(found: Lacking) -> str:
    """Return a file for python-icat's ``icatingest`` that makes it."""
    return "".join(
        yaml.safe_dump({kind: objects}, allow_unicode=True, sort_keys=False)
        for kind, objects in found.items()
    )


def _lacking(
    session: CatalogueSession, draft: Draft
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name in draft.instruments:
        if session.spelling("Instrument", name) is None:
            yield "instrument", name, {"name": name, "fullName": name}
    if session.spelling("DatasetType", draft.type) is None:
        yield "datasetType", draft.type, {"name": draft.type}
    for name in draft.techniques:
        if session.spelling("Technique", name) is None:
            yield "technique", name, {"name": name}
    if draft.format is not None:
        name, version = draft.format
        if version not in session.formats(name):
            kind = {"name": name, "version": version}
            yield "datafileFormat", f"{name} {version}", kind
    for each in draft.parameters:
        known = session.parameter_types(each.name)
        there = [entry for entry in known if entry.units == each.units]
        if not any("Dataset" in entry.applicable_to for entry in there):
            label = parameter_label(each.name, each.units)
            fields: dict[str, Any] = {
                "name": each.name,
                "units": each.units,
                "valueType": each.value_type.value,
                "applicableToDataset": True,
            }
            yield "parameterType", label, fields
