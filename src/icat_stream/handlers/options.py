"""What the configuration says to one consumer's handler."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, field_validator

from icat_stream.config import ConfigError, Problem, Section, Settings
from icat_stream.messages import DocumentLimits, FieldMaps, load_field_map
from icat_stream.records import is_secret_name, shortened

_Model = TypeVar("_Model", bound=Section)
_LONGEST = 80
# Of a URL, up to the password.
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*@")


class FieldMapOptions(Section):
    """Options of a handler whose messages are read by field maps."""

    maps: list[str] = Field(
        min_length=1,
        description="Field maps: names of shipped ones, or YAML files.",
    )
    timezone: str = Field(
        "UTC", description="Of times without a zone, where the map names none."
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, LookupError):
            raise ValueError("expected a time zone such as Europe/Berlin") from None
        return name

    def field_maps(self, kinds: Mapping[str, type], settings: Settings) -> FieldMaps:
        """Load the field maps.

        Parameters
        ----------
        kinds
            The dataclasses that they may fill, by name.
        settings
            Which limit the size of messages.

        Raises
        ------
        ConfigError
            With the problems of all of them.
        """
        maps, problems = [], []
        for index, name in enumerate(self.maps):
            try:
                maps.append(load_field_map(name, kinds, timezone=self.timezone))
            except ConfigError as error:
                problems += [
                    Problem(
                        source="configuration",
                        field=f"options.maps.{index}",
                        expected=p.expected,
                        found=p.found,
                        nearest=p.nearest,
                    )
                    if p.source == "configuration"
                    else p
                    for p in error.problems
                ]
        if problems:
            raise ConfigError(problems)
        return FieldMaps(maps, DocumentLimits(size=settings.messages.max_bytes))


def read_options(model: type[_Model], options: Mapping[str, Any]) -> _Model:
    """Return a consumer's options, checked.

    Parameters
    ----------
    model
        What they may be.
    options
        As the configuration has them.

    Raises
    ------
    ConfigError
        With every problem; fields begin with ``options``.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        problems = [
            _problem(detail, options, list(model.model_fields))
            for detail in error.errors(include_url=False)
        ]
        raise ConfigError(problems) from None


def _problem(detail: Any, options: Any, known: Sequence[str]) -> Problem:
    path = [str(part) for part in detail["loc"]]
    expected = str(detail["msg"]).removeprefix("Value error, ")
    nearest, found = None, None
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], known, n=1)
        expected = "is no known key"
        if near:
            nearest = near[0]
        else:
            expected += f", expected one of {', '.join(known)}"
    elif detail["type"] != "missing" and not any(map(is_secret_name, path)):
        found = shortened(_PASSWORD.sub(r"\1…@", repr(detail.get("input"))), _LONGEST)
    return Problem(
        source="configuration",
        field=".".join(["options", *path]),
        expected=expected,
        found=found,
        nearest=nearest,
    )
