"""A facility's own handler as a plain class: docs/own-handler.md, in short."""

import json

from icat_stream.records import (
    Dataset,
    InvestigationKey,
    Outcome,
    OutcomeKind,
    Parameter,
    Plan,
    Rejection,
)


class SlowControl:
    def __init__(self, context):
        self._facility = context.settings.facility
        self._type = context.options.get("dataset_type", "raw")

    def key(self, record):
        return (record.key or b"").decode("utf-8", "replace")

    def decode(self, record):
        try:
            message = json.loads(record.value or b"")
        except ValueError as error:
            raise Rejection(f"the value is no JSON: {error}") from None
        if message.get("kind") != "slow-control":
            return Outcome(kind=OutcomeKind.IGNORED, reason="another kind of message")
        return message

    def plan(self, message, lookups):
        return Plan(
            facility=self._facility,
            datasets=(
                Dataset(
                    investigation=InvestigationKey(
                        name=message["proposal"], visit_id=message["visit"]
                    ),
                    name=f"slow control {message['run']}",
                    type=self._type,
                    parameters=(
                        Parameter(
                            name="sample_temperature",
                            units="K",
                            value=float(message["temperature"]),
                        ),
                    ),
                ),
            ),
        )
