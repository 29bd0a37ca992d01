"""Processed datasets linked with those that they were made from, in both directions.

A processed dataset names its inputs by location, in a parameter; this writes the ids
and names that the portals of ESRF and ALBA follow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field

from icat_stream.handlers import READING
from icat_stream.messages import EventMessage
from icat_stream.records import (
    Dataset,
    DatasetEntry,
    Derivation,
    Lookups,
    Outcome,
    OutcomeKind,
    Parameter,
    Plan,
    Rejection,
    ValueType,
    shortened,
)

from .event_handler import EventHandler
from .portal_names import PortalNames

# Link: what the portals call it.
_NAMES = {
    "input_ids": "input_datasetIds",
    "output_ids": "output_datasetIds",
    "output_names": "output_datasetNames",
    "output_locations": "output_datasets",
    "full_input_ids": "__full_input_datasetIds",
    "full_output_ids": "__full_output_datasetIds",
    "full_input_names": "__full_input_datasetNames",
    "full_output_names": "__full_output_datasetNames",
}
# No text in ICAT is longer.
_LONGEST = 4000
_LISTED = 5
# Of an id in ICAT.
_DIGITS = 18


class LineageOptions(PortalNames):
    """Options of the handler ``lineage``."""

    standard = _NAMES

    inputs: str = Field(
        "input_datasets",
        description="The parameter with the locations of a dataset's inputs, separated"
        " by commas; relative ones are of its own investigation.",
    )
    application: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="Where ICAT's own Job and DataCollection are wanted: the name of"
        " the Application of these jobs, which must be in the catalogue.",
    )
    application_version: str = Field(
        "1.0", min_length=1, max_length=255, description="Its version."
    )
    max_datasets: int = Field(
        20_000, ge=1, description="That are linked with each other."
    )


@dataclass(slots=True)
class Family:
    """Datasets and which of them were made from which.

    Parameters
    ----------
    datasets
        By id.
    inputs
        Ids of those that each was made from.
    notes
        What could not be linked.
    """

    datasets: dict[int, DatasetEntry] = field(default_factory=dict)
    inputs: dict[int, set[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def outputs(self) -> dict[int, set[int]]:
        """Return the ids of those that were made of each."""
        found: dict[int, set[int]] = {number: set() for number in self.datasets}
        for number, inputs in self.inputs.items():
            for each in inputs:
                found[each].add(number)
        return found

    def around(self, number: int) -> set[int]:
        """Return the ids of all that are linked with one, and its own."""
        both = self.outputs()
        for each, inputs in self.inputs.items():
            both[each] |= inputs
        return reached(both, number) | {number}


def reached(links: Mapping[int, Iterable[int]], start: int) -> set[int]:
    """Return all that links lead to, over any number of others; ``start`` only if so.

    That it is among them tells a circle.
    """
    found: set[int] = set()
    left = list(links.get(start, ()))
    while left:
        number = left.pop()
        if number not in found:
            found.add(number)
            left += links.get(number, ())
    return found


class Lineage(EventHandler[LineageOptions]):
    """Handler of our own events: links datasets with their inputs and outputs."""

    Options = LineageOptions
    gathers = True
    sends_events = True
    cause = "lineage"
    rights: ClassVar[Mapping[str, str]] = {
        **READING,
        "DatasetType": "R",
        "ParameterType": "R",
        "Dataset": "RU",
        "DatasetParameter": "CRUD",
        "Application": "R",
        "Job": "CRD",
        "DataCollection": "CRD",
        "DataCollectionDataset": "CRD",
    }

    def subject(self, event: EventMessage) -> str:
        """Return the dataset: a look at it is one at all that it is linked with."""
        return str(event.dataset_id)

    def plan(self, event: EventMessage, lookups: Lookups) -> Plan | Outcome:
        """Return the links of a dataset, and of all that it is linked with."""
        if event.gathered:
            return self.nothing(event, OutcomeKind.UNCHANGED, "linked with another")
        now = self.now()
        first = self.dataset(event, lookups)
        if isinstance(first, Outcome):
            return first
        family = self._family(first, lookups)
        linked = family.around(first.id)
        datasets, notes = self._links(family, linked, lookups)
        self.looked(map(str, linked), now)
        notes = [*family.notes, *notes]
        derivations = self._derivations(family, linked)
        if not datasets and not derivations:
            return self.nothing(event, OutcomeKind.UNCHANGED, "; ".join(notes))
        return Plan(
            facility=self.facility,
            datasets=datasets,
            derivations=derivations,
            notes=tuple(notes),
        )

    def _family(self, first: DatasetEntry, lookups: Lookups) -> Family:
        """Return a dataset with all that may be linked with it, and its links."""
        family = Family()
        new: Sequence[DatasetEntry] = [first]
        named: dict[int, list[str]] = {}
        while new:
            for entry in new:
                family.datasets[entry.id] = entry
                named[entry.id] = _locations(entry.parameters.get(self.options.inputs))
            if len(family.datasets) > self.options.max_datasets:
                raise Rejection(
                    f"dataset {first.investigation}/{first.name}: more than"
                    f" {self.options.max_datasets} datasets are linked with it; raise"
                    " options.max_datasets and replay"
                )
            found = [*lookups.datasets_naming(self.options.inputs, new)]
            found += self._named(new, named, lookups)
            by_id = {entry.id: entry for entry in found}
            new = [by_id[n] for n in by_id if n not in family.datasets]
        folders: dict[str, list[DatasetEntry]] = {}
        for entry in family.datasets.values():
            folders.setdefault(_folder(entry.location or ""), []).append(entry)
        for number, locations in named.items():
            family.inputs[number] = self._resolved(family, number, locations, folders)
        return family

    def _named(
        self,
        entries: Sequence[DatasetEntry],
        named: Mapping[int, Sequence[str]],
        lookups: Lookups,
    ) -> list[DatasetEntry]:
        """Return datasets at the locations that some name, or ones that end so."""
        whole = [n for e in entries for n in named[e.id] if n.startswith("/")]
        found = [*lookups.datasets(locations=whole)]
        ends: dict[str, dict[str, None]] = {}
        for entry in entries:
            of_name = ends.setdefault(entry.investigation.name, {})
            of_name.update((n, None) for n in named[entry.id] if not n.startswith("/"))
        for investigation, endings in ends.items():
            if endings:
                wanted = [f"/{ending}" for ending in endings]
                found += lookups.datasets(investigation, endings=wanted)
        return found

    def _resolved(
        self,
        family: Family,
        number: int,
        locations: Sequence[str],
        folders: Mapping[str, Sequence[DatasetEntry]],
    ) -> set[int]:
        """Return which datasets are at the locations that one names."""
        entry = family.datasets[number]
        found: set[int] = set()
        for location in locations:
            there = [
                other.id
                for other in folders.get(_folder(location), ())
                if other.id != number and _is_at(other, location, entry)
            ]
            if len(there) > 1:
                family.notes.append(
                    f"{entry.name}: {len(there)} datasets are at"
                    f" {shortened(location, 80)}, none of them is linked"
                )
            found.update(there if len(there) == 1 else ())
        return found

    def _links(
        self, family: Family, linked: set[int], lookups: Lookups
    ) -> tuple[tuple[Dataset, ...], list[str]]:
        outputs = family.outputs()
        notes: list[str] = []
        above = {number: reached(family.inputs, number) for number in linked}
        circle = [number for number in sorted(linked) if number in above[number]]
        if circle:
            names = ", ".join(family.datasets[n].name for n in circle[:_LISTED])
            notes.append(f"{len(circle)} datasets are made of each other: {names}")
        types = {
            link: self._type(lookups, name)
            for link in _NAMES
            if (name := self.options.name(link)) is not None
        }
        directions = {
            "input": family.inputs,
            "output": outputs,
            "full_input": above,
            "full_output": {number: reached(outputs, number) for number in linked},
        }
        strange = self._strange(family, directions, lookups)
        datasets = []
        for number in sorted(linked):
            entry = family.datasets[number]
            parameters, removed = [], []
            for link, (name, units) in types.items():
                direction, _, what = link.rpartition("_")
                if (number, direction) in strange:
                    continue
                others = sorted(directions[direction][number] - {number})
                text, left = _listed(what, others, family.datasets)
                if left:
                    notes.append(f"{entry.name}: {name}: {left} more have no room")
                if text and entry.parameters.get(name) != text:
                    parameters.append(Parameter(name=name, units=units, value=text))
                elif not text and name in entry.parameters:
                    removed.append((name, units))
            if parameters or removed:
                datasets.append(
                    Dataset(
                        investigation=entry.investigation,
                        name=entry.name,
                        type=entry.type,
                        complete=entry.complete,
                        parameters=tuple(parameters),
                        removed=tuple(removed),
                        existing="update",
                        partial=True,
                    )
                )
        notes += (
            f"{family.datasets[number].name}: its {direction} links are left: {why}"
            for (number, direction), why in sorted(strange.items())
        )
        return tuple(datasets), notes

    def _strange(
        self,
        family: Family,
        directions: Mapping[str, Mapping[int, set[int]]],
        lookups: Lookups,
    ) -> dict[tuple[int, str], str]:
        """Return lists that somebody else has made, and how that is seen.

        They have datasets that are in the catalogue, but not in this family, or no ids.
        What is gone may go, and what we have linked is of the family.
        """
        found: dict[tuple[int, str], str] = {}
        others: dict[tuple[int, str], set[int]] = {}
        for direction, links in directions.items():
            ids, *texts = (
                self.options.name(link)
                for link in (f"{direction}_{w}" for w in ("ids", "names", "locations"))
                if link in _NAMES
            )
            if ids is None:
                continue
            for number in links:
                held = family.datasets[number].parameters
                if ids in held:
                    others[number, direction] = (
                        _numbers(held[ids]) - family.datasets.keys()
                    )
                elif any(name in held for name in texts):
                    found[number, direction] = "they have no ids"
        wanted = sorted(set().union(*others.values()))
        there = {each.id for each in lookups.datasets(ids=wanted)} if wanted else set()
        for each, numbers in others.items():
            if numbers & there:
                found[each] = (
                    f"dataset {min(numbers & there)} is named by no"
                    f" {self.options.inputs} here"
                )
        return found

    def _derivations(self, family: Family, linked: set[int]) -> tuple[Derivation, ...]:
        """Return which were made from which, if ICAT's own jobs are wanted."""
        application = self.options.application
        if application is None:
            return ()
        return tuple(
            Derivation(
                investigation=family.datasets[number].investigation,
                name=family.datasets[number].name,
                inputs=tuple(
                    (family.datasets[each].investigation, family.datasets[each].name)
                    for each in sorted(family.inputs[number])
                ),
                application=application,
                version=self.options.application_version,
            )
            for number in sorted(linked)
            if family.inputs.get(number)
        )

    def _type(self, lookups: Lookups, name: str) -> tuple[str, str]:
        types = lookups.parameter_types(name)
        if len(types) > 1 or any(t.value_type is not ValueType.STRING for t in types):
            raise Rejection(
                f"parameter type {name}: expected one of STRING, the catalogue has"
                f" {len(types)}, of {', '.join(sorted({t.value_type for t in types}))}:"
                " give another in options.names, and replay"
            )
        return name, types[0].units if types else ""


