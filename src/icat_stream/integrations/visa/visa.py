"""What VISA's database shall hold: people, proposals, experiments and who may see them.

Somebody has access to an experiment if the newest snapshot of it that was applied says
so, and in no other case: nobody is guessed, and nobody is taken for somebody else.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from icat_stream.config import DISABLED_SUFFIX
from icat_stream.handlers import cut
from icat_stream.messages import EventMessage
from icat_stream.records import (
    DependencyMissing,
    Failure,
    Investigation,
    InvestigationDetails,
    InvestigationKey,
    Lookups,
    MemberEntry,
    Outcome,
    OutcomeKind,
    Rejection,
    StatedPerson,
    TransientFailure,
    User,
)

from ..integration import DETAILS, Document, Integration
from ..target_system import IntegrationContext
from .database import Database, Rows
from .options import VisaOptions

_STATED, _INSTRUMENT = "stated_user:", "visa_instrument:"
_BIGGEST = 2**63 - 1
# As VISA's columns are.
_USER_ID, _EXPERIMENT_ID, _IDENTIFIER, _NAME = 250, 32, 100, 100
_TITLE, _SUMMARY, _INSTRUMENT_NAME = 2000, 5000, 250
_EMPLOYER = {"name": 200, "town": 100, "country_code": 10}


class Visa(Integration[VisaOptions]):
    """Gives people access to what they measured.

    A document is a person, or a proposal with all of its visits: what is open of it is
    decided for all of them at once.
    """

    Options = VisaOptions
    follows = frozenset({"user", "investigation"})
    operations = frozenset({"refresh"})
    needs_stated = True
    rights = MappingProxyType(dict.fromkeys(DETAILS, "R"))

    def __init__(self, context: IntegrationContext) -> None:
        super().__init__(context)
        self._user_names = context.settings.policies.user_names
        self._zone = ZoneInfo(self.options.timezone)
        self._database = Database(self.options, self.name, self.down)

    def close(self) -> None:
        """Give connections back."""
        self._database.close()

    def key(self, event: EventMessage) -> str:
        """Return the person, or the proposal."""
        if event.investigation is not None:
            return f"proposal {event.investigation.name}"
        return f"user {_account(event.user or '')}"

    def wanted(
        self, events: Sequence[EventMessage], lookups: Lookups
    ) -> Sequence[Document | Outcome | Failure]:
        """Return what VISA shall hold of people and proposals."""
        found: list[Document | Outcome | Failure] = []
        for event in events:
            try:
                if event.investigation is not None:
                    found.append(self._proposal(event, event.investigation, lookups))
                else:
                    found.append(self._user(event))
            except (Rejection, DependencyMissing) as failure:
                found.append(failure)
        return found

    def apply(self, documents: Sequence[Document]) -> Sequence[Outcome | Failure]:
        """Write documents, each in a transaction."""
        results: list[Outcome | Failure] = []
        for document in documents:
            try:
                results.append(self._apply(document))
            except (Rejection, DependencyMissing) as failure:
                results.append(failure)
        return results

    def ping(self) -> None:
        """Return if VISA's tables are there, and may be written."""
        self._database.ping()

    def present(self, missing: Collection[str], lookups: Lookups) -> Collection[str]:
        """Return those people who are stated, and instruments that are in VISA, now."""
        people = {
            each.removeprefix(_STATED): each
            for each in missing
            if each.startswith(_STATED)
        }
        numbers = {
            int(each.removeprefix(_INSTRUMENT)): each
            for each in missing
            if each.startswith(_INSTRUMENT)
        }
        found = {
            people[name]
            for name, user in self.stated.users(people).items()
            if self._user_id(name, user) is not None
        }
        if numbers:
            there = self._database.instruments(list(numbers))
            found |= {numbers[number] for number in there}
        return found

    def _user(self, event: EventMessage) -> Document | Outcome:
        name = _account(event.user or "")
        user = self.stated.users([name]).get(name)
        if user is None:
            reason = "no user office states anything of this user"
            return self.nothing(event, OutcomeKind.IGNORED, reason)
        number = self._user_id(name, user)
        if number is None:
            raise _awaited([], [name])
        notes: list[str] = []
        stated = user.stated or StatedPerson()
        content = {
            "id": number,
            **_person(name, user, notes),
            "employer": _employer(stated, notes),
            "staff": stated.staff,
            "enabled": not _is_disabled(user),
        }
        return Document(key=self.key(event), content=content, notes=tuple(notes))

    def _proposal(
        self, event: EventMessage, key: InvestigationKey, lookups: Lookups
    ) -> Document | Outcome:
        keys = [entry.key for entry in lookups.investigations(key.name)]
        visits = [v for v in lookups.investigation_details(keys) if not v.is_stub]
        stated = self.stated.investigations(keys)
        notes: list[str] = []
        refused: list[str] = []
        numbers = self._numbers(visits, stated, notes, refused)
        proposals: dict[str, dict[str, Any]] = {}
        experiments: dict[str, dict[str, Any]] = {}
        instruments: dict[str, str] = {}
        teams: dict[str, list[str]] = {}
        for number in dict.fromkeys(numbers.values()):
            # One that is open is open with all of its visits.
            shared = [v for v in visits if numbers.get(v.key) == number]
            with _going_on(refused):
                proposals[str(number)] = self._proposal_row(shared, notes)
        for visit in visits:
            with _going_on(refused):
                experiment = self._experiment_id(visit.id, visit.key)
                # Who left has no access, whatever is wrong with the rest.
                claimed = stated.get(visit.key)
                if claimed is not None and claimed.members is not None:
                    teams[experiment] = sorted({m.user for m in claimed.members})
                if str(numbers.get(visit.key)) not in proposals:
                    continue
                instrument = self._instrument(visit, instruments, notes)
                experiments[experiment] = {
                    "instrument_id": instrument,
                    "proposal_id": numbers[visit.key],
                    "start_date": self._time(visit.start),
                    "end_date": self._time(visit.end),
                    "title": cut(_clean(visit.title), _TITLE, "title", notes),
                    "url": self._url(visit),
                    "doi": visit.doi,
                }
        closed = []
        if key not in {each.key for each in visits}:
            closed = self._closed(event, key)
        if not (experiments or teams or closed or refused):
            reason = "; ".join(notes) or "it is not in the catalogue (any more)"
            return self.nothing(event, OutcomeKind.IGNORED, reason)
        content = {
            "proposals": proposals,
            "experiments": experiments,
            "instruments": instruments,
            "teams": teams,
            **self._people(teams.values(), visits, notes, refused),
            "closed": closed,
            "refused": refused,
        }
        notes += refused
        return Document(key=self.key(event), content=content, notes=tuple(notes))

    def _numbers(
        self,
        visits: Sequence[InvestigationDetails],
        stated: Mapping[InvestigationKey, Investigation],
        notes: list[str],
        refused: list[str],
    ) -> dict[InvestigationKey, int]:
        """Return the numbers of the proposals of those visits that have one."""
        numbers = {}
        for visit in visits:
            with _going_on(refused):
                number = self._proposal_id(visit, stated.get(visit.key))
                if number is None:
                    notes.append(
                        f"no user office states the number of the proposal {visit.key}"
                    )
                else:
                    numbers[visit.key] = number
        return numbers

    def _proposal_row(
        self, visits: Sequence[InvestigationDetails], notes: list[str]
    ) -> dict[str, Any]:
        first = visits[0]
        if len(first.key.name) > _IDENTIFIER:
            raise Rejection(
                f"{first.key.name[:40]}… has {len(first.key.name)} characters; VISA's"
                f" proposal.identifier takes {_IDENTIFIER}"
            )
        releases = [visit.release for visit in visits]
        opens = None if None in releases else max(r for r in releases if r)
        dois = {visit.doi for visit in visits}
        return {
            "identifier": _clean(first.key.name),
            "title": cut(_clean(first.title), _TITLE, "title", notes),
            "summary": cut(_clean(first.summary), _SUMMARY, "summary", notes) or None,
            # What is open is open to everybody.
            "public_at": self._time(opens),
            "url": self._url(first) if len(visits) == 1 else None,
            "doi": dois.pop() if len(dois) == 1 else None,
        }

    def _instrument(
        self,
        visit: InvestigationDetails,
        instruments: dict[str, str],
        notes: list[str],
    ) -> int | None:
        if not visit.instruments:
            notes.append(f"{visit.key} has no instrument: VISA cannot have it yet")
            return None
        first, *others = visit.instruments
        if others:
            notes.append(
                f"{visit.key} is at {first.name}, the first of its instruments"
            )
        if self.options.instruments:
            if first.name not in self.options.instruments:
                raise Rejection(
                    f"instrument {first.name} of {visit.key} is none of"
                    " options.instruments; say there which of VISA's it is"
                )
            return self.options.instruments[first.name]
        name = _clean(first.full_name) or _clean(first.name)
        instruments[str(first.id)] = cut(name, _INSTRUMENT_NAME, "instrument", notes)
        return first.id

    def _people(
        self,
        teams: Iterable[Sequence[str]],
        visits: Sequence[InvestigationDetails],
        notes: list[str],
        refused: list[str],
    ) -> dict[str, Any]:
        """Return members by name, and which of them have no access.

        They are disabled, or nobody has stated what they are called in VISA.
        """
        names = sorted({name for team in teams for name in team})
        stated = self.stated.users(names)
        in_icat = {_account(m.user): m for visit in visits for m in visit.members}
        people, unknown = {}, []
        for name in names:
            with _going_on(refused):
                number = self._user_id(name, stated.get(name))
                if number is None:
                    unknown.append(name)
                    continue
                known = stated.get(name) or in_icat.get(name)
                people[name] = {"id": number, **_person(name, known, notes)}
        disabled = sorted(n for n, user in stated.items() if _is_disabled(user))
        return {"people": people, "disabled": disabled, "unknown": unknown}

    def _closed(self, event: EventMessage, key: InvestigationKey) -> list[str]:
        """Return the experiment of a visit that is gone, if its id can be told."""
        if event.investigation_id is None and "{id}" in self.options.experiment_id:
            return []
        return [self._experiment_id(event.investigation_id or 0, key)]

    def _apply(self, document: Document) -> Outcome | Failure:
        content = document.content or {}
        with self._database.turn() as rows:
            if not document.is_newest():
                reason = "somebody has read it later: it is read again"
                return Outcome(kind=OutcomeKind.UNCHANGED, reason=reason)
            if "experiments" in content:
                failure = self._write_proposal(rows, content)
            else:
                failure = self._write_user(rows, content)
        if failure is not None:
            return failure
        kind = OutcomeKind.INGESTED if rows.written else OutcomeKind.UNCHANGED
        written = tuple(f"{self.name}: {line}" for line in rows.written)
        return Outcome(kind=kind, written=written)

    def _write_user(self, rows: Rows, person: Mapping[str, Any]) -> Failure | None:
        refused: list[str] = []
        # Access goes first, and stays away whatever becomes of the rest.
        if not person["enabled"]:
            rows.shut_out(person["id"])
        with rows.attempt(refused):
            employer = person["employer"]
            values = {n: person[n] for n in ("last_name", "first_name", "email")}
            if employer is not None:
                number = int(employer["id"])
                names = {n: employer[n] for n in _EMPLOYER}
                rows.put("employer", {"id": number}, names)
                values["affiliation_id"] = number
            # When somebody was there, and how much is granted to them, is VISA's.
            quota = {"instance_quota": self.options.quota if person["enabled"] else 0}
            rows.put("users", {"id": person["id"]}, values, once=quota)
            self._write_role(rows, person)
        return Rejection("; ".join(refused)) if refused else None

    def _write_role(self, rows: Rows, person: Mapping[str, Any]) -> None:
        name = self.options.staff_role
        has = person["staff"] if person["enabled"] else False
        if name is None or has is None:
            return
        role = rows.role(name)
        if role is not None:
            rows.set_role(person["id"], role, has=has)
        elif has:
            raise self.down(
                f"{self.name}: VISA has no role {name}; see options.staff_role"
            )

    def _write_proposal(self, rows: Rows, content: Mapping[str, Any]) -> Failure | None:
        """Write all that can be written; return why something was not."""
        refused = list(content["refused"])
        # Asked in our turn: whoever is disabled by now has been shut out already.
        stated = self.stated.users(content["people"])
        disabled = sorted(n for n, user in stated.items() if _is_disabled(user))
        teams = {
            experiment: sorted(
                content["people"][name]["id"]
                for name in team
                if name in content["people"] and name not in disabled
            )
            for experiment, team in content["teams"].items()
        }
        # Access goes first, and stays away whatever becomes of the rest.
        for experiment in content["closed"]:
            rows.keep_team(experiment, [])
        for experiment, users in teams.items():
            rows.keep_team(experiment, users)
        with rows.attempt(refused):
            for number, name in content["instruments"].items():
                rows.put("instrument", {"id": int(number)}, {"name": name})
        for number, values in content["proposals"].items():
            with rows.attempt(refused):
                opens = _naive(values["public_at"])
                row = {**values, "public_at": opens}
                rows.put("proposal", {"id": int(number)}, row)
        for name, person in content["people"].items():
            with rows.attempt(refused):
                values = {n: v for n, v in person.items() if n != "id"}
                quota = 0 if name in disabled else self.options.quota
                once = {**values, "instance_quota": quota}
                rows.put("users", {"id": person["id"]}, {}, once=once)
        missing = []
        for experiment, values in content["experiments"].items():
            number = values["instrument_id"]
            if number is not None and not rows.has("instrument", number):
                missing.append(number)
            elif number is not None and rows.has("proposal", values["proposal_id"]):
                with rows.attempt(refused):
                    dates = {n: _naive(values[n]) for n in ("start_date", "end_date")}
                    rows.put("experiment", {"id": experiment}, {**values, **dates})
        for experiment, users in teams.items():
            if rows.has("experiment", experiment):
                with rows.attempt(refused):
                    rows.join_team(experiment, users)
        if missing or content["unknown"]:
            return _awaited(missing, content["unknown"], refused)
        if refused:
            return Rejection("; ".join(refused))
        if disabled != [n for n in content["disabled"] if n in content["people"]]:
            return TransientFailure("somebody was disabled or enabled meanwhile")
        return None

    def _user_id(self, name: str, user: User | None) -> str | None:
        """Return what VISA's login calls somebody, ``None`` where that is not stated.

        Raises
        ------
        Rejection
            It is no id that VISA can hold.
        """
        stated = (
            user.stated.id if user is not None and user.stated is not None else None
        )
        if stated is None and "{id}" in self.options.user_id:
            return None
        before, _, after = self._user_names.partition("{username}")
        username = name.removeprefix(before).removesuffix(after)
        found = self.options.user_id.format(name=name, username=username, id=stated)
        # VISA takes "0" for nobody.
        if not found.strip() or found == "0" or _clean(found) != found:
            raise Rejection(f"user {name}: {found!r} is no id of a person in VISA")
        if len(found) > _USER_ID:
            raise Rejection(
                f"user {name}: an id of {len(found)} characters; VISA's users.id takes"
                f" {_USER_ID}"
            )
        return found

    def _experiment_id(self, number: int, key: InvestigationKey) -> str:
        found = self.options.experiment_id.format(
            id=number, name=key.name, visit_id=key.visit_id
        )
        if len(found) > _EXPERIMENT_ID or _clean(found) != found or not found:
            raise Rejection(
                f"{found[:60]!r} cannot be VISA's experiment.id, expected up to"
                f" {_EXPERIMENT_ID} printable characters; see options.experiment_id"
            )
        return found

    def _proposal_id(
        self, visit: InvestigationDetails, claimed: Investigation | None
    ) -> int | None:
        if self.options.proposal_id == "{id}":
            return visit.id
        stated = None if claimed is None else claimed.proposal_id
        if stated is None:
            return None
        if not stated.isdecimal() or not 0 < int(stated) <= _BIGGEST:
            raise Rejection(
                f"{visit.key}: proposal_id: expected a number (found: {stated[:40]!r})"
            )
        return int(stated)

    def _url(self, visit: InvestigationDetails) -> str | None:
        if self.options.url_template is None:
            return None
        return self.options.url_template.format(
            id=visit.id, name=visit.key.name, visit_id=visit.key.visit_id
        )

    def _time(self, when: datetime | None) -> str | None:
        if when is None:
            return None
        local = when.astimezone(self._zone)
        return local.replace(tzinfo=None).isoformat()


