"""A planned dataset beside what the catalogue holds of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from icat_stream.icat import related, shorten
from icat_stream.records import Change, Datafile, Dataset, Parameter, parameter_label

from .dataset_xml import parameter_value
from .equality import same
from .held_datasets import HeldDataset, Row
from .resolver import Resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An object that is there and differs.

    Parameters
    ----------
    entity, id
        Of the object.
    what
        For people.
    fields
        By attribute: found, planned, and what to send.
    """

    entity: str
    id: int
    what: str
    fields: Mapping[str, tuple[Any, Any, Any]]


@dataclass(slots=True)
class Comparison:
    """What has to be done to bring a holding to its plan.

    Parameters
    ----------
    holding
        What is there.
    differences
        Objects that are there and differ: a matter of policy.
    unfilled
        Objects that are there with nulls where the plan has values: incomplete.
    parameters, instruments, techniques, datafiles
        What is planned and not there.
    datafile_parameters
        The same, with the id of the datafile that is there.
    unsigned
        Datafiles as planned but for the digest of their location.
    removed
        Parameters that have to go: their labels, and their ids.
    complete
        Whether ``complete`` has to be set.
    """

    holding: HeldDataset
    differences: list[Difference] = field(default_factory=list)
    unfilled: list[Difference] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    instruments: list[str] = field(default_factory=list)
    techniques: list[str] = field(default_factory=list)
    datafiles: list[Datafile] = field(default_factory=list)
    datafile_parameters: list[tuple[int, str, Parameter]] = field(default_factory=list)
    unsigned: list[Difference] = field(default_factory=list)
    removed: list[tuple[str, int]] = field(default_factory=list)
    complete: bool = False

    @property
    def missing(self) -> int:
        """How many planned objects are not there."""
        return (
            len(self.parameters)
            + len(self.instruments)
            + len(self.techniques)
            + len(self.datafiles)
            + len(self.datafile_parameters)
        )

    @property
    def work(self) -> bool:
        """Whether anything is left to be done."""
        left = self.differences or self.missing or self.unfilled or self.unsigned
        return bool(left or self.removed or self.complete)


def compare(resolved: Resolved, holding: HeldDataset, *, uploaded: bool) -> Comparison:
    """Return what has to be done.

    Parameters
    ----------
    resolved
        The plan.
    holding
        What is there.
    uploaded
        Whether the data service made the datafiles: it decides on the location, and
        on the kind of checksum.
    """
    planned = resolved.dataset
    found = Comparison(holding)
    _dataset(found, resolved)
    # What is complete stays so; only the other way is work to do.
    found.complete = planned.complete and not holding.row.get("complete", False)
    for parameter in planned.parameters:
        there = holding.parameters.get((parameter.name, parameter.units))
        if there is None:
            found.parameters.append(parameter)
        else:
            _parameter(found, "Dataset", parameter, there)
    found.removed = [
        (f"DatasetParameter {parameter_label(*key)}", int(held["id"]))
        for key in planned.removed
        if (held := holding.parameters.get(key)) is not None
    ]
    found.instruments = [n for n in planned.instruments if n not in holding.instruments]
    found.techniques = [
        t.name for t in planned.techniques if t.name not in holding.techniques
    ]
    for datafile in planned.datafiles:
        row = holding.datafiles.get(datafile.name)
        if row is None:
            found.datafiles.append(datafile)
        else:
            _datafile(found, resolved, datafile, row, uploaded=uploaded)
    return found


