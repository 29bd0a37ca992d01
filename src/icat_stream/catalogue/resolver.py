"""What a planned dataset refers to, found in the catalogue or decided by policy."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from icat_stream.config import PolicySettings
from icat_stream.icat import Session, related, shorten, value_text
from icat_stream.records import (
    STUB_TITLE,
    DatafileFormat,
    Dataset,
    DependencyMissing,
    Failure,
    Investigation,
    InvestigationKey,
    Parameter,
    Rejection,
    Sample,
    parameter_label,
    shortened,
)

from .reference_cache import ParameterType, ReferenceCache, Row
from .validation import value_type

# Of parameter types that are not there, and of the name of one.
_LISTED = 10
_LONGEST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisite:
    """Something that has to be created before the dataset.

    Parameters
    ----------
    entity
        Its entity.
    name
        For people.
    key
        Its ``name`` in ICAT; ``None`` for what has none.
    content
        Its fields as XML; ``None`` as long as something that they refer to is itself
        still to be created.
    """

    entity: str
    name: str
    key: str | None
    content: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A planned dataset and the ids of what it refers to.

    Parameters
    ----------
    dataset
        As planned, without what was left out by policy.
    investigation_id
        0 while that is to be created.
    prerequisites
        What is not there yet; ids of these are missing below.
    notes
        What was left out by policy.
    """

    dataset: Dataset
    investigation_id: int
    type_id: int
    sample_id: int | None = None
    instrument_ids: Mapping[str, int] = field(default_factory=dict)
    technique_ids: Mapping[str, int] = field(default_factory=dict)
    format_ids: Mapping[DatafileFormat, int] = field(default_factory=dict)
    parameter_types: Mapping[tuple[str, str], ParameterType] = field(
        default_factory=dict
    )
    prerequisites: tuple[Prerequisite, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Resolver:
    """Resolves one dataset.

    Parameters
    ----------
    references
        The cache.
    session
        To ask with.
    policies
        What to do where something is missing.
    stubs
        Investigations that may be made.
    """

    references: ReferenceCache
    session: Session
    policies: PolicySettings
    stubs: Mapping[InvestigationKey, Investigation] = field(default_factory=dict)
    _missing: list[Prerequisite] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)

    def resolve(self, dataset: Dataset) -> Resolved:
        """Return the dataset with what it refers to.

        Raises
        ------
        DependencyMissing
            Something is to be waited for, by policy.
        Rejection
            Something is missing that may not be.
        """
        investigation_id = self._investigation(dataset)
        types, dataset = self._parameter_types(dataset)
        techniques, dataset = self._techniques(dataset)
        instruments = self.instruments(dataset.instruments)
        dataset = replace(dataset, instruments=tuple(instruments))
        sample_id, dataset = self._sample(dataset, investigation_id)
        return Resolved(
            dataset=dataset,
            investigation_id=investigation_id,
            type_id=self._type(dataset.type),
            sample_id=sample_id,
            instrument_ids=instruments,
            technique_ids=techniques,
            format_ids=self._formats(dataset),
            parameter_types=types,
            prerequisites=self.prerequisites,
            notes=self.notes,
        )

    @property
    def prerequisites(self) -> tuple[Prerequisite, ...]:
        """What has to be created before anything that was resolved here."""
        return tuple(self._missing)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out by policy."""
        return tuple(self._notes)

    def _investigation(self, dataset: Dataset) -> int:
        key = dataset.investigation
        stub = self.stubs.get(key)
        # Another lane may have made the stub, or one of its links, a moment ago.
        rows = self.references.investigations(
            self.session, key.name, fresh=stub is not None
        )
        for row in rows:
            if row["visitId"] == key.visit_id:
                if stub is not None and row.get("title") == STUB_TITLE:
                    self._link_stub(stub, row)
                return int(row["id"])
        if stub is not None:
            self._create_stub(stub)
            return 0
        reason = f"investigation {key} is not in the catalogue"
        if self.policies.missing_investigations == "reject":
            raise Rejection(f"{reason} (policies.missing_investigations: reject)")
        raise DependencyMissing(reason, [f"investigation:{key}"])

    def _create_stub(self, stub: Investigation) -> None:
        kind = stub.type or ""
        ids = ids_of(self.references.named(self.session, "InvestigationType", [kind]))
        if kind not in ids:
            raise Rejection(
                f"policies.stubs.type: {shorten(kind)} is no InvestigationType in the"
                " catalogue: create it, or correct the configuration"
            )
        links = "".join(
            "<investigationInstruments>"
            f"<instrument><id>{number}</id></instrument></investigationInstruments>"
            for number in self.instruments(stub.instruments or ()).values()
        )
        dates = {} if stub.start is None else {"startDate": stub.start}
        self._create(
            "Investigation",
            f"{stub.key} (stub)",
            {"facility": self.references.facility_id, "type": ids[kind]},
            links,
            name=stub.investigation.name,
            visitId=stub.investigation.visit_id,
            title=stub.title,
            **dates,
        )

    def _link_stub(self, stub: Investigation, row: Row) -> None:
        there = {
            related(link, "instrument", "Instrument")["name"]
            for link in row.get("investigationInstruments", ())
        }
        for name, number in self.instruments(stub.instruments or ()).items():
            if name not in there:
                self._missing.append(
                    Prerequisite(
                        entity="InvestigationInstrument",
                        name=f"{name} of {stub.key} (stub)",
                        key=None,
                        content=f"<instrument><id>{number}</id></instrument>"
                        f"<investigation><id>{row['id']}</id></investigation>",
                    )
                )

    def _type(self, name: str) -> int:
        found = self.references.named(self.session, "DatasetType", [name])
        if name not in found:
            raise Rejection(
                f"dataset type {shorten(name)} is not in the catalogue: create it, or"
                " correct the plan's"
            )
        return int(found[name][0]["id"])

    def _formats(self, dataset: Dataset) -> dict[DatafileFormat, int]:
        wanted = {f.format for f in dataset.datafiles if f.format is not None}
        rows = self.references.named(
            self.session, "DatafileFormat", [f.name for f in wanted]
        )
        ids = {}
        for kind in wanted:
            versions = {r["version"]: r["id"] for r in rows.get(kind.name, ())}
            if kind.version not in versions:
                there = ", ".join(sorted(versions)) or "no version"
                raise Rejection(
                    f"datafile format {shorten(kind.name)} version"
                    f" {shorten(kind.version)} is not in the catalogue, which has"
                    f" {there} of it: create it, or correct the plan's"
                )
            ids[kind] = int(versions[kind.version])
        return ids

    def instruments(self, wanted: Iterable[str]) -> dict[str, int]:
        """Return ids of instruments by name, without those left out by policy.

        Raises
        ------
        DependencyMissing, Rejection
            As :meth:`resolve`.
        """
        names = tuple(dict.fromkeys(wanted))
        ids = ids_of(self.references.named(self.session, "Instrument", names))
        for name in names:
            if name in ids:
                continue
            reason = f"instrument {shorten(name)} is not in the catalogue"
            policy = self.policies.missing_instruments
            if policy == "park":
                raise DependencyMissing(reason, [f"instrument:{name}"])
            if policy == "reject":
                raise Rejection(f"{reason} (policies.missing_instruments: reject)")
            self._notes.append(f"{reason}: left out")
        return {name: ids[name] for name in names if name in ids}

    def _techniques(self, dataset: Dataset) -> tuple[dict[str, int], Dataset]:
        wanted = tuple(dict.fromkeys(dataset.techniques))
        names = [technique.name for technique in wanted]
        ids = ids_of(self.references.named(self.session, "Technique", names))
        kept = []
        for technique in wanted:
            policy = self.policies.missing_techniques
            if technique.name not in ids and policy != "create":
                reason = f"technique {shorten(technique.name)} is not in the catalogue"
                if policy == "reject":
                    raise Rejection(f"{reason} (policies.missing_techniques: reject)")
                self._notes.append(f"{reason}: left out")
                continue
            kept.append(technique)
            if technique.name not in ids:
                self._create("Technique", technique.name, name=technique.name)
        return ids, replace(dataset, techniques=tuple(kept))

    def _sample(
        self, dataset: Dataset, investigation_id: int
    ) -> tuple[int | None, Dataset]:
        sample = dataset.sample
        if sample is None:
            return None, dataset
        found = self.references.sample(self.session, investigation_id, sample.name)
        if found is not None:
            return found, dataset
        reason = (
            f"sample {shorten(sample.name)} is not in investigation"
            f" {dataset.investigation}"
        )
        if sample.create or self.policies.missing_samples == "create":
            self._create_sample(sample, investigation_id)
            return None, dataset
        if self.policies.missing_samples == "reject":
            raise Rejection(f"{reason} (policies.missing_samples: reject)")
        self._notes.append(f"{reason}: left out")
        return None, replace(dataset, sample=None)

    def _create_sample(self, sample: Sample, investigation_id: int) -> None:
        references = {"investigation": investigation_id}
        if sample.type is not None:
            references["type"] = self.sample_type(sample) or 0
        self._create("Sample", sample.name, references, name=sample.name)

    def sample_type(self, sample: Sample) -> int | None:
        """Return the id of a sample's type; ``None`` where that is to be created.

        Raises
        ------
        Rejection
            It is ambiguous.
        """
        if sample.type is None:
            return None
        rows = self.references.named(self.session, "SampleType", [sample.type])
        of_name = rows.get(sample.type, ())
        exact = [
            row
            for row in of_name
            if row["molecularFormula"] == sample.molecular_formula
        ]
        candidates = exact or (of_name if not sample.molecular_formula else ())
        if len(candidates) > 1:
            formulas = ", ".join(shorten(r["molecularFormula"]) for r in of_name)
            raise Rejection(
                f"sample type {shorten(sample.type)}: the catalogue has"
                f" {len(candidates)} of that name ({formulas}): state the"
                " molecular formula"
            )
        if candidates:
            return int(candidates[0]["id"])
        self._create(
            "SampleType",
            sample.type,
            {"facility": self.references.facility_id},
            name=sample.type,
            molecularFormula=sample.molecular_formula or "unknown",
        )
        return None

    def parameter_types(
        self, uses: Iterable[tuple[str, Parameter]]
    ) -> tuple[dict[tuple[str, str], ParameterType], set[tuple[str, str]]]:
        """Return parameter types by name and units, and which are to be left out.

        Parameters
        ----------
        uses
            Parameters, each with the entity that it is of.

        Raises
        ------
        DependencyMissing, Rejection
            As :meth:`resolve`.
        """
        used: dict[tuple[str, str], tuple[Parameter, set[str]]] = {}
        for owner, parameter in uses:
            key = (parameter.name, parameter.units)
            used.setdefault(key, (parameter, set()))[1].add(owner)
        if not used:
            return {}, set()
        found = self.references.parameter_types(
            self.session, sorted({name for name, _ in used})
        )
        unknown = {key: use for key, use in used.items() if key not in found}
        policy = self.policies.unknown_parameter_types
        if unknown and policy in ("park", "reject"):
            owners = {owner for _, (_, each) in unknown.items() for owner in each}
            raise self._unknown_types(list(unknown), owners, list(found))
        if policy == "skip":
            self._notes += [
                f"parameter type {parameter_label(*key)} is not in the catalogue:"
                " left out"
                for key in unknown
            ]
            return found, set(unknown)
        for key, (parameter, owners) in unknown.items():
            applicable: dict[str, object] = {f"applicableTo{o}": True for o in owners}
            self._create(
                "ParameterType",
                parameter_label(*key),
                {"facility": self.references.facility_id},
                name=key[0],
                units=key[1],
                valueType=value_type(parameter.value).value,
                **applicable,
            )
        return found, set()

    def _unknown_types(
        self,
        unknown: Sequence[tuple[str, str]],
        owners: Collection[str],
        known: Sequence[tuple[str, str]],
    ) -> Failure:
        listed = []
        for name, units in unknown[:_LISTED]:
            others = [parameter_label(*key) for key in known if key[0] == name]
            there = f" (there is {', '.join(others[:3])})" if others else ""
            label = shortened(parameter_label(name, units), _LONGEST)
            listed.append(label + there)
        if len(unknown) > _LISTED:
            listed.append(f"and {len(unknown) - _LISTED} more")
        many = len(unknown) > 1
        reason = (
            f"parameter {'types' if many else 'type'} {', '.join(listed)}"
            f" {'are' if many else 'is'} not in the catalogue"
        )
        todo = (
            f"create {'them' if many else 'it'}, applicable to"
            f" {' and '.join(sorted(owners))}"
        )
        if self.policies.unknown_parameter_types == "park":
            missing = [f"parameter_type:{name} [{units}]" for name, units in unknown]
            return DependencyMissing(f"{reason}: {todo}", missing)
        return Rejection(
            f"{reason}: {todo}, or set policies.unknown_parameter_types, which is"
            " reject, to create, skip or park"
        )

    def _parameter_types(
        self, dataset: Dataset
    ) -> tuple[dict[tuple[str, str], ParameterType], Dataset]:
        found, skipped = self.parameter_types(_parameters(dataset))
        return found, _without(dataset, skipped) if skipped else dataset

    def _create(
        self,
        entity: str,
        label: str,
        references: Mapping[str, int] | None = None,
        nested: str = "",
        /,
        **fields: object,
    ) -> None:
        """Have something created, once all that it refers to has an id."""
        content = nested + "".join(
            f"<{tag}>{value_text(value)}</{tag}>" for tag, value in fields.items()
        )
        ids = dict(references or {})
        for tag, ref in ids.items():
            content += f"<{tag}><id>{ref}</id></{tag}>"
        self._missing.append(
            Prerequisite(
                entity=entity,
                name=label,
                key=str(fields["name"]),
                content=content if all(ids.values()) else None,
            )
        )


def _parameters(dataset: Dataset) -> Iterable[tuple[str, Parameter]]:
    for parameter in dataset.sample.parameters if dataset.sample else ():
        yield "Sample", parameter
    for parameter in dataset.parameters:
        yield "Dataset", parameter
    for datafile in dataset.datafiles:
        for parameter in datafile.parameters:
            yield "Datafile", parameter


def _without(dataset: Dataset, types: set[tuple[str, str]]) -> Dataset:
    def kept(parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
        return tuple(p for p in parameters if (p.name, p.units) not in types)

    sample = dataset.sample
    return replace(
        dataset,
        sample=sample and replace(sample, parameters=kept(sample.parameters)),
        parameters=kept(dataset.parameters),
        datafiles=tuple(
            replace(f, parameters=kept(f.parameters)) if f.parameters else f
            for f in dataset.datafiles
        ),
    )


def ids_of(rows: Mapping[str, tuple[Row, ...]]) -> dict[str, int]:
    """Return the id of the first of each name."""
    return {name: int(found[0]["id"]) for name, found in rows.items()}
