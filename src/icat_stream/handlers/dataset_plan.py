"""A dataset as somebody announces it, and the plan that it means."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from icat_stream.config import Settings
from icat_stream.messages import DatasetMessage
from icat_stream.records import (
    Dataset,
    InvestigationEntry,
    Lookups,
    Outcome,
    OutcomeKind,
    Parameter,
    Plan,
    Rejection,
    Sample,
    is_higher,
    replacing_name,
)

from .dataset_files import DatasetFiles
from .dataset_options import DatasetOptions
from .dataset_references import DatasetReferences
from .stated_parameters import StatedParameters


class DatasetPlan:
    """Makes plans of dataset messages."""

    def __init__(
        self, settings: Settings, options: "DatasetOptions", files: DatasetFiles
    ) -> None:
        self._settings = settings
        self._options = options
        self._files = files

    def plan(
        self, message: DatasetMessage, lookups: Lookups, notes: list[str]
    ) -> Plan | Outcome:
        """Return the dataset that a message means.

        Raises
        ------
        Failure
            The message is wrong, or what it refers to is not there.
        """
        if message.start and message.end and message.end < message.start:
            raise Rejection(
                f"end_date: {message.end.isoformat()} is before start_date,"
                f" {message.start.isoformat()}"
            )
        references = DatasetReferences(lookups, self._settings.policies, notes)
        visit = self._investigation(message, lookups, references)
        instruments = references.instruments(
            [message.instrument] if message.instrument else [], visit
        )
        place = self._files.place(message.location, visit.key, message.instrument)
        stated = StatedParameters(lookups, self._settings.policies, notes)
        parameters = stated.all("parameters", message.parameters)
        inputs = self._options.inputs_parameter
        processed = any(p.name == inputs and p.value for p in message.parameters)
        versioned = processed and self._superseded(
            message, visit, parameters, lookups, notes
        )
        if isinstance(versioned, Outcome):
            return versioned
        dataset = Dataset(
            investigation=visit.key,
            name=message.name,
            type=references.dataset_type(
                self._options.processed_type
                if processed
                else self._options.acquisition_type,
                where="options.processed_type and options.acquisition_type",
            ),
            complete=message.complete,
            description=message.description,
            location=place.folder,
            start=message.start,
            end=message.end,
            sample=self._sample(message, stated),
            instruments=instruments,
            techniques=references.techniques(message.techniques),
            parameters=parameters,
            datafiles=self._files.all(
                place,
                message.datafiles,
                lambda file: stated.all(f"datafile {file.location}", file.parameters),
            ),
            existing="replace" if versioned else None,
            version=self._options.version_parameter if versioned else None,
        )
        return Plan(
            facility=self._settings.facility,
            stubs=references.stubs(visit, instruments, message.start or message.end),
            datasets=(dataset,),
            notes=tuple(notes),
        )

    def _investigation(
        self, message: DatasetMessage, lookups: Lookups, references: DatasetReferences
    ) -> InvestigationEntry:
        if message.investigation_id is not None:
            visits = references.investigation_by_id(message.investigation_id)
        elif message.investigation is not None:
            visits = references.visits_or_stub(message.investigation, message.visit_id)
        else:
            raise Rejection("investigation or investigation_id: one is required")
        wanted = message.instrument
        if wanted is not None and self._options.instrument == "of_investigation":
            wanted = references.spelled("Instrument", wanted)
            of_instrument = [
                v for v in visits if wanted in v.instruments or v.state != "whole"
            ]
            if not of_instrument:
                names = sorted({name for v in visits for name in v.instruments})
                raise Rejection(
                    f"instrument: {wanted[:200]!r} is none of investigation"
                    f" {visits[0].key.name}, which has {', '.join(names) or 'none'}"
                    " (options.instrument: of_investigation)"
                )
            visits = of_instrument
        return references.visit_at(visits, message.start or message.end)

    def _superseded(
        self,
        message: DatasetMessage,
        visit: InvestigationEntry,
        parameters: Sequence[Parameter],
        lookups: Lookups,
        notes: Iterable[str],
    ) -> bool | Outcome:
        """Return whether the dataset has a version; or that a higher one is there.

        What the replacement by this version left behind is seen to first.
        """
        name = self._options.version_parameter
        version = next((p.value for p in parameters if p.name == name), None)
        if version is None:
            return False
        if isinstance(version, datetime):
            raise Rejection(
                f"parameters: {name}: its type is DATE_AND_TIME, expected numbers or"
                " texts, which can be higher or lower (options.version_parameter)"
            )
        beside = replacing_name(message.name, version)
        names = [message.name, beside]
        found = [
            held
            for held in lookups.datasets(visit.key.name, names=names)
            if held.investigation == visit.key
        ]
        if any(held.name == beside for held in found):
            # Left by a kill, and not for others to take away.
            return True
        for held in found:
            there = held.parameters.get(name)
            if is_higher(there, version):
                return Outcome(
                    kind=OutcomeKind.IGNORED,
                    reason="; ".join(
                        [
                            f"superseded: dataset {visit.key}/{message.name} is there"
                            f" with {name} {there}, higher than {version}",
                            *notes,
                        ]
                    ),
                    objects={"investigation": str(visit.key), "dataset": message.name},
                )
        return True

    def _sample(
        self, message: DatasetMessage, stated: StatedParameters
    ) -> Sample | None:
        sample = message.sample
        if sample is None:
            return None
        if sample.type is None and self._options.sample_type == "required":
            raise Rejection(
                f"sample/type: is required for sample {sample.name[:200]!r}"
                " (options.sample_type: required)"
            )
        return Sample(
            name=sample.name,
            type=sample.type,
            create=self._settings.policies.missing_samples == "create",
            parameters=stated.all(f"sample {sample.name[:60]}", sample.parameters),
        )
