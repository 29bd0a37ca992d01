"""Planned users and investigations as trees, and what the catalogue holds of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from icat_stream.config import PolicySettings
from icat_stream.icat import (
    Schema,
    Session,
    entities,
    in_lists,
    quote,
    related,
    select,
    shorten,
)
from icat_stream.records import (
    DependencyMissing,
    Investigation,
    Parameter,
    Rejection,
    Sample,
    Shift,
    User,
    parameter_label,
)

from .dataset_xml import attributes, parameter_value
from .equality import same
from .held_datasets import type_key
from .reference_cache import ParameterType, ReferenceCache
from .resolver import Prerequisite, Resolver, ids_of
from .tree import Branch, Node, Row
from .tree_writer import ResolvedTree

# Fields of the records by the attributes of ICAT.
USER = {
    "fullName": "full_name",
    "givenName": "given_name",
    "familyName": "family_name",
    "email": "email",
    "orcidId": "orcid_id",
    "affiliation": "affiliation",
}
INVESTIGATION = {
    "title": "title",
    "summary": "summary",
    "doi": "doi",
    "startDate": "start",
    "endDate": "end",
    "releaseDate": "release",
    "fileSize": "file_size",
    "fileCount": "file_count",
}
_BRANCHES = (
    ("cycles", "investigationFacilityCycles", "facilityCycle"),
    ("instruments", "investigationInstruments", "instrument"),
    ("members", "investigationUsers", "user"),
    ("keywords", "keywords", ""),
    ("parameters", "parameters", "type"),
    ("samples", "samples", "type"),
    ("shifts", "shifts", "instrument"),
)
Types = Mapping[tuple[str, str], ParameterType]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A plan and what it refers to.

    Parameters
    ----------
    seed
        To be brought into the catalogue.
    prerequisites
        What has to be created before; the seed is not whole until then.
    types
        Of the parameters.
    missing_users
        Members that are not in the catalogue, and not in the seed.
    notes
        What was left out by policy.
    """

    seed: ResolvedTree
    prerequisites: tuple[Prerequisite, ...] = ()
    types: Types = field(default_factory=dict)
    missing_users: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class SnapshotResolver:
    """Resolves snapshots and reads what is there.

    Parameters
    ----------
    session
        Of the lane.
    schema, references
        Of the catalogue.
    policies
        What to do where a facility may choose.
    ignore_case
        Whether the database sees no difference between ``a`` and ``A``.
    """

    session: Session
    schema: Schema
    references: ReferenceCache
    policies: PolicySettings
    ignore_case: bool

    def user(self, user: User) -> Found:
        """Return a user's tree."""
        row = self._user_row(user)
        if row is not None and row["name"].lower() == user.name.lower():
            # Of an account that is found in other letters the catalogue's stay.
            user = replace(user, name=row["name"])
        groups = (*user.groups, *user.left_groups)
        found = self.references.named(self.session, "Grouping", groups)
        ids = ids_of(found)
        branches = (self._groups(user, ids),) if groups else ()
        node = Node(
            entity="User",
            label=f"User {user.name}",
            matches=lambda row: row["name"] == user.name,
            values={"name": user.name} | self._values("User", USER, user),
            branches=branches,
        )
        return Found(
            seed=ResolvedTree(node=node, row=row),
            prerequisites=tuple(
                Prerequisite(
                    entity="Grouping",
                    name=name,
                    key=name,
                    content=Node(
                        entity="Grouping",
                        label="",
                        matches=lambda _: False,
                        values={"name": name},
                    ).content(),
                )
                for name in user.groups
                if name not in ids
            ),
        )

    def investigation(self, planned: Investigation) -> Found:
        """Return an investigation's tree.

        Raises
        ------
        DependencyMissing, Rejection
            Something that it refers to is not there, by policy.
        """
        planned = self._spelled(planned)
        resolver = Resolver(self.references, self.session, self.policies)
        types, skipped = resolver.parameter_types(uses(planned))
        planned = _without(planned, skipped)
        references = {"facility": self.references.facility_id}
        if planned.type is not None:
            references["type"] = self._id("InvestigationType", planned.type)
        users, missing = self._users(planned)
        branches: list[Branch] = []
        if planned.cycles is not None:
            cycles = {n: self._id("FacilityCycle", n) for n in planned.cycles}
            branches.append(self._links("cycles", "InvestigationFacilityCycle", cycles))
        if planned.instruments is not None:
            ids = resolver.instruments(planned.instruments)
            branches.append(self._links("instruments", "InvestigationInstrument", ids))
        if planned.members is not None:
            branches.append(self._members(planned, users))
        if planned.keywords is not None:
            branches.append(self._keywords(planned.keywords))
        if planned.parameters is not None:
            branches.append(
                self._parameters(
                    "Investigation", "investigation", planned.parameters, types
                )
            )
        if planned.samples is not None:
            branches.append(self._samples(planned.samples, types, resolver))
        if planned.shifts is not None:
            branches.append(self._shifts(planned.shifts, resolver))
        node = Node(
            entity="Investigation",
            label=f"Investigation {planned.key}",
            matches=lambda row: row["visitId"] == planned.investigation.visit_id,
            values={
                "name": planned.investigation.name,
                "visitId": planned.investigation.visit_id,
            }
            | self._values("Investigation", INVESTIGATION, planned),
            references=references,
            branches=tuple(branches),
        )
        needed = [name for name in ("title", "type") if getattr(planned, name) is None]
        forbidden = None
        if needed:
            forbidden = (
                f"investigation {planned.key} is not in the catalogue, and cannot be"
                f" created: {', '.join(needed)}: not stated"
            )
        return Found(
            seed=ResolvedTree(
                node=node, row=self._investigation_row(planned), forbidden=forbidden
            ),
            prerequisites=resolver.prerequisites,
            types=types,
            missing_users=missing,
            notes=resolver.notes,
        )

    def _spelled(self, planned: Investigation) -> Investigation:
        """Return an investigation by the name that the catalogue has for it."""
        key = planned.investigation
        if not self.references.ignore_case:
            return planned
        rows = self.references.investigations(self.session, key.name)
        if not rows:
            return planned
        visits = {row["visitId"] for row in rows}
        alike = [visit for visit in visits if visit.lower() == key.visit_id.lower()]
        if key.visit_id not in visits and len(alike) == 1:
            key = replace(key, visit_id=alike[0])
        key = replace(key, name=rows[0]["name"])
        return replace(planned, investigation=key)

    def _values(
        self, entity: str, names: Mapping[str, str], planned: Any
    ) -> dict[str, Any]:
        found = {}
        for attribute, name in names.items():
            value = getattr(planned, name)
            if value is not None or name in planned.cleared:
                found[attribute] = value
        return {n: v for n, v in found.items() if self.schema.has(entity, n)}

    def _user_row(self, user: User) -> Row | None:
        names = (user.name, *user.formerly)
        with_groups = user.groups or user.left_groups
        rows: dict[str, Row] = {}
        for listed in in_lists(names):
            query = select(
                "User",
                f"o.name IN {listed}",
                then="INCLUDE o.userGroups.grouping" if with_groups else "",
            )
            found = entities(self.session.search(query, "User"))
            rows.update((row["name"], row) for row in found)
        exact = next((rows[name] for name in names if name in rows), None)
        if exact is not None or not self.references.ignore_case:
            return exact
        spelled = self.references.named(self.session, "User", names)
        known = next((spelled[name][0] for name in names if name in spelled), None)
        if known is None:
            return None
        asked = (known["name"],)
        return self._user_row(replace(user, name=asked[0], formerly=()))

    def _groups(self, user: User, ids: Mapping[str, int]) -> Branch:
        left = set(user.left_groups)
        return Branch(
            relation="userGroups",
            back="user",
            entity="UserGroup",
            nodes=tuple(
                _link("UserGroup", "grouping", name, ids[name])
                for name in user.groups
                if name in ids
            ),
            label=lambda row: (
                f"UserGroup {related(row, 'grouping', 'Grouping')['name']}"
            ),
            removes=lambda row: related(row, "grouping", "Grouping")["name"] in left,
        )

    def _id(self, entity: str, name: str) -> int:
        ids = ids_of(self.references.named(self.session, entity, [name]))
        if name not in ids:
            what = "type" if entity == "InvestigationType" else "facility cycle"
            raise Rejection(
                f"{what}: {shorten(name)} is no {entity} in the catalogue: create it,"
                " or correct the message or its field map"
            )
        return ids[name]

    def _users(self, planned: Investigation) -> tuple[dict[str, int], tuple[str, ...]]:
        called = {
            member.user: self.policies.names_of(member.user)
            for member in planned.members or ()
        }
        names = sorted({name for names in called.values() for name in names})
        ids = ids_of(self.references.named(self.session, "User", names))
        found, missing = {}, []
        for user, possible in called.items():
            known = [name for name in possible if name in ids]
            if known:
                found[user] = ids[known[0]]
            else:
                missing.append(user)
        return found, tuple(missing)

    def _links(self, name: str, entity: str, ids: Mapping[str, int]) -> Branch:
        relation, target = next((r, t) for n, r, t in _BRANCHES if n == name)
        return Branch(
            relation=relation,
            back="investigation",
            entity=entity,
            nodes=tuple(_link(entity, target, n, number) for n, number in ids.items()),
            label=lambda row: f"{entity} {_target(row, target)['name']}",
            removes=self._removes,
        )

    def _members(self, planned: Investigation, users: Mapping[str, int]) -> Branch:
        def node(user: str, role: str) -> Node:
            number = users[user]
            return Node(
                entity="InvestigationUser",
                label=f"InvestigationUser {user} ({role})",
                matches=lambda row: (
                    related(row, "user", "User")["id"] == number
                    and self._fold(row["role"]) == self._fold(role)
                ),
                values={"role": role},
                references={"user": number},
            )

        roles = set(planned.roles)
        pairs = dict.fromkeys(
            (m.user, m.role) for m in planned.members or () if m.user in users
        )
        return Branch(
            relation="investigationUsers",
            back="investigation",
            entity="InvestigationUser",
            nodes=tuple(node(user, role) for user, role in pairs),
            label=lambda row: (
                f"InvestigationUser {related(row, 'user', 'User')['name']}"
                f" ({row['role']})"
            ),
            removes=lambda row: (
                self._removes(row) and (not roles or row["role"] in roles)
            ),
        )

    def _keywords(self, keywords: Iterable[str]) -> Branch:
        return Branch(
            relation="keywords",
            back="investigation",
            entity="Keyword",
            nodes=tuple(
                Node(
                    entity="Keyword",
                    label=f"Keyword {name}",
                    matches=self._named(name),
                    values={"name": name},
                )
                for name in self._distinct(keywords)
            ),
            label=lambda row: f"Keyword {row['name']}",
            removes=self._removes,
        )

    def _distinct(self, keywords: Iterable[str]) -> Iterable[str]:
        """Return keywords without those that are one to whoever compares them."""
        fold = self._fold if self.references.ignore_case else str
        first: dict[str, str] = {}
        for keyword in keywords:
            first.setdefault(fold(keyword), keyword)
        return first.values()

    def _samples(
        self, samples: Iterable[Sample], types: Types, resolver: Resolver
    ) -> Branch:
        def node(sample: Sample) -> Node:
            number = resolver.sample_type(sample)
            return Node(
                entity="Sample",
                label=f"Sample {sample.name}",
                matches=self._named(sample.name),
                values={"name": sample.name},
                references={} if number is None else {"type": number},
                branches=(
                    self._parameters("Sample", "sample", sample.parameters, types),
                )
                if sample.parameters
                else (),
            )

        # Never removed: their datasets would go with them.
        return Branch(
            relation="samples",
            back="investigation",
            entity="Sample",
            nodes=tuple(node(sample) for sample in samples),
            label=lambda row: f"Sample {row['name']}",
        )

    def _shifts(self, shifts: Iterable[Shift], resolver: Resolver) -> Branch:
        def node(shift: Shift) -> Node:
            references = {}
            if shift.instrument is not None and self.schema.has("Shift", "instrument"):
                ids = resolver.instruments([shift.instrument])
                if shift.instrument in ids:
                    references["instrument"] = ids[shift.instrument]
            values: dict[str, Any] = {"startDate": shift.start, "endDate": shift.end}
            if shift.comment is not None:
                values["comment"] = shift.comment
            return Node(
                entity="Shift",
                label=f"Shift {shift.start.isoformat()}",
                matches=lambda row: (
                    same(shift.start, row.get("startDate"))
                    and same(shift.end, row.get("endDate"))
                ),
                values=values,
                references=references,
            )

        return Branch(
            relation="shifts",
            back="investigation",
            entity="Shift",
            nodes=tuple(node(shift) for shift in shifts),
            label=lambda row: f"Shift {row.get('startDate')}",
            removes=self._removes,
        )

    def _parameters(
        self, owner: str, back: str, parameters: Iterable[Parameter], types: Types
    ) -> Branch:
        def node(parameter: Parameter) -> Node:
            key = (parameter.name, parameter.units)
            name, value = parameter_value(parameter)
            values: dict[str, float | str | datetime] = {name: value}
            for tag, extra in (
                ("error", parameter.error),
                ("rangeBottom", parameter.range_bottom),
                ("rangeTop", parameter.range_top),
            ):
                if extra is not None:
                    values[tag] = float(extra)
            fixed = {}
            if key in types:
                # A nested parameter is checked against its type as sent.
                names = self.schema.attributes("ParameterType")
                fixed["type"] = f"<type>{attributes(types[key].row, names)}</type>"
            return Node(
                entity=f"{owner}Parameter",
                label=f"{owner}Parameter {parameter.label}",
                matches=lambda row: type_key(row) == key,
                values=values,
                fixed=fixed,
            )

        # Never removed: others keep their own there, such as statistics.
        return Branch(
            relation="parameters",
            back=back,
            entity=f"{owner}Parameter",
            nodes=tuple(node(parameter) for parameter in parameters),
            label=lambda row: f"{owner}Parameter {parameter_label(*type_key(row))}",
        )

    def _removes(self, _: Row) -> bool:
        return self.policies.removed_members == "delete"

    def _fold(self, text: str) -> str:
        if self.ignore_case or self.references.ignore_case:
            return text.rstrip(" ").casefold()
        return text

    def _named(self, name: str) -> Callable[[Row], bool]:
        wanted = self._fold(name)
        return lambda row: self._fold(row["name"]) == wanted

    def _investigation_row(self, planned: Investigation) -> Row | None:
        key = planned.investigation
        include = ["o.facility", "o.type"]
        for name, relation, target in _BRANCHES:
            if getattr(planned, name) is None:
                continue
            entity = self.schema.entities["Investigation"][relation].type
            leads = target and self.schema.has(entity, target)
            include.append(f"o.{relation}.{target}" if leads else f"o.{relation}")
        if any(sample.parameters for sample in planned.samples or ()):
            include.append("o.samples.parameters.type")
        query = select(
            "Investigation",
            f"o.facility.id = {self.references.facility_id}",
            f"o.name = {quote(key.name)}",
            f"o.visitId = {quote(key.visit_id)}",
            then=f"INCLUDE {', '.join(include)}",
        )
        rows = entities(self.session.search(query, "Investigation"))
        exact = [
            row
            for row in rows
            if (row["name"], row["visitId"]) == (key.name, key.visit_id)
        ]
        return exact[0] if exact else None


