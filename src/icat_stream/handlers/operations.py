"""Operations on investigations: integrations are asked for them by events."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from icat_stream.messages import Operations, operation_event
from icat_stream.records import (
    DependencyMissing,
    InvestigationKey,
    Lookups,
    Outcome,
    OutcomeKind,
    Plan,
    Rejection,
)

from .field_map_handler import FieldMapHandler, MappedMessage
from .handler import HandlerContext
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
            "recount": "statistics",
        },
        min_length=1,
        description="Operations that there may be, and the consumer that does each.",
    )


class OperationsHandler(FieldMapHandler[OperationsOptions]):
    """Handler of operations on investigations."""

    Options = OperationsOptions
    kinds: ClassVar[Mapping[str, type]] = {"operations": Operations}
    key_fields = ("name",)
    rights = READING

    def __init__(self, context: HandlerContext) -> None:
        super().__init__(context)
        self._facility = context.settings.facility
        self._enabled = {
            name for name, each in context.settings.consumers.items() if each.enabled
        }

    def about(self, message: Operations) -> Mapping[str, Any]:
        """Return the investigation, and what is asked for."""
        visit = f"/{message.visit_id}" if message.visit_id else ""
        return {
            "investigation": f"{message.name}{visit}",
            "operations": message.operations,
        }

    def plan(self, asked: MappedMessage, lookups: Lookups) -> Plan | Outcome:
        """Return events that ask for the operations, or why nothing is done.

        Raises
        ------
        Rejection
            It cannot be told which visit is meant.
        DependencyMissing
            The investigation is not there yet.
        """
        known = self._options.operations
        operations = list(dict.fromkeys(asked.message.operations))
        done = [o for o in operations if known.get(o) in self._enabled]
        reasons = [
            f"{operation}: the integration {known[operation]} is not enabled"
            if operation in known
            else f"{operation[:100]!r} is unknown: there are {', '.join(known)}"
            for operation in operations
            if operation not in done
        ]
        reason = "; ".join([*reasons, *asked.unread])
        if not done:
            return Outcome(
                kind=OutcomeKind.IGNORED, reason=reason, objects=asked.objects
            )
        key = visit_meant(lookups, asked.message.name, asked.message.visit_id)
        return Outcome(
            kind=OutcomeKind.INGESTED,
            reason=reason,
            events=tuple(
                operation_event(each, key, facility=self._facility, origin=asked.origin)
                for each in done
            ),
            written=tuple(f"{known[each]} is asked to {each} {key}" for each in done),
            objects={**asked.objects, "investigation": str(key)},
        )


def visit_meant(lookups: Lookups, name: str, visit_id: str | None) -> InvestigationKey:
    """Return the one investigation of a name, or of a name and a visit.

    Raises
    ------
    Rejection
        There are several; they are named.
    DependencyMissing
        There is none.
    """
    found = [entry.key for entry in lookups.investigations(name)]
    if visit_id is not None:
        found = [key for key in found if key.visit_id == visit_id]
    if len(found) == 1:
        return found[0]
    if found:
        visits = ", ".join(repr(key.visit_id) for key in found)
        raise Rejection(
            f"investigation {name} has several visits: {visits}; say which one is meant"
        )
    named = name if visit_id is None else f"{name}/{visit_id}"
    raise DependencyMissing(
        f"investigation {named} is not in the catalogue", [f"investigation:{named}"]
    )
