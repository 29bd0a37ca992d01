"""Parameters of a dataset's sample beside what the catalogue holds."""

from collections.abc import Iterator
from dataclasses import dataclass

from icat_stream.icat import Session, entities, select
from icat_stream.records import Change, Parameter

from .dataset_diff import Difference, parameter_fields, shown
from .held_datasets import type_key
from .resolver import Resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleParameters:
    """What there is to do about the parameters of a sample.

    Parameters
    ----------
    sample
        Its name.
    missing
        Those that are not there.
    differences
        Those that are there and differ.
    same
        Those that are as planned.
    """

    sample: str = ""
    missing: tuple[Parameter, ...] = ()
    differences: tuple[Difference, ...] = ()
    same: tuple[Parameter, ...] = ()

    def changes(self) -> Iterator[Change]:
        """Yield them as lines for people."""
        for parameter in self.missing:
            yield Change(what=_what(parameter, self.sample), kind="new")
        for difference in self.differences:
            for name, (found, planned, _) in difference.fields.items():
                yield Change(
                    what=difference.what,
                    kind="changed",
                    field=name,
                    found=shown(found),
                    planned=shown(planned),
                )
        for parameter in self.same:
            yield Change(what=_what(parameter, self.sample), kind="unchanged")


def sample_parameters(session: Session, resolved: Resolved) -> SampleParameters:
    """Return what there is to do about the parameters of a dataset's sample.

    Parameters
    ----------
    session
        To ask with, if there are any.
    resolved
        The dataset.
    """
    sample = resolved.dataset.sample
    if sample is None or not sample.parameters:
        return SampleParameters()
    if resolved.sample_id is None:
        return SampleParameters(sample=sample.name, missing=sample.parameters)
    query = select(
        "SampleParameter", f"o.sample.id = {resolved.sample_id}", then="INCLUDE o.type"
    )
    held = {
        type_key(row): row for row in entities(session.search(query, "SampleParameter"))
    }
    missing, differences, same = [], [], []
    for parameter in sample.parameters:
        row = held.get((parameter.name, parameter.units))
        if row is None:
            missing.append(parameter)
        elif fields := parameter_fields(parameter, row):
            differences.append(
                Difference(
                    entity="SampleParameter",
                    id=int(row["id"]),
                    what=_what(parameter, sample.name),
                    fields=fields,
                )
            )
        else:
            same.append(parameter)
    return SampleParameters(
        sample=sample.name,
        missing=tuple(missing),
        differences=tuple(differences),
        same=tuple(same),
    )


def _what(parameter: Parameter, sample: str) -> str:
    return f"SampleParameter {parameter.label} of {sample}"