def uses(planned: Investigation) -> Iterable[tuple[str, Parameter]]:
    """Yield all parameters with the entity that each is of."""
    for parameter in planned.parameters or ():
        yield "Investigation", parameter
    for sample in planned.samples or ():
        for parameter in sample.parameters:
            yield "Sample", parameter


def missing_users(planned: Investigation, users: Iterable[str]) -> DependencyMissing:
    """Return the failure that says which members are not in the catalogue."""
    names = tuple(users)
    listed = ", ".join(shorten(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return DependencyMissing(
        f"investigation {planned.key} is in the catalogue, but of its members user"
        f" {listed}{more} is not",
        [f"user:{name}" for name in names],
    )


def _target(row: Row, target: str) -> Row:
    return related(row, target, target[0].upper() + target[1:])


def _link(entity: str, target: str, name: str, number: int) -> Node:
    return Node(
        entity=entity,
        label=f"{entity} {name}",
        matches=lambda row: _target(row, target)["id"] == number,
        references={target: number},
    )


def _without(planned: Investigation, types: set[tuple[str, str]]) -> Investigation:
    if not types:
        return planned

    def kept(parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
        return tuple(p for p in parameters if (p.name, p.units) not in types)

    return replace(
        planned,
        parameters=None if planned.parameters is None else kept(planned.parameters),
        samples=None
        if planned.samples is None
        else tuple(replace(s, parameters=kept(s.parameters)) for s in planned.samples),
    )
