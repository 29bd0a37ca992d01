"""Messages about what is there: a parameter, further files, new dates."""

from collections.abc import Sequence

from icat_stream.config import Settings
from icat_stream.messages import (
    DatafileList,
    MetadataUpdate,
    Reschedule,
    StatedParameter,
)
from icat_stream.records import (
    Dataset,
    DatasetEntry,
    DependencyMissing,
    Investigation,
    InvestigationKey,
    Lookups,
    Outcome,
    OutcomeKind,
    Plan,
    Rejection,
)

from .dataset_files import DatasetFiles
from .dataset_references import DatasetReferences
from .stated_parameters import StatedParameters

_MOST_DATASETS = 1000


class Changes:
    """Makes plans of what is to be changed of what is there."""

    def __init__(self, settings: Settings, files: DatasetFiles) -> None:
        self._settings = settings
        self._files = files

    def metadata(
        self, message: MetadataUpdate, lookups: Lookups, notes: list[str]
    ) -> Plan:
        """Return the datasets at some locations with one parameter, whatever it was.

        Raises
        ------
        DependencyMissing
            A dataset is not there yet.
        Rejection
            The message is wrong.
        """
        if len(message.locations) > _MOST_DATASETS:
            raise Rejection(
                f"dataset_paths: {len(message.locations)} are listed, expected at most"
                f" {_MOST_DATASETS}"
            )
        key = InvestigationKey(name=message.investigation, visit_id="")
        places = list(
            dict.fromkeys(
                self._files.place(location, key, message.instrument).folder
                for location in message.locations
            )
        )
        there = lookups.datasets(message.investigation, locations=places)
        self._require(places, there)
        stated = StatedParameters(lookups, self._settings.policies, notes)
        parameters = stated.all(
            "metadata", [StatedParameter(name=message.name, value=message.value)]
        )
        return Plan(
            facility=self._settings.facility,
            datasets=tuple(
                Dataset(
                    investigation=entry.investigation,
                    name=entry.name,
                    type=entry.type,
                    complete=entry.complete,
                    parameters=parameters,
                    existing="update",
                    partial=True,
                )
                for entry in there
            ),
            notes=tuple(notes),
        )

    def datafiles(
        self, message: DatafileList, lookups: Lookups, notes: list[str]
    ) -> Plan:
        """Return a dataset with files that it did not have before.

        Raises
        ------
        DependencyMissing
            The dataset is not there yet.
        Rejection
            The message is wrong.
        """
        entry = self._dataset(message, lookups)
        if not message.datafiles and not (entry.location or message.location):
            raise Rejection(
                f"datafiles: none are listed, and dataset {entry.investigation}/"
                f"{entry.name} has no location where they could be looked for"
            )
        place = self._files.place(
            entry.location or message.location or "", entry.investigation, None
        )
        stated = StatedParameters(lookups, self._settings.policies, notes)
        dataset = Dataset(
            investigation=entry.investigation,
            name=entry.name,
            type=entry.type,
            complete=entry.complete,
            datafiles=self._files.all(
                place,
                message.datafiles,
                lambda file: stated.all(f"datafile {file.location}", file.parameters),
            ),
            partial=True,
        )
        return Plan(
            facility=self._settings.facility, datasets=(dataset,), notes=tuple(notes)
        )

    def dates(
        self, message: Reschedule, lookups: Lookups, notes: list[str]
    ) -> Plan | Outcome:
        """Return an investigation with new dates, and nothing else.

        Raises
        ------
        DependencyMissing
            The investigation is not there yet.
        Rejection
            The message is wrong, or does not say which visit is meant.
        """
        name = message.investigation
        if name is None or (message.start is None and message.end is None):
            reason = (
                "no start_date and no end_date"
                if name is not None
                else "only the schedule's own id"
            )
            return Outcome(
                kind=OutcomeKind.IGNORED,
                reason="; ".join(
                    [f"{reason}: no integration asks for the schedule", *notes]
                ),
                objects={} if name is None else {"investigation": name},
            )
        references = DatasetReferences(lookups, self._settings.policies, notes)
        visits = references.visits(name)
        if len(visits) > 1 and message.instrument is not None:
            instrument = references.spelled("Instrument", message.instrument)
            visits = [v for v in visits if instrument in v.instruments]
        if len(visits) != 1:
            raise Rejection(
                f"investigation {name}: has {len(visits)} visits with instrument"
                f" {message.instrument or '(none stated)'}, expected one: send the"
                " dates with a snapshot of the investigation"
            )
        visit = visits[0]
        start, end = message.start or visit.start, message.end or visit.end
        if start is not None and end is not None and end < start:
            raise Rejection(
                f"end_date: {end.isoformat()} would be before start_date:"
                f" {start.isoformat()}; state both"
            )
        return Plan(
            facility=self._settings.facility,
            investigations=(
                Investigation(
                    investigation=visit.key, start=message.start, end=message.end
                ),
            ),
            notes=tuple(notes),
        )

    def _dataset(self, message: DatafileList, lookups: Lookups) -> DatasetEntry:
        name = message.investigation
        if message.dataset_id is not None:
            found = lookups.datasets(ids=[message.dataset_id])
            missing = f"dataset_id:{message.dataset_id}"
        elif message.location is not None:
            key = InvestigationKey(name=name or "", visit_id="")
            folder = self._files.place(message.location, key, message.instrument).folder
            found = lookups.datasets(name, locations=[folder])
            missing = f"dataset_at:{folder}"
        else:
            raise Rejection("dataset_id or location: one is required")
        if not found:
            raise DependencyMissing(
                f"dataset {missing.partition(':')[2]} is not in the catalogue",
                [missing],
            )
        if len(found) > 1:
            names = ", ".join(f"{d.investigation}/{d.name}" for d in found[:5])
            raise Rejection(
                f"location: {message.location!r} is that of {len(found)} datasets"
                f" ({names}): state dataset_id"
            )
        return found[0]

    def _require(self, places: Sequence[str], there: Sequence[DatasetEntry]) -> None:
        known = {entry.location for entry in there}
        missing = [place for place in places if place not in known]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise DependencyMissing(
                f"no dataset with location {', '.join(missing[:3])}{more} is in the"
                " catalogue",
                [f"dataset_at:{place}" for place in missing],
            )
