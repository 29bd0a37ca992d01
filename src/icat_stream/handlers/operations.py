"""Operations on investigations: done by integrations, which may not be there."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from icat_stream.config import Settings
from icat_stream.messages import Operations
from icat_stream.records import Lookups, Outcome, OutcomeKind, Plan, Record, Rejection

from .field_map_handler import MappedMessage, key_of, read
from .handler import HandlerContext
from .options import FieldMapOptions, read_options

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
        return key_of(self._maps, record, "name")

    def decode(self, record: Record) -> MappedMessage | Outcome:
        """Return the message in a record."""
        return read(self._maps, record, _about)

    def redact(self, record: Record) -> bytes | None:
        """Return the value without what the field maps name a secret."""
        return self._maps.redact(record.value)

    def plan(self, asked: MappedMessage, lookups: Lookups) -> Plan | Outcome:
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
            reason="; ".join([*reasons, *asked.unread]),
            objects=asked.objects,
        )


def _about(message: Operations) -> Mapping[str, Any]:
    visit = f"/{message.visit_id}" if message.visit_id else ""
    return {
        "investigation": f"{message.name}{visit}",
        "operations": message.operations,
    }