def changes(resolved: Resolved, found: Comparison | None) -> Iterator[Change]:
    """Yield a comparison as lines for people; without a holding all is new."""
    planned = resolved.dataset
    for wanted in resolved.prerequisites:
        yield Change(what=f"{wanted.entity} {wanted.name}", kind="new")
    differing: dict[str, list[Difference]] = {}
    new: set[str] | None = None
    if found is not None:
        for difference in (*found.differences, *found.unfilled, *found.unsigned):
            differing.setdefault(difference.what, []).append(difference)
        new = {_of("Datafile", f.name) for f in found.datafiles}
        new |= {
            f"{_of_parameter('Datafile', p)} of {f.name}"
            for f in found.datafiles
            for p in f.parameters
        }
        new |= {_of_parameter("Dataset", p) for p in found.parameters}
        new |= {_of("DatasetInstrument", n) for n in found.instruments}
        new |= {_of("DatasetTechnique", n) for n in found.techniques}
        new |= {
            f"{_of_parameter('Datafile', p)} of {name}"
            for _, name, p in found.datafile_parameters
        }
    for what in _planned(planned):
        if new is None or what in new:
            yield Change(what=what, kind="new")
        elif what in differing:
            for difference in differing[what]:
                for name, (there, wanted_value, _) in difference.fields.items():
                    yield Change(
                        what=what,
                        kind="changed",
                        field=name,
                        found=shown(there),
                        planned=shown(wanted_value),
                    )
        elif found is not None and found.complete and what == _of_dataset(planned):
            yield Change(
                what=what,
                kind="changed",
                field="complete",
                found="false",
                planned="true",
            )
        else:
            yield Change(what=what, kind="unchanged")
    if found is not None:
        for label, _ in found.removed:
            yield Change(
                what=label, kind="changed", field="-", found="there", planned="removed"
            )
        yield from _extra(planned, found.holding)


def _dataset(found: Comparison, resolved: Resolved) -> None:
    planned, row = resolved.dataset, found.holding.row
    fields = _attributes(
        row,
        {
            "description": planned.description,
            "location": planned.location,
            "startDate": planned.start,
            "endDate": planned.end,
            "fileSize": planned.file_size,
            "fileCount": planned.file_count,
        },
    )
    held_type = related(row, "type", "DatasetType")["name"]
    if held_type != planned.type:
        fields["type"] = (held_type, planned.type, resolved.type_id)
    if planned.sample is not None:
        held = row.get("sample") or {}
        there = held.get("name")
        # The same sample may be spelled in other letters, by policy.
        if there != planned.sample.name and (
            resolved.sample_id is None or held.get("id") != resolved.sample_id
        ):
            fields["sample"] = (there, planned.sample.name, resolved.sample_id)
    if found.holding.name != planned.name:
        fields["name"] = (found.holding.name, planned.name, planned.name)
    _differ(found, "Dataset", found.holding.id, _of_dataset(planned), fields)


def _datafile(
    found: Comparison,
    resolved: Resolved,
    planned: Datafile,
    row: Row,
    *,
    uploaded: bool,
) -> None:
    checksum = planned.checksum
    if uploaded and not _contradicts(checksum, row.get("checksum")):
        checksum = None
    fields = _attributes(
        row,
        {
            "fileSize": planned.size,
            "datafileCreateTime": planned.create_time,
            "datafileModTime": planned.mod_time,
            "description": planned.description,
            "location": None if uploaded else planned.location,
            "checksum": checksum,
        },
    )
    if planned.format is not None:
        there = row.get("datafileFormat") or {}
        number = resolved.format_ids[planned.format]
        if there.get("id") != number:
            shown = " ".join(str(there[k]) for k in ("name", "version") if k in there)
            fields["datafileFormat"] = (
                shown or None,
                f"{planned.format.name} {planned.format.version}",
                number,
            )
    what = _of("Datafile", planned.name)
    _differ(found, "Datafile", row["id"], what, fields)
    if not uploaded and planned.location is not None and row.get("signed") is False:
        _unsigned(found, row, planned.location, what)
    if planned.parameters:
        there = found.holding.datafile_parameters.get(row["id"], {})
        for parameter in planned.parameters:
            held = there.get((parameter.name, parameter.units))
            if held is None:
                entry = (row["id"], planned.name, parameter)
                found.datafile_parameters.append(entry)
            else:
                _parameter(found, "Datafile", parameter, held, of=planned.name)


