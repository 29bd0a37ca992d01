"""Operations on investigations: done by integrations, which may not be there."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from icat_stream.messages import Operations
from icat_stream.records import Lookups, Outcome, OutcomeKind, Plan, Rejection

from .field_map_handler import FieldMapHandler, MappedMessage
from .options import FieldMapOptions
from .rights import READING


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


class OperationsHandler(FieldMapHandler[OperationsOptions]):
    """Handler of operations on investigations."""

    Options = OperationsOptions
    kinds: ClassVar[Mapping[str, type]] = {"operations": Operations}
    key_fields = ("name",)
    rights = READING

    def about(self, message: Operations) -> Mapping[str, Any]:
        """Return the investigation, and what is asked for."""
        visit = f"/{message.visit_id}" if message.visit_id else ""
        return {
            "investigation": f"{message.name}{visit}",
            "operations": message.operations,
        }

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