def _locations(value: float | str | None) -> list[str]:
    """Return the locations in a parameter, which may be broken over lines."""
    stripped = (part.strip().rstrip("/") for part in str(value or "").split(","))
    return [part for part in dict.fromkeys(stripped) if part]


def _folder(location: str) -> str:
    return location.rstrip("/").rpartition("/")[2]


def _is_at(entry: DatasetEntry, location: str, by: DatasetEntry) -> bool:
    """Whether a dataset is at a location that another one names."""
    held = (entry.location or "").rstrip("/")
    if location.startswith("/"):
        return held == location
    alike = entry.investigation.name == by.investigation.name
    return alike and (held == location or held.endswith(f"/{location}"))


def _numbers(value: float | str) -> set[int]:
    """Return the ids in a list as a parameter has it."""
    texts = str(value).replace(",", " ").split()
    return {int(text) for text in texts if text.isdecimal() and len(text) <= _DIGITS}


def _listed(
    what: str, numbers: Sequence[int], datasets: Mapping[int, DatasetEntry]
) -> tuple[str, int]:
    """Return a list as a parameter has it, and how many had no room in it."""
    if what == "ids":
        texts = [str(number) for number in numbers]
    elif what == "names":
        texts = [datasets[number].name for number in numbers]
    else:
        texts = [datasets[number].location or "" for number in numbers]
    text = " ".join(texts)
    if len(text) <= _LONGEST:
        return text, 0
    kept = text[: _LONGEST + 1].rpartition(" ")[0]
    return kept, len(texts) - kept.count(" ") - 1
