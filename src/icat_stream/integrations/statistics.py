"""Counts and volumes of datasets, investigations and samples, kept in the catalogue.

Parameters as ESRF's and ALBA's portals read them, and ICAT's own ``fileCount`` and
``fileSize`` where its database does not keep them.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from icat_stream.config import Duration
from icat_stream.handlers import HandlerContext
from icat_stream.messages import EventMessage
from icat_stream.records import (
    Dataset,
    DatasetEntry,
    DatasetSum,
    FileSum,
    Investigation,
    InvestigationKey,
    Lookups,
    Outcome,
    OutcomeKind,
    Parameter,
    ParameterTypeEntry,
    Plan,
    Rejection,
    Sample,
    ValueType,
)

from .event_handler import EventHandler
from .portal_names import PortalNames

# Figure: what the portals call it.
_NAMES = {
    "files": "__fileCount",
    "volume": "__volume",
    "seconds": "__elapsedTime",
    "samples": "__sampleCount",
    "datasets": "__datasetCount",
    "acquisition_datasets": "__acquisitionDatasetCount",
    "acquisition_files": "__acquisitionFileCount",
    "acquisition_volume": "__acquisitionVolume",
    "processed_datasets": "__processedDatasetCount",
    "processed_files": "__processedFileCount",
    "processed_volume": "__processedVolume",
}
_SUBJECTS = 10_000
Level = Literal["dataset", "investigation", "sample"]


class StatisticsOptions(PortalNames):
    """Options of the handler ``statistics``."""

    standard = _NAMES

    parameters: list[Level] = Field(
        [],
        description="What gets parameters, as the portals of ESRF and ALBA read them:"
        " dataset, investigation, sample.",
    )
    acquisition: list[str] = Field(
        ["raw", "acquisition"],
        description="Types of datasets that count as acquired; all others are"
        " processed.",
    )
    sizes: Literal["auto", "write", "never"] = Field(
        "auto",
        description="fileCount and fileSize of ICAT itself; auto: where its database"
        " does not keep them.",
    )
    gather: Duration = Field(
        5.0,
        ge=0,
        le=600,
        description="An investigation is counted at most once in that time, however"
        " many of its datasets come.",
    )


class Statistics(EventHandler[StatisticsOptions]):
    """Handler of our own events: counts what is in an investigation."""

    Options = StatisticsOptions
    follows = frozenset({"dataset", "investigation"})
    operations = frozenset({"recount"})
    gathers = True
    rights: ClassVar[Mapping[str, str]] = {
        "Facility": "R",
        "Investigation": "RU",
        "InvestigationType": "R",
        "DatasetType": "R",
        "ParameterType": "R",
        "Dataset": "RU",
        "Datafile": "R",
        "Sample": "R",
        "DatasetParameter": "CRU",
        "InvestigationParameter": "CRU",
        "SampleParameter": "CRU",
    }

    def __init__(self, context: HandlerContext) -> None:
        super().__init__(context)
        self.apart = self.options.gather
        # Datasets whose figures were right when their investigation was counted.
        self._right: OrderedDict[str, set[int]] = OrderedDict()

    def plan(self, event: EventMessage, lookups: Lookups) -> Plan | Outcome:
        """Return the figures of the dataset, its investigation and their samples."""
        number = event.dataset_id if event.kind == "dataset" else None
        subject = self.subject(event)
        if event.gathered:
            if number is None or number in self._right.get(subject, ()):
                reason = "counted with a later event of its investigation"
                return self.nothing(event, OutcomeKind.UNCHANGED, reason)
            planned = self._datasets([number], lookups)
            return self._plan(event, planned.get(number), None)
        since = self.now()
        numbers = [*([] if number is None else [number]), *self.waiting(subject)]
        planned = self._datasets(list(dict.fromkeys(numbers)), lookups)
        self._right[subject] = set(numbers) - planned.keys()
        self._right.move_to_end(subject)
        if len(self._right) > _SUBJECTS:
            self._right.popitem(last=False)
        investigation = None
        if (key := event.investigation) is not None:
            there = (entry.key for entry in lookups.investigations(key.name))
            if key in there:
                investigation = self._investigation(key, lookups)
        self.looked([subject], since)
        return self._plan(event, planned.get(number or 0), investigation)

    def _plan(
        self,
        event: EventMessage,
        dataset: Dataset | None,
        investigation: Investigation | None,
    ) -> Plan | Outcome:
        if dataset is None and investigation is None:
            reason = "it is gone, or its figures are right"
            return self.nothing(event, OutcomeKind.UNCHANGED, reason)
        return Plan(
            facility=self.facility,
            datasets=() if dataset is None else (dataset,),
            investigations=() if investigation is None else (investigation,),
        )

    def _datasets(
        self, numbers: Sequence[int], lookups: Lookups
    ) -> Mapping[int, Dataset]:
        """Return those datasets whose figures are to be written, by id."""
        with_parameters = "dataset" in self.options.parameters
        if self.options.sizes == "never" and not with_parameters:
            return {}
        sums = lookups.dataset_files(numbers)
        looked_at = list(sums)
        if not with_parameters:
            looked_at = [
                n for n, each in sums.items() if self._stated(each)[0] is not None
            ]
        entries = lookups.datasets(ids=looked_at) if looked_at else ()
        found = {
            entry.id: self._dataset(entry, sums[entry.id], lookups) for entry in entries
        }
        held = {entry.id: entry.parameters for entry in entries}
        return {
            number: each
            for number, each in found.items()
            if each.file_count is not None
            or any(held[number].get(p.name) != p.value for p in each.parameters)
        }

    def _dataset(
        self, entry: DatasetEntry, files: FileSum, lookups: Lookups
    ) -> Dataset:
        figures: dict[str, float] = {"files": files.count, "volume": files.size}
        if entry.start is not None and entry.end is not None:
            figures["seconds"] = (entry.end - entry.start).total_seconds()
        count, size = self._stated(files)
        return Dataset(
            investigation=entry.investigation,
            name=entry.name,
            type=entry.type,
            complete=entry.complete,
            parameters=self._parameters("dataset", figures, lookups),
            file_count=count,
            file_size=size,
            existing="update",
            partial=True,
        )

    def _investigation(self, key: InvestigationKey, lookups: Lookups) -> Investigation:
        count, size = self._stated(lookups.investigation_files(key))
        levels = self.options.parameters
        sums: Sequence[DatasetSum] = ()
        if "investigation" in levels or "sample" in levels:
            seconds = self.options.name("seconds") is not None
            sums = lookups.dataset_sums(key, seconds=seconds)
        parameters: tuple[Parameter, ...] | None = None
        if "investigation" in levels:
            figures = self._figures(sums)
            if self.options.name("samples") is not None:
                figures["samples"] = lookups.sample_count(key)
            parameters = self._parameters("investigation", figures, lookups)
        samples: tuple[Sample, ...] | None = None
        if "sample" in levels:
            samples = tuple(self._samples(sums, lookups)) or None
        return Investigation(
            investigation=key,
            parameters=parameters,
            samples=samples,
            file_count=count,
            file_size=size,
            partial=True,
        )

    def _samples(
        self, sums: Sequence[DatasetSum], lookups: Lookups
    ) -> Iterator[Sample]:
        names = {one.sample for one in sums if one.sample is not None}
        for name in sorted(names):
            figures = self._figures(one for one in sums if one.sample == name)
            parameters = self._parameters("sample", figures, lookups)
            yield Sample(name=name, parameters=parameters)

    def _figures(self, sums: Iterable[DatasetSum]) -> dict[str, float]:
        found: dict[str, float] = {"seconds": 0.0}
        for kind in ("", "acquisition_", "processed_"):
            for what in ("datasets", "files", "volume"):
                found[kind + what] = 0
        for one in sums:
            acquired = one.type in self.options.acquisition
            for kind in ("", "acquisition_" if acquired else "processed_"):
                found[f"{kind}datasets"] += one.datasets
                found[f"{kind}files"] += one.files
                found[f"{kind}volume"] += one.size
            found["seconds"] += one.seconds
        return found

    def _parameters(
        self, level: Level, figures: Mapping[str, float], lookups: Lookups
    ) -> tuple[Parameter, ...]:
        if level not in self.options.parameters:
            return ()
        return tuple(
            _parameter(name, value, lookups)
            for figure, value in figures.items()
            if (name := self.options.name(figure)) is not None
        )

    def _stated(self, files: FileSum) -> tuple[int | None, int | None]:
        """Return what ICAT's own fields are to say, ``None`` to leave them."""
        kept = (files.stated_count, files.stated_size) == (files.count, files.size)
        if self.options.sizes == "never" or (self.options.sizes == "auto" and kept):
            return None, None
        return files.count, files.size


def _parameter(name: str, value: float, lookups: Lookups) -> Parameter:
    """Return a figure as the parameter type of its name takes it.

    The portals have all of them as text.
    """
    types = lookups.parameter_types(name)
    if len(types) > 1:
        units = ", ".join(repr(one.units) for one in types)
        raise Rejection(
            f"parameter type {name}: the catalogue has it with units {units}; the"
            " statistics need it once: give another in options.names, and replay"
        )
    type_: ParameterTypeEntry | None = types[0] if types else None
    exact = int(value) if value == int(value) else value
    number = type_ is not None and type_.value_type is ValueType.NUMERIC
    return Parameter(
        name=name,
        units=type_.units if type_ is not None else "",
        value=float(value) if number else str(exact),
    )