def _unsigned(found: Comparison, row: Row, location: str, what: str) -> None:
    if row["location"] == location:
        shown = f"{location}, with its digest"
        fields = {"location": (location, shown, location)}
        found.unsigned.append(
            Difference(entity="Datafile", id=row["id"], what=what, fields=fields)
        )


def _parameter(
    found: Comparison, owner: str, planned: Parameter, row: Row, of: str = ""
) -> None:
    fields = parameter_fields(planned, row)
    what = _of_parameter(owner, planned) + (f" of {of}" if of else "")
    _differ(found, f"{owner}Parameter", row["id"], what, fields)


def parameter_fields(planned: Parameter, row: Row) -> dict[str, tuple[Any, Any, Any]]:
    """Return the fields of a parameter that differ: found, planned, what to send."""
    name, value = parameter_value(planned)
    return _attributes(
        row,
        {
            name: value,
            "error": planned.error,
            "rangeBottom": planned.range_bottom,
            "rangeTop": planned.range_top,
        },
    )


def _contradicts(planned: str | None, held: str | None) -> bool:
    """Whether two checksums are of one kind, and differ; the data service has its own.

    It catalogues CRC32 in hexadecimal, without a prefix and without leading zeros.
    """
    if planned is None or held is None:
        return False
    kind, _, digits = planned.rpartition(":")
    held_kind, _, held_digits = held.rpartition(":")
    return (kind or "crc32") == (held_kind or "crc32") and (
        digits.lower().lstrip("0") != held_digits.lower().lstrip("0")
    )


def _attributes(
    row: Row, planned: Mapping[str, Any]
) -> dict[str, tuple[Any, Any, Any]]:
    return {
        name: (row.get(name), value, value)
        for name, value in planned.items()
        if value is not None and not same(value, row.get(name))
    }


def _differ(
    found: Comparison,
    entity: str,
    number: int,
    what: str,
    fields: Mapping[str, tuple[Any, Any, Any]],
) -> None:
    nulls = {name: values for name, values in fields.items() if values[0] is None}
    others = {name: values for name, values in fields.items() if name not in nulls}
    for group, kept in ((found.differences, others), (found.unfilled, nulls)):
        if kept:
            group.append(Difference(entity=entity, id=number, what=what, fields=kept))


def _planned(planned: Dataset) -> Iterator[str]:
    yield _of_dataset(planned)
    for name in planned.instruments:
        yield _of("DatasetInstrument", name)
    for technique in planned.techniques:
        yield _of("DatasetTechnique", technique.name)
    for parameter in planned.parameters:
        yield _of_parameter("Dataset", parameter)
    for datafile in planned.datafiles:
        yield _of("Datafile", datafile.name)
        for parameter in datafile.parameters:
            yield f"{_of_parameter('Datafile', parameter)} of {datafile.name}"


def _extra(planned: Dataset, holding: HeldDataset) -> Iterator[Change]:
    names = {f.name for f in planned.datafiles}
    keys = {(p.name, p.units) for p in planned.parameters} | set(planned.removed)
    techniques = {t.name for t in planned.techniques}
    there = [_of("Datafile", name) for name in holding.datafiles if name not in names]
    there += [
        f"DatasetParameter {parameter_label(name, units)}"
        for name, units in holding.parameters
        if (name, units) not in keys
    ]
    there += [
        _of("DatasetInstrument", name)
        for name in sorted(holding.instruments.difference(planned.instruments))
    ]
    there += [
        _of("DatasetTechnique", name)
        for name in sorted(holding.techniques - techniques)
    ]
    for what in there:
        yield Change(what=what, kind="extra")


def _of(entity: str, name: str) -> str:
    return f"{entity} {name}"


def _of_dataset(planned: Dataset) -> str:
    return _of("Dataset", planned.key)


def _of_parameter(owner: str, parameter: Parameter) -> str:
    return f"{owner}Parameter {parameter.label}"


def shown(value: Any) -> str | None:
    """Return a value as a difference shows it."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    text = str(value)
    return text if len(text) <= 200 else shorten(text, 200)
