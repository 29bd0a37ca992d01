"""The format of a metadata schema's YAML file."""

import re
import zoneinfo
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from icat_stream.records import ValueType

from .operators import AnyOperator, KindName, PatternText

MESSAGE_FIELDS = ("file_name", "job_id", "service_id")
_METADATA = "metadata."
# Python's, but nothing that a program writes text in.
_NO_ENCODINGS = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf_7")
# A member by its name, or by its class.
_MEMBER = r"/(?:[^/@<>{}]+|\{NX\w+\*?\})"
_PATH = re.compile(
    rf"/?\{{entry\}}(?:{_MEMBER})*(?:@[^/@*]+)?|(?:{_MEMBER})+(?:@[^/@*]+)?|/@[^/@*]+"
)


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise ValueError("expected text, a number, true or false")
    return value


def _nexus_path(value: str) -> str:
    components = value.replace("@", "/").split("/")
    if not _PATH.fullmatch(value) or ".." in components or "." in components:
        raise ValueError(
            "expected a path inside the file, such as /entry/title, "
            "{entry}/title, {entry}/{NXsample}/name or"
            " /entry/instrument/name@short_name"
        )
    return value if value.startswith("/") else f"/{value}"


def _message_field(value: str) -> str:
    if value not in MESSAGE_FIELDS and not (
        value.startswith(_METADATA) and all(value.split("."))
    ):
        raise ValueError(
            f"expected one of {', '.join(MESSAGE_FIELDS)}, or metadata.<key>"
        )
    return value


def _any_name(value: str) -> str:
    if "*" not in value.rpartition("/")[2]:
        raise ValueError(
            "expected a * in the last component, such as /entry/data/*: "
            "what is no link there is then passed over"
        )
    return value


def _zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            "expected a time zone such as UTC or Europe/Stockholm"
        ) from None
    return value


def _encoding(value: str) -> str:
    ascii_text = bytes(range(0x20, 0x7F))
    try:
        extends = ascii_text.decode(value) == ascii_text.decode("ascii")
    except (LookupError, ValueError):
        extends = False
    if not extends or value.replace("-", "_").lower() in _NO_ENCODINGS:
        raise ValueError(
            "expected an encoding of which ASCII is a part, such as cp1252, latin-1"
            " or shift_jis"
        )
    return value


ConstantValue = Annotated[Any, AfterValidator(_scalar)]
Constants = Annotated[
    list[ConstantValue], BeforeValidator(_listed), Field(min_length=1)
]
NexusPath = Annotated[str, AfterValidator(_nexus_path)]
NexusPaths = Annotated[list[NexusPath], BeforeValidator(_listed), Field(min_length=1)]
LinkPaths = Annotated[
    list[Annotated[NexusPath, AfterValidator(_any_name)]], BeforeValidator(_listed)
]
MessageField = Annotated[str, AfterValidator(_message_field)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], BeforeValidator(_listed)]


