"""Operations on investigations: done by integrations, which may not be there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from icat_stream.config import Settings
from icat_stream.messages import Mapped, Operations
from icat_stream.records import Lookups, Outcome, OutcomeKind, Plan, Record, Rejection

from .datasets import of_no_interest, unread
from .options import FieldMapOptions, read_options
from .protocol import HandlerContext

KINDS: Mapping[str, type] = {"operations": Operations}


class OperationsOptions(FieldMapOptions):
    """Options of the handler ``operations``."""

    maps: list[str] = Field(
        default=["operations"],
        min_length=1,
        description="Field maps: names of shipped ones, or YAML files.",
    )
    operations: dict[str, str] = Field(
        default={
            "mint-proposal": "datacite",
            "create-panosc-item": "panosc",
            "reindex": "search",
        },
        min_length=1,
        description="The operations that there may be, and which integration does it.",
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """A message, as the journal wants to know it."""

    mapped: Mapped

    @property
    def message(self) -> Operations:
        """What was asked."""
        message: Operations = self.mapped.message
        return message

    @property
    def message_type(self) -> str:
        """Name of the field map."""
        return self.mapped.map

    @property
    def message_format(self) -> str:
        """``json`` or ``xml``."""
        return self.mapped.format

    @property
    def objects(self) -> dict[str, Any]:
        """What it is about."""
        message = self.message
        visit = f"/{message.visit_id}" if message.visit_id else ""
        return {
            "investigation": f"{message.name}{visit}",
            "operations": list(message.operations[:20]),
        }


class OperationsHandler:
    """Handler of operations on investigations.

    Parameters
    ----------
    context
        Settings and options.

    Raises
    ------
    icat_stream.config.ConfigError
        The options or the field maps are wrong; all problems are named.
    """

    def __init__(self, context: HandlerContext) -> None:
        self._options = read_options(OperationsOptions, context.options)
        self._maps = self._options.field_maps(KINDS, context.settings)

    @classmethod
    def check(cls, settings: Settings, options: Mapping[str, Any]) -> None:
        """Raise ``ConfigError`` with what is wrong with the options."""
        read_options(OperationsOptions, options).field_maps(KINDS, settings)

    def key(self, record: Record) -> str:
        """Return the investigation: its operations are done in their order."""
        found = self._maps.peek(record.value, ["name"], record.headers)
        return found or str(record.at)

    def decode(self, record: Record) -> Asked | Outcome:
        """Return the message in a record."""
        mapped = self._maps.read(record.value, record.headers)
        return of_no_interest(mapped) if mapped.message is None else Asked(mapped)

    def redact(self, record: Record) -> bytes | None:
        """Return the value without what the field maps name a secret."""
        return self._maps.redact(record.value)

    def plan(self, asked: Asked, lookups: Lookups) -> Plan | Outcome:
        """Return why nothing is done.

        Raises
        ------
        Rejection
            An operation is unknown.
        """
        known = self._options.operations
        unknown = [o for o in asked.message.operations if o not in known]
        if unknown:
            raise Rejection(
                f"operations: {unknown[0][:100]!r} is unknown, expected of"
                f" {', '.join(known)}"
            )
        reasons = [
            f"{operation}: the integration {known[operation]} is not enabled"
            for operation in dict.fromkeys(asked.message.operations)
        ]
        return Outcome(
            kind=OutcomeKind.IGNORED,
            reason="; ".join([*reasons, *unread(asked.mapped)]),
            objects=asked.objects,
        )
