"""Snapshots of proposals become investigations of the catalogue, one a visit."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from icat_stream.messages import (
    InvestigationMessage,
    StatedMember,
    StatedProposalSample,
    StatedShift,
    StatedVisit,
    StayMessage,
)
from icat_stream.records import (
    Investigation,
    InvestigationKey,
    Lookups,
    Member,
    Outcome,
    OutcomeKind,
    Parameter,
    Plan,
    Rejection,
    Sample,
    Shift,
)

from .embargo import Embargo
from .field_map_handler import FieldMapHandler, MappedMessage
from .handler import HandlerContext
from .options import FieldMapOptions
from .rights import INVESTIGATIONS
from .stated_parameters import StatedParameters
from .stays import Stays
from .user_office_text import cut, doi

_TITLE, _SUMMARY = 255, 4000
_T = TypeVar("_T")


class InvestigationOptions(FieldMapOptions):
    """Options of the handler ``investigations``."""

    maps: list[str] = Field(
        default=["investigation"],
        min_length=1,
        description="Field maps: names of shipped ones, or YAML files.",
    )
    visit_id: str = Field(
        "1", max_length=255, description="Where a message names no visit."
    )
    investigation_type: str | None = Field(
        None, description="Where a message names no type."
    )
    embargo_years: int = Field(
        3, ge=0, le=100, description="From the end until data are released."
    )
    industrial_types: list[str] = Field(
        default=["industrial", "proprietary"],
        description="Types whose data are never released; case does not matter.",
    )
    submitted_only: bool = Field(
        True,
        description="Proposals whose messages say that they are still being written"
        " are ignored.",
    )
    participant_role: str = Field(
        "Participant",
        description="Role that is left out where somebody has another one.",
    )
    roles: list[str] = Field(
        default=[],
        description="Roles that the user office speaks for; members with others are"
        " never removed. Empty: all roles.",
    )
    acronym_parameter: str | None = Field(
        None, description="Parameter of a sample that takes its acronym."
    )


class Investigations(FieldMapHandler[InvestigationOptions]):
    """Handler of snapshots of proposals."""

    Options = InvestigationOptions
    kinds: ClassVar[Mapping[str, type]] = {
        "investigation": InvestigationMessage,
        "stay": StayMessage,
    }
    key_fields = ("name",)
    keyed_by_record = True

    makes_snapshots = True
    rights = INVESTIGATIONS

    def __init__(self, context: HandlerContext) -> None:
        super().__init__(context)
        self._facility = context.settings.facility
        self._policies = context.settings.policies
        self._embargo = Embargo(
            self._options.embargo_years, self._options.industrial_types
        )
        self._stays = Stays(self._embargo)

    def plan(self, proposal: MappedMessage, lookups: Lookups) -> Plan | Outcome:
        """Return an investigation for each visit, or the one that a stay is part of."""
        message: InvestigationMessage | StayMessage = proposal.message
        unwanted = self._unwanted(message)
        if unwanted is not None:
            return Outcome(
                kind=OutcomeKind.IGNORED, reason=unwanted, objects=proposal.objects
            )
        notes = proposal.unread
        if isinstance(message, StayMessage):
            dates = self._stays.investigation(self._key(message), message, lookups)
            return Plan(
                facility=self._facility, investigations=(dates,), notes=tuple(notes)
            )
        common = self._investigation(proposal, lookups, notes)
        visits = [self._visit(common, visit, message) for visit in message.visits]
        ids = [each.investigation.visit_id for each in visits]
        if len(set(ids)) < len(ids):
            raise Rejection(f"visits: a visit is stated twice: {', '.join(ids)[:200]}")
        return Plan(
            facility=self._facility,
            investigations=tuple(visits) or (common,),
            notes=tuple(notes),
        )

    def about(self, message: InvestigationMessage | StayMessage) -> Mapping[str, Any]:
        """Return the investigation."""
        return {"investigation": str(self._key(message))}

    def _key(self, message: InvestigationMessage | StayMessage) -> InvestigationKey:
        return InvestigationKey(
            name=message.name, visit_id=message.visit_id or self._options.visit_id
        )

    def _unwanted(self, message: InvestigationMessage | StayMessage) -> str | None:
        """Return why nothing follows from a message; ``None``: something does."""
        if isinstance(message, InvestigationMessage) and message.wanted is False:
            return "the message says that it is not for the catalogue"
        if message.submitted is False and self._options.submitted_only:
            return "the proposal is not submitted (options.submitted_only)"
        if isinstance(message, StayMessage) and message.cancelled:
            return (
                "a stay is cancelled: the investigation's dates stay as they are, for"
                " others may have come at that time"
            )
        return None

    def _investigation(
        self, proposal: MappedMessage, lookups: Lookups, notes: list[str]
    ) -> Investigation:
        message: InvestigationMessage = proposal.message
        empty = proposal.mapped.empty
        parameters = StatedParameters(lookups, self._policies, notes)
        title = message.title
        if title is None and "title" in empty:
            title = message.name
            notes.append("title: empty, the name is taken")
        samples: tuple[Sample, ...] | None = None
        if {"samples", "sample_acronyms"}.intersection(empty) or (
            message.samples or message.sample_acronyms
        ):
            samples = self._samples(message, parameters, notes)
        never = self._is_never_released(message)
        release = None if never else self._release(message.release, message.end)
        cleared = {n for n in ("summary", "doi", "start", "end") if n in empty}
        return Investigation(
            investigation=self._key(message),
            title=None if title is None else cut(title, _TITLE, "title", notes),
            type=message.type or self._options.investigation_type,
            summary=None
            if message.summary is None
            else cut(message.summary, _SUMMARY, "summary", notes),
            doi=None if message.doi is None else doi(message.doi),
            start=message.start,
            end=message.end,
            release=release,
            instruments=_stated(
                "instruments", dict.fromkeys(message.instruments), empty
            ),
            members=_stated("members", self._members(message.members), empty),
            roles=tuple(self._options.roles),
            samples=samples,
            keywords=_stated("keywords", dict.fromkeys(message.keywords), empty),
            parameters=_stated(
                "parameters", parameters.all("parameters", message.parameters), empty
            ),
            shifts=_stated("shifts", _shifts(message.shifts), empty),
            cycles=_stated("cycles", dict.fromkeys(message.cycles), empty),
            proposal_id=message.proposal_id,
            cleared=tuple(sorted(cleared | ({"release"} if never else set()))),
        )

    def _visit(
        self, common: Investigation, visit: StatedVisit, message: InvestigationMessage
    ) -> Investigation:
        start, end = visit.start or common.start, visit.end or common.end
        never = self._is_never_released(message)
        release = (
            None if never else self._release(visit.release or message.release, end)
        )
        # What the message says is none may be there for this visit.
        stated = {"start": start, "end": end, "release": release}
        cleared = (name for name in common.cleared if stated.get(name) is None)
        return replace(
            common,
            investigation=replace(common.investigation, visit_id=visit.visit_id),
            start=start,
            end=end,
            release=release,
            instruments=tuple(dict.fromkeys(visit.instruments)) or common.instruments,
            shifts=tuple(_shifts(visit.shifts)) or common.shifts,
            cycles=tuple(dict.fromkeys(visit.cycles)) or common.cycles,
            cleared=tuple(cleared),
        )

    def _is_never_released(self, message: InvestigationMessage) -> bool:
        type_ = message.type or self._options.investigation_type
        return self._embargo.is_endless(message.industrial, type_)

    def _release(
        self, stated: datetime | None, end: datetime | None
    ) -> datetime | None:
        if stated is not None or end is None:
            return stated
        return self._embargo.release(end)

    def _members(self, members: Iterable[StatedMember]) -> Iterable[Member]:
        participant = self._options.participant_role
        pairs = dict.fromkeys((m.username, m.role) for m in members)
        others = {user for user, role in pairs if role != participant}
        for user, role in pairs:
            if role != participant or user not in others:
                name = self._policies.user_names.format(username=user)
                yield Member(user=name, role=role)

    def _samples(
        self,
        message: InvestigationMessage,
        parameters: StatedParameters,
        notes: list[str],
    ) -> tuple[Sample, ...]:
        samples = [
            Sample(
                name=stated.name,
                type=stated.type,
                molecular_formula=stated.formula or "",
                parameters=(
                    *parameters.all(f"sample {stated.name[:60]}", stated.parameters),
                    *self._acronym(stated, notes),
                ),
            )
            for stated in message.samples
        ]
        names = {sample.name for sample in samples}
        names |= {stated.acronym for stated in message.samples if stated.acronym}
        acronyms = dict.fromkeys(message.sample_acronyms)
        return (*samples, *(Sample(name=n) for n in acronyms if n not in names))

    def _acronym(
        self, stated: StatedProposalSample, notes: list[str]
    ) -> Iterable[Parameter]:
        if stated.acronym is None or stated.acronym == stated.name:
            return
        name = self._options.acronym_parameter
        if name is None:
            notes.append(
                f"sample {stated.name[:60]}: acronym: left out"
                " (options.acronym_parameter says where it goes)"
            )
            return
        yield Parameter(name=name, units="", value=stated.acronym)


def _stated(
    name: str, values: Iterable[_T], empty: tuple[str, ...]
) -> tuple[_T, ...] | None:
    """Return a list that is stated, though it may be empty, or ``None``."""
    found = tuple(values)
    return found if found or name in empty else None


def _shifts(stated: Iterable[StatedShift]) -> Iterable[Shift]:
    for shift in dict.fromkeys(stated):
        yield Shift(
            start=shift.start,
            end=shift.end,
            instrument=shift.instrument,
            comment=shift.comment,
        )
