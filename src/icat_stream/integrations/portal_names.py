"""What the portals of ESRF and ALBA call parameter types, and a facility may not."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from icat_stream.config import Section


class PortalNames(Section):
    """Options of an integration that writes parameters as the portals read them."""

    standard: ClassVar[Mapping[str, str]] = {}
    """The portals' names of what it writes."""

    names: dict[str, str | None] = Field(
        default={},
        description="Parameter types in place of the portals', by what they hold;"
        " null: without it.",
    )

    @field_validator("names")
    @classmethod
    def _known(cls, names: dict[str, str | None]) -> dict[str, str | None]:
        if not names.keys() <= cls.standard.keys():
            raise ValueError(f"expected names for some of {', '.join(cls.standard)}")
        return names

    def name(self, what: str) -> str | None:
        """Return the parameter type that holds something; ``None``: it is left out."""
        return self.names.get(what, self.standard[what])
