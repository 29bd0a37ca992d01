"""Options of the handler of dataset messages."""

from typing import Literal

from pydantic import Field, field_validator

from icat_stream.config import FormatSettings, template_fields

from .dataset_files import BASE_FIELDS
from .options import FieldMapOptions


class DatasetOptions(FieldMapOptions):
    """Options of the handler ``datasets``."""

    maps: list[str] = Field(
        default=[
            "dataset",
            "dataset-metadata",
            "datafile-list",
            "reschedule",
            "archive-status",
            "add-files",
        ],
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
