"""What a dataset refers to, looked up and decided by policy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from icat_stream.config import PolicySettings
from icat_stream.records import (
    STUB_TITLE,
    DependencyMissing,
    Failure,
    Investigation,
    InvestigationEntry,
    InvestigationKey,
    Lookups,
    Parameter,
    ParameterTypeEntry,
    Rejection,
    Technique,
)

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DatasetReferences:
    """Looks up what a dataset refers to.

    Parameters
    ----------
    lookups
        The catalogue.
    policies
        What to do where something is not there.
    notes
        Gets a line for each thing that was left out by policy.
    """

    lookups: Lookups
    policies: PolicySettings
    notes: list[str]

    def investigation(
        self, name: str, visit_id: str | None, start: datetime | None
    ) -> InvestigationEntry:
        """Return the visit that a dataset belongs to, though it may be missing.

        Who belongs to a visit by its dates, or states it, is not asked about anew for
        seconds: a visit that came meanwhile would have come after it.

        Parameters
        ----------
        name
            Of the investigation.
        visit_id
            If it is known.
        start
            When the dataset began: decides between several visits.

        Raises
        ------
        DependencyMissing
            There is none (policy ``park``).
        Rejection
            There is none (policy ``reject``), or several and no way to choose.
        """
        whole = [
            visit
            for visit in self.lookups.recent_investigations(name)
            if visit.state == "whole"
        ]
        recent = (
            [visit for visit in whole if _covers(visit, start)]
            if visit_id is None
            else self._of_visit_id(whole, visit_id)
        )
        if len(recent) == 1 and (visit_id is not None or _has_dates(recent[0])):
            return recent[0]
        return self.visit_at(self.visits_or_stub(name, visit_id), start)

    def visits_or_stub(
        self, name: str, visit_id: str | None
    ) -> Sequence[InvestigationEntry]:
        """Return as :meth:`visits`, or by policy one visit that is missing.

        Raises
        ------
        DependencyMissing, Rejection
            There is none, by policy.
        """
        if self.policies.missing_investigations != "stub":
            return self.visits(name, visit_id)
        found = self._found(name, visit_id)
        if found:
            return found
        key = InvestigationKey(
            name=name, visit_id=visit_id or self.policies.stubs.visit_id
        )
        self.notes.append(
            f"investigation {key} is not in the catalogue: a stub of it is made"
        )
        return [InvestigationEntry(key=key, state="missing")]

    def stubs(
        self,
        visit: InvestigationEntry,
        instruments: Sequence[str],
        start: datetime | None,
    ) -> tuple[Investigation, ...]:
        """Return the investigation that is to be made for a dataset, if any.

        Parameters
        ----------
        visit
            Of the dataset.
        instruments
            Of the dataset.
        start
            Of the dataset: the investigation had begun by then.
        """
        if visit.state == "whole" or (
            visit.state == "stub" and set(instruments) <= set(visit.instruments)
        ):
            return ()
        return (
            Investigation(
                investigation=visit.key,
                title=STUB_TITLE,
                type=self.policies.stubs.type,
                start=start,
                instruments=tuple(instruments),
            ),
        )

    def visits(
        self, name: str, visit_id: str | None = None
    ) -> Sequence[InvestigationEntry]:
        """Return the visits of an investigation, or the one that is stated.

        Raises
        ------
        DependencyMissing, Rejection
            There is none, by policy.
        """
        visits = self._found(name, visit_id)
        if visits:
            return visits
        wanted = name if visit_id is None else f"{name}/{visit_id}"
        raise self._no_investigation(wanted, f"investigation:{wanted}")

    def _found(self, name: str, visit_id: str | None) -> Sequence[InvestigationEntry]:
        visits = self.lookups.investigations(name)
        if visit_id is None:
            return visits
        return self._of_visit_id(visits, visit_id)

    def _of_visit_id(
        self, visits: Sequence[InvestigationEntry], visit_id: str
    ) -> Sequence[InvestigationEntry]:
        exact = [visit for visit in visits if visit.key.visit_id == visit_id]
        if exact or not self.policies.ignore_case:
            return exact
        letters = visit_id.lower()
        alike = [v for v in visits if v.key.visit_id.lower() == letters]
        if len(alike) > 1:
            raise Rejection(
                f"investigation {alike[0].key.name}: visits"
                f" {', '.join(v.key.visit_id for v in alike)} differ from"
                f" {visit_id!r} in letters only: state which one is meant"
            )
        return alike

    def spelled(self, entity: str, name: str) -> str:
        """Return a name as the catalogue spells it, or as it is if it has none."""
        return self.lookups.spelling(entity, name) or name

    def investigation_by_id(self, number: int) -> Sequence[InvestigationEntry]:
        """Return the investigation with an id of ICAT's.

        Raises
        ------
        DependencyMissing, Rejection
            There is none, by policy.
        """
        entry = self.lookups.investigation_by_id(number)
        if entry is None:
            raise self._no_investigation(f"id {number}", f"investigation_id:{number}")
        return [entry]

    def visit_at(
        self, visits: Sequence[InvestigationEntry], start: datetime | None
    ) -> InvestigationEntry:
        """Return the one of several visits that a dataset belongs to.

        Parameters
        ----------
        visits
            Of one investigation, at least one.
        start
            When the dataset began.

        Raises
        ------
        Rejection
            There are several and no way to choose.
        """
        if len(visits) == 1:
            return visits[0]
        matching = [visit for visit in visits if _covers(visit, start)]
        if not any(visit.state == "whole" for visit in matching):
            # An end is often a date: the day's first moment, and the day is meant.
            late = [v for v in visits if v.state == "whole" and _covers(v, start, _DAY)]
            last = max((v.end for v in late if v.end), default=None)
            matching = [v for v in late if v.end == last] or matching
        if not matching:
            raise Rejection(
                f"investigation {visits[0].key.name} has {len(visits)} visits"
                f" ({', '.join(_dates(visit) for visit in visits[:5])}) and none of"
                f" them covers the dataset's start, {start or 'which is not known'}"
            )
        # Where visits touch, the later one has just begun; a stub's start is a guess.
        ranks = [
            (v.state == "whole", v.start is not None, v.start or start)
            for v in matching
        ]
        best = max(ranks)
        chosen = [v for v, rank in zip(matching, ranks, strict=True) if rank == best]
        if len(chosen) > 1:
            raise Rejection(
                f"investigation {visits[0].key.name}: visits"
                f" {', '.join(_dates(visit) for visit in chosen[:5])} all cover the"
                f" dataset's start, {start}: state which one is meant"
            )
        return chosen[0]

    def _no_investigation(self, wanted: str, missing: str) -> Failure:
        reason = f"investigation {wanted} is not in the catalogue"
        if self.policies.missing_investigations == "reject":
            return Rejection(f"{reason} (policies.missing_investigations: reject)")
        return DependencyMissing(reason, [missing])

    def instruments(
        self, names: Iterable[str], investigation: InvestigationEntry
    ) -> tuple[str, ...]:
        """Return the names of instruments that the facility has.

        Raises
        ------
        DependencyMissing, Rejection
            One is missing, by policy.
        """
        found = []
        for name in dict.fromkeys(names):
            spelled = self.lookups.spelling("Instrument", name)
            if spelled is not None:
                found.append(spelled)
                if (
                    investigation.state == "whole"
                    and investigation.instruments
                    and spelled not in investigation.instruments
                ):
                    self.notes.append(
                        f"instrument {spelled} is not one of investigation"
                        f" {investigation.key}"
                    )
                continue
            reason = f"instrument {name!r} is not in the catalogue"
            if self.policies.missing_instruments == "park":
                raise DependencyMissing(reason, [f"instrument:{name}"])
            if self.policies.missing_instruments == "reject":
                raise Rejection(f"{reason} (policies.missing_instruments: reject)")
            self.notes.append(f"{reason}: left out")
        return tuple(dict.fromkeys(found))

    def techniques(self, names: Iterable[str]) -> tuple[Technique, ...]:
        """Return the techniques that are there or will be made.

        Raises
        ------
        Rejection
            One is missing, by policy.
        """
        found = []
        for name in dict.fromkeys(names):
            spelled = None
            # What is made where it is missing need not be asked for twice.
            if (
                self.policies.missing_techniques != "create"
                or self.policies.ignore_case
            ):
                spelled = self.lookups.spelling("Technique", name)
            if spelled is None and self.policies.missing_techniques != "create":
                reason = f"technique {name!r} is not in the catalogue"
                if self.policies.missing_techniques == "reject":
                    raise Rejection(f"{reason} (policies.missing_techniques: reject)")
                self.notes.append(f"{reason}: left out")
                continue
            found.append(Technique(name=spelled or name))
        return tuple(dict.fromkeys(found))

    def dataset_type(
        self, name: str, *, where: str = "dataset.type in the metadata schema"
    ) -> str:
        """Return the name of a dataset type that is there.

        Raises
        ------
        Rejection
            It is not.
        """
        spelled = self.lookups.spelling("DatasetType", name)
        if spelled is None:
            raise Rejection(
                f"dataset type {name!r} is not in the catalogue: create it, or correct"
                f" {where}"
            )
        return spelled

    def parameters(self, wanted: Iterable[Parameter]) -> tuple[Parameter, ...]:
        """Return the parameters without those that are left out by policy.

        Other types that are not there are the catalogue's to judge, which sees those
        of all objects of a plan.
        """
        if self.policies.unknown_parameter_types != "skip":
            return tuple(wanted)
        found = []
        for parameter in wanted:
            entries = self.lookups.parameter_types(parameter.name)
            if any(entry.units == parameter.units for entry in entries):
                found.append(parameter)
                continue
            self.notes.append(
                f"parameter type {parameter.label} is not in the catalogue"
                f"{other_units(entries)}: left out"
            )
        return tuple(found)


def other_units(entries: Sequence[ParameterTypeEntry]) -> str:
    """Return a clause that says in which units there are types of a name."""
    listed = [f"[{entry.units}]" if entry.units else "no units" for entry in entries]
    return f", which has it in {', '.join(listed[:5])}" if listed else ""


def _covers(
    visit: InvestigationEntry, when: datetime | None, after: timedelta = timedelta()
) -> bool:
    if when is None:
        return False
    if visit.state != "whole":
        return True
    return (visit.start is None or visit.start <= when) and (
        visit.end is None or when - after <= visit.end
    )


def _has_dates(visit: InvestigationEntry) -> bool:
    return visit.start is not None and visit.end is not None


def _dates(visit: InvestigationEntry) -> str:
    start = visit.start.date().isoformat() if visit.start else "…"
    end = visit.end.date().isoformat() if visit.end else "…"
    return f"{visit.key.visit_id}: {start} to {end}"
