"""Messages about datasets, in JSON or XML, become datasets."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from icat_stream.config import FormatSettings, template_fields
from icat_stream.messages import (
    DatafileList,
    DatasetMessage,
    MetadataUpdate,
    Reschedule,
)
from icat_stream.records import Lookups, Outcome, Plan, Rejection

from .dataset_changes import Changes
from .dataset_files import BASE_FIELDS, DatasetFiles
from .dataset_plan import DatasetPlan
from .field_map_handler import FieldMapHandler, MappedMessage
from .handler import HandlerContext
from .options import FieldMapOptions


class DatasetOptions(FieldMapOptions):
    """Options of the handler ``datasets``."""

    maps: list[str] = Field(
        default=["dataset", "dataset-metadata", "datafile-list", "reschedule"],
        min_length=1,
        description="Field maps: names of shipped ones, or YAML files.",
    )
    base: str = Field(
        "{root}",
        description="Where relative locations begin; of {root} (ids.location.root),"
        " {investigation}, {visit_id}, {instrument}.",
    )
    files: Literal["check", "trust"] = Field(
        "check",
        description="check: listed files have to be there, and give sizes and times."
        " trust: they are taken as listed, unseen.",
    )
    walk: bool = Field(
        True, description="Find the files below the location where none are listed."
    )
    max_datafiles: int = Field(30_000, ge=1, description="Of one dataset.")
    datafile_format: FormatSettings | None = Field(
        None, description="Of all datafiles; must be in the catalogue."
    )
    acquisition_type: str = Field(
        "acquisition", min_length=1, description="Dataset type of measured data."
    )
    processed_type: str = Field(
        "processed", min_length=1, description="Dataset type of what has inputs."
    )
    inputs_parameter: str = Field(
        "input_datasets", description="The parameter that makes a dataset processed."
    )
    version_parameter: str = Field(
        "processing version",
        description="A processed dataset replaces one whose parameter is lower.",
    )
    instrument: Literal["of_investigation", "any"] = Field(
        "of_investigation",
        description="Whether the instrument has to be one of the investigation's.",
    )
    sample_type: Literal["optional", "required"] = Field(
        "optional", description="Whether a sample needs a type."
    )

    @field_validator("base")
    @classmethod
    def _known_fields(cls, base: str) -> str:
        unknown = set(template_fields(base)) - set(BASE_FIELDS)
        if unknown:
            raise ValueError(
                f"unknown placeholder {', '.join(sorted(unknown))};"
                f" known: {', '.join(BASE_FIELDS)}"
            )
        return base


class Datasets(FieldMapHandler[DatasetOptions]):
    """Handler of messages about datasets.

    A new dataset, a parameter for datasets that are there, further files of one, new
    dates of an investigation.
    """

    Options = DatasetOptions
    kinds: ClassVar[Mapping[str, type]] = {
        "dataset": DatasetMessage,
        "metadata_update": MetadataUpdate,
        "datafile_list": DatafileList,
        "reschedule": Reschedule,
    }
    key_fields = ("investigation", "investigation_id")

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
        return {
            "investigation": message.investigation,
            "dataset": message.name if isinstance(message, DatasetMessage) else None,
            "location": getattr(message, "location", None),
        }

    def plan(self, said: MappedMessage, lookups: Lookups) -> Plan | Outcome:
        """Return what the catalogue shall hold."""
        notes = said.unread
        match said.message:
            case DatasetMessage() as message:
                return self._datasets.plan(message, lookups, notes)
            case MetadataUpdate() as message:
                return self._changes.metadata(message, lookups, notes)
            case DatafileList() as message:
                return self._changes.datafiles(message, lookups, notes)
            case Reschedule() as message:
                return self._changes.dates(message, lookups, notes)
        raise Rejection(f"a message of kind {said.message_type} is not for datasets")
