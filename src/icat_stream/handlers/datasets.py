"""Messages about datasets, in JSON or XML, become datasets."""

from collections.abc import Mapping
from typing import Any, ClassVar

from icat_stream.messages import (
    ArchiveStatus,
    DatafileList,
    DatasetMessage,
    MetadataUpdate,
    Reschedule,
)
from icat_stream.records import Lookups, Outcome, OutcomeKind, Plan, Rejection

from .dataset_changes import Changes
from .dataset_files import DatasetFiles
from .dataset_options import DatasetOptions
from .dataset_plan import DatasetPlan
from .field_map_handler import FieldMapHandler, MappedMessage
from .handler import HandlerContext
from .rights import DATASETS


class Datasets(FieldMapHandler[DatasetOptions]):
    """Handler of messages about datasets.

    A new dataset, a parameter for datasets that are there, further files of one, new
    dates of an investigation; what an archive says is only kept in the journal.
    """

    Options = DatasetOptions
    kinds: ClassVar[Mapping[str, type]] = {
        "dataset": DatasetMessage,
        "metadata_update": MetadataUpdate,
        "datafile_list": DatafileList,
        "reschedule": Reschedule,
        "archive_status": ArchiveStatus,
    }
    key_fields = ("investigation", "investigation_id")
    rights = DATASETS

    def __init__(self, context: HandlerContext) -> None:
        super().__init__(context)
        options = self._options
        files = DatasetFiles(
            context.files,
            context.settings,
            base=options.base,
            check=options.files == "check",
            walk=options.walk,
            most=options.max_datafiles,
            format=options.datafile_format,
        )
        self._datasets = DatasetPlan(context.settings, options, files)
        self._changes = Changes(context.settings, files)

    def about(self, message: Any) -> Mapping[str, Any]:
        """Return investigation, dataset and location, as far as they are stated."""
        if isinstance(message, ArchiveStatus):
            return {"dataset_id": message.dataset_id}
        return {
            "investigation": message.investigation,
            "dataset": message.name if isinstance(message, DatasetMessage) else None,
            "location": getattr(message, "location", None),
        }

    def plan(self, mapped: MappedMessage, lookups: Lookups) -> Plan | Outcome:
        """Return what the catalogue shall hold."""
        notes = mapped.unread
        match mapped.message:
            case DatasetMessage() as message:
                return self._datasets.plan(message, lookups, notes)
            case MetadataUpdate() as message:
                return self._changes.metadata(message, lookups, notes)
            case DatafileList() as message:
                return self._changes.datafiles(message, lookups, notes)
            case Reschedule() as message:
                return self._changes.dates(message, lookups, notes)
            case ArchiveStatus() as message:
                told = f": {message.text}" if message.text else ""
                return Outcome(
                    kind=OutcomeKind.IGNORED,
                    reason="; ".join(
                        [f"{message.activity} ({message.level}){told}", *notes]
                    ),
                    objects=mapped.objects,
                )
        raise Rejection(f"a message of kind {mapped.message_type} is not for datasets")