class Part(BaseModel):
    """A part of the file: unknown keys and wrong types are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_by_name=False
    )


class SelectorModel(Part):
    """A condition: one of ``all``, ``any``, ``not``, ``always``, or one on a source."""

    all: Annotated[list["SelectorModel"], Field(min_length=1)] | None = None
    any: Annotated[list["SelectorModel"], Field(min_length=1)] | None = None
    not_: "SelectorModel | None" = Field(None, alias="not")
    always: Literal[True] | None = None
    nexus: NexusPath | None = None
    message: MessageField | None = None
    path: Literal["full", "name", "stem", "folder"] | None = None
    equals: Constants | None = None
    contains: Constants | None = None
    starts_with: Constants | None = None
    ends_with: Constants | None = None
    matches: Annotated[list[PatternText], BeforeValidator(_listed)] | None = None
    exists: bool | None = None

    @property
    def tests(self) -> list[str]:
        """Names of the tests that are asked for."""
        return [name for name in SELECTOR_TESTS if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _one_thing(self) -> "SelectorModel":
        given = [
            name
            for name in ("all", "any", "not_", "always", "nexus", "message", "path")
            if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                "expected exactly one of all, any, not, always, nexus, message, path"
            )
        on_source = given[0] in ("nexus", "message", "path")
        if on_source != bool(self.tests):
            raise ValueError(
                f"expected one of {', '.join(SELECTOR_TESTS)} beside {given[0]}"
                if on_source
                else f"{self.tests[0]} needs nexus, message or path beside it"
            )
        return self


SELECTOR_TESTS = (
    "equals",
    "contains",
    "starts_with",
    "ends_with",
    "matches",
    "exists",
)


class VariableModel(Part):
    """Where a variable's value comes from, and what is made of it."""

    nexus: NexusPaths | None = None
    aligned: bool = False
    message: MessageField | None = None
    value: ConstantValue | None = None
    items: Text | None = None
    type: KindName | None = None
    unit: str | None = None
    file_unit: Text | None = None
    ignore_file_unit: bool = False
    plus: Text | None = None
    minus: Text | None = None
    required: bool = False
    default: ConstantValue | None = None
    operators: list[AnyOperator] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_source(self) -> "VariableModel":
        given = [
            name
            for name in ("nexus", "message", "value", "items")
            if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError("expected exactly one of nexus, message, value, items")
        if self.required and self.default is not None:
            raise ValueError("is required and has a default: expected one of the two")
        if self.plus is not None and self.minus is not None:
            raise ValueError("has plus and minus: expected one of the two")
        if self.ignore_file_unit and (self.unit is None or self.nexus is None):
            raise ValueError("ignore_file_unit needs nexus and unit beside it")
        if self.file_unit is not None and (self.nexus is None or self.ignore_file_unit):
            raise ValueError("file_unit needs nexus beside it, and no ignore_file_unit")
        if self.aligned and not all("*" in path for path in self.nexus or ("",)):
            raise ValueError("aligned needs nexus beside it, with a * in each path")
        return self


class InvestigationModel(Part):
    """Which investigation."""

    name: Text
    visit_id: Text | None = None


class SampleModel(Part):
    """The sample."""

    name: Text
    type: Text | None = None
    molecular_formula: Text | None = None


class DatasetModel(Part):
    """Templates of the dataset's own attributes."""

    for_each: Literal["NXentry"] | None = None
    investigation: Annotated[InvestigationModel, BeforeValidator(_named)]
    name: Text
    type: Text = "raw"
    description: Text | None = None
    location: Text | None = None
    sample: Annotated[SampleModel, BeforeValidator(_named)] | None = None
    instruments: Texts = Field(default_factory=list)
    techniques: Texts = Field(default_factory=list)
    start: Text | None = None
    end: Text | None = None
    complete: bool = True


class FormatModel(Part):
    """A datafile format."""

    name: Text
    version: Text


class DatafilesModel(Part):
    """How the files of the dataset are entered."""

    name: Text = "<file.name>"
    format: FormatModel | None = None
    include_external_links: bool = False
    link_paths: LinkPaths = Field(default_factory=list)

    @model_validator(mode="after")
    def _links(self) -> "DatafilesModel":
        if self.link_paths and not self.include_external_links:
            raise ValueError("link_paths needs include_external_links: true")
        return self


class ParameterModel(Part):
    """A parameter of the dataset."""

    name: Annotated[Text, Field(pattern=r"^[^<>]+$", max_length=255)]
    units: Annotated[str, Field(pattern=r"^[^<>]*$", max_length=255)] = ""
    value: ConstantValue
    value_type: ValueType | None = Field(None, strict=False)
    error: ConstantValue | None = None
    range_bottom: ConstantValue | None = None
    range_top: ConstantValue | None = None


class SchemaModel(Part):
    """A whole schema."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    description: str | None = None
    order: int = 100
    selector: SelectorModel
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    member_order: Literal["natural", "creation"] = "natural"
    follow_links: bool = False
    settled_when: NexusPath | None = None
    variables: dict[Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")], VariableModel] = (
        Field(default_factory=dict)
    )
    dataset: DatasetModel
    datafiles: DatafilesModel = Field(default_factory=DatafilesModel)
    parameters: list[ParameterModel] = Field(default_factory=list)