def _naive(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _account(name: str) -> str:
    return name.removesuffix(DISABLED_SUFFIX)


def _is_disabled(user: User) -> bool:
    if user.stated is not None and user.stated.enabled is not None:
        return not user.stated.enabled
    return user.name.endswith(DISABLED_SUFFIX)


def _awaited(
    instruments: Iterable[int], people: Sequence[str], refused: Iterable[str] = ()
) -> DependencyMissing:
    """Return the failure that something VISA needs is not there yet.

    Parameters
    ----------
    instruments
        Numbers of those that VISA does not have.
    people
        Names of those whose number is not stated.
    refused
        What will be refused once it is there.
    """
    numbers = list(dict.fromkeys(instruments))
    reasons = [f"instrument {n} of options.instruments is not in VISA" for n in numbers]
    if people:
        reasons.append(
            f"the user office's number of {', '.join(people)[:200]} is not stated, as"
            " options.user_id asks: without access until then"
        )
    return DependencyMissing(
        "; ".join([*reasons, *refused]),
        [*(f"{_INSTRUMENT}{n}" for n in numbers), *(f"{_STATED}{n}" for n in people)],
    )


@contextmanager
def _going_on(refused: list[str]) -> Iterator[None]:
    """Take note of what is refused, and go on with everything else."""
    try:
        yield
    except Rejection as failure:
        refused.append(failure.reason)


def _person(
    name: str, known: User | MemberEntry | None, notes: list[str]
) -> dict[str, Any]:
    """Return somebody's names as VISA has them; it needs a last name."""
    known = known or User(name=name)
    family = _clean(known.family_name)
    last = family or _clean(known.full_name) or name
    first = _clean(known.given_name) if family else ""
    email: str | None = _clean(known.email)
    if email and len(email) > _NAME:
        notes.append(f"email of {name}: {len(email)} characters: left out")
        email = None
    return {
        "last_name": cut(last, _NAME, "last_name", notes),
        "first_name": cut(first, _NAME, "first_name", notes) or None,
        "email": email or None,
    }


def _employer(stated: StatedPerson, notes: list[str]) -> dict[str, Any] | None:
    number = stated.employer_id
    if number is None:
        return None
    if not number.isdecimal() or int(number) > _BIGGEST:
        notes.append(f"employer: {number[:40]!r} is no number: left out")
        return None
    texts = {
        "name": stated.employer,
        "town": stated.town,
        "country_code": stated.country_code,
    }
    return {
        "id": number,
        **{
            field: cut(_clean(texts[field]), limit, f"employer {field}", notes) or None
            for field, limit in _EMPLOYER.items()
        },
    }


def _clean(text: str | None) -> str:
    """Return a text without what PostgreSQL cannot hold."""
    return "".join(c for c in text or "" if c != "\0" and not "\ud800" <= c <= "\udfff")
