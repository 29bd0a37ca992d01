"""Bringing one dataset of the catalogue to its plan, whatever is there already."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from icat_stream.config import PolicySettings
from icat_stream.icat import (
    IcatFault,
    ResultUnknown,
    Schema,
    Session,
    entities,
    fingerprint,
    passing,
    select,
    shorten,
)
from icat_stream.records import (
    AppliedDataset,
    Dataset,
    Diff,
    Investigation,
    InvestigationKey,
    OutcomeKind,
    Rejection,
    TransientFailure,
    digest,
)

from . import dataset_replacement, held_datasets
from .dataset_diff import Comparison, Difference, changes, compare
from .dataset_name import new_name
from .dataset_xml import Writer, reference, rewritten
from .fault_memory import FaultMemory
from .file_store import FileStore
from .held_datasets import HeldDataset
from .location_signer import LocationSigner
from .prerequisites import Prerequisites
from .reference_cache import ReferenceCache
from .resolver import Resolved, Resolver
from .sample_parameters import SampleParameters, sample_parameters
from .validation import Checker

_log = logging.getLogger(__name__)
# One call each; beyond it the server's work grows with the square.
_BATCH = 1000
# What is sent in vain where a dataset is there after all must not be much.
_BLIND = 100
# Make what it refers to, create, find it there after all, complete it, see that it is
# complete; or create beside, delete, rename: with some for a second lane at the same.
_ROUNDS = 10
# Attributes of a datafile that tell what is in it.
_CONTENT = {"fileSize", "checksum"}


@dataclass(slots=True, kw_only=True)
class DatasetWriter:
    """One dataset's way into the catalogue.

    Parameters
    ----------
    session
        Of the lane.
    schema, references, memory
        Of the catalogue.
    policies
        What to do where a facility may choose.
    ignore_case
        Whether the database sees no difference between ``a`` and ``A``.
    store
        Takes the files in; ``None`` where they are registered where they are.
    signing
        Of the locations of datafiles that are registered.
    stubs
        Investigations that may be made.
    expects_new
        Create first, and look only where it is there already: one call less.
    """

    session: Session
    schema: Schema
    references: ReferenceCache
    memory: FaultMemory
    policies: PolicySettings
    ignore_case: bool
    store: FileStore | None = None
    signing: LocationSigner
    stubs: Mapping[InvestigationKey, Investigation] = field(default_factory=dict)
    expects_new: bool = False
    # Whether something of the dataset's name was there.
    met: bool = False
    written: list[str] = field(default_factory=list)
    # Datafiles that were seen to be whole in the data service.
    sound: set[str] = field(default_factory=set)
    notes: tuple[str, ...] = ()

    preparation: Prerequisites = field(init=False)

    def __post_init__(self) -> None:
        self.preparation = Prerequisites(self.session, self.references)

    def diff(self, dataset: Dataset) -> Diff:
        """Return the plan beside what is there; reads only."""
        self._check(dataset)
        resolved = self._resolve(dataset)
        self._checker().values(resolved.dataset, resolved.parameter_types)
        target, holding = self._target(resolved, everything=True)
        found = None if holding is None else self._compare(target, holding)
        if found is not None and found.differences:
            if not dataset_replacement.is_newer(dataset, found.holding.row):
                self._permit(target, found)
        elif found is None:
            self._require(dataset)
        sample = sample_parameters(self.session, resolved)
        if sample.differences and not self._permit_sample(dataset, sample):
            sample = replace(sample, differences=())
        return Diff(changes=(*changes(target, found), *sample.changes()))

    def apply(self, dataset: Dataset) -> AppliedDataset:
        """Bring the catalogue to the plan.

        Raises
        ------
        Failure
            It could not be done, or not yet.
        """
        self._check(dataset)
        doing = f"Dataset {dataset.key}"
        # Whether something of ours may be there although no answer said so.
        unknown: ResultUnknown | None = None
        exists: IcatFault | None = None
        # Sent without a look before; if that fails, all goes as if it had not been.
        blind = self._may_create_blindly(dataset)
        created = False
        for _ in range(_ROUNDS):
            resolved = self._resolve(dataset)
            self._checker().values(resolved.dataset, resolved.parameter_types)
            if resolved.prerequisites:
                self.preparation.prepare(resolved.prerequisites, self.written)
                continue
            try:
                if self._bring_sample(resolved):
                    continue
                if dataset.existing == "replace" and self._replace(resolved):
                    continue
                target, holding = resolved, None
                if not blind:
                    target, holding = self._target(resolved, everything=False)
                if holding is None:
                    self._require(dataset)
                    number = self._create(target)
                    if self.store is None and not self.signing.wanted(dataset):
                        return self._done(target, number)
                    blind, created = False, True
                    continue
                self.met = not created
                found = self._compare(target, holding)
                if not self._advance(target, found):
                    if unknown is not None:
                        self.written.append(f"{doing} (read back)")
                    return self._done(target, holding.id)
            except ResultUnknown as error:
                _log.info("%s: %s; reading back", doing, error.reason)
                blind, unknown = False, error
            except IcatFault as fault:
                # What is internal may pass, and the next try looks first.
                if blind and fault.kind != "INTERNAL":
                    blind = False
                    continue
                if fault.kind != "OBJECT_ALREADY_EXISTS":
                    raise self._refused(resolved.dataset, fault, doing) from fault
                exists = fault
        if unknown is not None:
            raise TransientFailure(
                f"{doing}: no answer to a write ({unknown.reason}), and it is not"
                " there (yet) when read back"
            ) from unknown
        if exists is not None:
            # It may have seen another's transaction, which was undone since.
            raise TransientFailure(
                f"{doing}: ICAT says {exists.message.strip()!r}, but nothing of"
                " exactly that name is found: does it differ in case or in blanks at"
                " its end, or may our account not read it?"
            ) from exists
        raise TransientFailure(
            f"{doing}: still not as planned after {_ROUNDS} rounds: others write it,"
            " too"
        )

    def _may_create_blindly(self, dataset: Dataset) -> bool:
        """Whether a dataset may be sent unseen: ICAT refuses one that is there."""
        return (
            self.expects_new
            and not dataset.partial
            and dataset.existing != "replace"
            and self._policy(dataset) != "new_name"
            and len(dataset.datafiles) <= _BLIND
        )

    def _check(self, dataset: Dataset) -> None:
        for stub in self.stubs.values():
            self._checker().investigation(stub)
        self._checker().dataset(dataset)
        if self.store is None:
            self.signing.check(dataset, self.schema.length("Datafile", "location"))

    def _checker(self) -> Checker:
        return Checker(self.schema, self.ignore_case)

    def _resolve(self, dataset: Dataset) -> Resolved:
        resolver = Resolver(
            self.references, self.session, self.policies, stubs=self.stubs
        )
        resolved = resolver.resolve(dataset)
        self.notes = resolved.notes
        return resolved

    def _target(
        self, resolved: Resolved, *, everything: bool
    ) -> tuple[Resolved, HeldDataset | None]:
        """Return what is there, and the plan under the name that applies to it."""
        planned = resolved.dataset
        names = [planned.name]
        if self._policy(planned) == "new_name":
            # The new name first: the old one's owner may have changed meanwhile.
            names.insert(0, new_name(planned))
        rows = held_datasets.datasets(self.session, resolved.investigation_id, names)
        there = []
        for name in names:
            if name in rows:
                target = replace(resolved, dataset=replace(planned, name=name))
                holding = self._hold(target, rows[name], everything=everything)
                there.append((target, holding, self._compare(target, holding)))
        if there:
            # The one that is as planned, then the one that can be completed.
            target, holding, found = min(
                there, key=lambda t: (bool(t[2].differences), t[2].work)
            )
            if found.differences and names[0] not in rows:
                target = replace(resolved, dataset=replace(planned, name=names[0]))
                return target, None
            return target, holding
        if rows:
            # Spelled differently, and the same to the database.
            row = next(iter(rows.values()))
            return resolved, self._hold(resolved, row, everything=everything)
        return resolved, None

    def _hold(
        self, target: Resolved, row: held_datasets.Row, *, everything: bool
    ) -> HeldDataset:
        files = target.dataset.datafiles
        return held_datasets.holding(
            self.session,
            row,
            only=None if everything else [f.name for f in files],
            with_parameters=any(f.parameters for f in files),
            key=None if self.store is not None else self.signing.key,
        )

    def _compare(self, target: Resolved, holding: HeldDataset) -> Comparison:
        return compare(target, holding, uploaded=self.store is not None)

    def _create(self, target: Resolved) -> int:
        planned = target.dataset
        files = 0 if self.store is not None else len(planned.datafiles)
        whole = self.store is None and not self.signing.wanted(planned)
        content = Writer(self.schema, target).dataset(
            planned.name,
            complete=planned.complete and whole,
            with_files=self.store is None,
        )
        count = 1 + files + len(planned.parameters)
        number = self.session.create("Dataset", content, count)
        self.written.append(
            f"Dataset {planned.key} created with {files} datafiles and"
            f" {len(planned.parameters)} parameters"
        )
        return number

    def _advance(self, target: Resolved, found: Comparison) -> bool:
        """Write what is missing; return whether there was anything to write.

        After a ``True`` the whole is looked at again, so that only what is found
        done counts as done.
        """
        if found.differences:
            self._resolve_differences(target, found)
            return True
        if self.store is not None and found.datafiles:
            self._upload(target, found)
            return True
        if self.store is not None and not found.holding.row.get("complete"):
            self._verify(target, found, self.store)
        if found.missing:
            self._complete(target, found)
            return True
        if found.unfilled:
            self._fill(found)
            return True
        if found.unsigned:
            self.written.append(self.signing.sign(found, str(target.dataset.key)))
            return True
        if found.removed:
            numbers = [number for _, number in found.removed]
            self.session.delete_many("DatasetParameter", numbers)
            self.written += [f"{label} removed" for label, _ in found.removed]
            return True
        if found.complete:
            self._rewrite("Dataset", found.holding.id, {"complete": True})
            self.written.append(f"Dataset {target.dataset.key} set complete")
            return True
        return False

    def _permit(self, target: Resolved, found: Comparison) -> None:
        """See that the policy lets differences be written over."""
        differing = found.differences
        listed = "; ".join(_described(d) for d in differing[:3])
        if len(differing) > 3:
            listed += f"; and {len(differing) - 3} more"
        reason = f"dataset {target.dataset.key} is there and differs: {listed}"
        renamed = any("name" in d.fields for d in differing)
        policy = self._policy(target.dataset)
        if policy != "update" or renamed:
            raise Rejection(f"{reason} (policies.existing_datasets: {policy})")
        if self.store is not None and any(
            d.entity == "Datafile" and not d.fields.keys().isdisjoint(_CONTENT)
            for d in differing
        ):
            raise Rejection(f"{reason}; the data service replaces no file")

    def _bring_sample(self, resolved: Resolved) -> bool:
        """Write parameters of the sample; return whether there were any to write."""
        sample = sample_parameters(self.session, resolved)
        written = False
        if sample.differences and self._permit_sample(resolved.dataset, sample):
            self._overwrite(sample.differences)
            written = True
        if sample.missing and resolved.sample_id is not None:
            writer = Writer(self.schema, resolved)
            to_sample = reference("sample", resolved.sample_id)
            pairs = [
                ("SampleParameter", writer.parameter(parameter) + to_sample)
                for parameter in sample.missing
            ]
            self.session.create_many("SampleParameter", pairs)
            self.written.append(f"Sample {sample.sample}: {len(pairs)} parameters")
            written = True
        return written

    def _permit_sample(self, dataset: Dataset, sample: SampleParameters) -> bool:
        """Return whether differing parameters of a sample are to be written over.

        Raises
        ------
        Rejection
            The policy does not allow them to differ.
        """
        policy = self._policy(dataset)
        if policy == "update":
            return True
        listed = "; ".join(_described(d) for d in sample.differences[:3])
        if len(sample.differences) > 3:
            listed += f"; and {len(sample.differences) - 3} more"
        reason = f"sample {shorten(sample.sample)} is there and differs: {listed}"
        if policy == "reject":
            raise Rejection(f"{reason} (policies.existing_datasets: reject)")
        # A dataset may have a new name, but its sample is the one that it names.
        self.notes = (*self.notes, f"{reason}: left as it is")
        return False

    def _policy(self, planned: Dataset) -> str:
        """Return what to do with differences; only a higher version replaces."""
        if planned.existing in (None, "replace"):
            return self.policies.existing_datasets
        return str(planned.existing)

    def _require(self, planned: Dataset) -> None:
        if planned.partial:
            # It was there when the plan was made: the next plan says what is wrong.
            raise TransientFailure(f"dataset {planned.key} went away meanwhile")

    def _replace(self, resolved: Resolved) -> bool:
        """Take one step of a replacement; return whether there was one to take."""
        replacement = dataset_replacement.Replacement(
            session=self.session,
            schema=self.schema,
            resolved=resolved,
            uploads=self.store is not None,
            rewrite=self._rewrite,
            signing=self.signing,
        )
        line = replacement.step()
        if line is not None:
            self.written.append(line)
        return line is not None

    def _resolve_differences(self, target: Resolved, found: Comparison) -> None:
        self._permit(target, found)
        self._reopen(target, found)
        self._overwrite(found.differences)

    def _reopen(self, target: Resolved, found: Comparison) -> None:
        """Have a dataset be visible as unfinished until all of it is written."""
        if target.dataset.complete and found.holding.row.get("complete"):
            self._rewrite("Dataset", found.holding.id, {"complete": False})

    def _fill(self, found: Comparison) -> None:
        for unfilled in found.unfilled:
            if self.store is not None and "fileSize" in unfilled.fields:
                raise Rejection(
                    f"{unfilled.what} is there without a size: it was not uploaded, and"
                    " the data service replaces no file"
                )
        self._overwrite(found.unfilled)

    def _overwrite(self, differences: Sequence[Difference]) -> None:
        for difference in differences:
            values = {name: f[2] for name, f in difference.fields.items()}
            if difference.entity == "Datafile" and "location" in values:
                values["location"] = self.signing.signed(
                    difference.id, values["location"]
                )
            self._rewrite(difference.entity, difference.id, values)
            self.written.append(f"{difference.what} updated")

    def _upload(self, target: Resolved, found: Comparison) -> None:
        store = self.store
        if store is None:
            return
        self._reopen(target, found)
        for datafile in found.datafiles:
            if datafile.format is None:
                raise Rejection(
                    f"Datafile {shorten(datafile.name)}: format: none, but the data"
                    " service takes no file without: state it in the metadata schema"
                )
            store.put(
                datafile,
                dataset_id=found.holding.id,
                format_id=target.format_ids[datafile.format],
            )
            self.sound.add(datafile.name)
            self.written.append(f"Datafile {datafile.name} uploaded")

    def _verify(self, target: Resolved, found: Comparison, store: FileStore) -> None:
        """See that files from an earlier, unfinished try are whole.

        In a dataset that is complete they were seen to be.
        """
        for datafile in target.dataset.datafiles:
            if datafile.name not in self.sound:
                store.verify(datafile, dataset_id=found.holding.id)
                self.sound.add(datafile.name)

    def _complete(self, target: Resolved, found: Comparison) -> None:
        pairs = list(_missing(Writer(self.schema, target), found))
        for start in range(0, len(pairs), _BATCH):
            self.session.create_many("Datafile", pairs[start : start + _BATCH])
        self.written.append(
            f"Dataset {target.dataset.key} completed with {len(pairs)} objects"
        )

    def _rewrite(self, entity: str, number: int, values: dict[str, object]) -> None:
        query = select(entity, f"o.id = {number}", then="INCLUDE 1")
        rows = entities(self.session.search(query, entity))
        if not rows:
            raise TransientFailure(f"{entity} {number} went away while it was changed")
        self.session.update(entity, rewritten(self.schema, entity, rows[0], values))

    def _refused(self, dataset: Dataset, fault: IcatFault, doing: str) -> Exception:
        # An id from the cache may be of something that was deleted.
        self.references.forget()
        failure = self.session.failure(fault, f"to write {doing}")
        # Other kinds have causes that others can take away, such as a session.
        if (
            fault.kind == "INTERNAL"
            and isinstance(failure, TransientFailure)
            and not passing(fault)
            and self.memory.is_permanent(
                f"{dataset.key}\0{digest(dataset)}", fingerprint(fault)
            )
        ):
            return Rejection(f"{failure.reason} (the same again, and to nothing else)")
        return failure

    def _done(self, target: Resolved, number: int) -> AppliedDataset:
        return AppliedDataset(
            investigation=target.dataset.investigation,
            name=target.dataset.name,
            investigation_id=target.investigation_id,
            id=number,
            kind=OutcomeKind.INGESTED if self.written else OutcomeKind.UNCHANGED,
        )


def _missing(writer: Writer, found: Comparison) -> Iterator[tuple[str, str]]:
    dataset = reference("dataset", found.holding.id)
    for name in found.instruments:
        yield "DatasetInstrument", writer.instrument(name) + dataset
    for name in found.techniques:
        yield "DatasetTechnique", writer.technique(name) + dataset
    for parameter in found.parameters:
        yield "DatasetParameter", writer.parameter(parameter) + dataset
    for datafile in found.datafiles:
        yield "Datafile", writer.datafile(datafile) + dataset
    for number, _, parameter in found.datafile_parameters:
        content = writer.parameter(parameter) + reference("datafile", number)
        yield "DatafileParameter", content


def _described(difference: Difference) -> str:
    fields = ", ".join(
        f"{name} {shorten(found)}, planned"
        f" {shorten(planned.isoformat() if isinstance(planned, datetime) else planned)}"
        for name, (found, planned, _) in difference.fields.items()
    )
    return f"{difference.what}: {fields}"
