"""A dataset in another one's place: readers see the old one or the new one, whole.

The new tree is made under a name of its own in one call, the old one is deleted, the
new one renamed.  What is found says which step is next, so that whoever comes after a
crash goes on where it was.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from icat_stream.icat import IcatFault, Schema, Session, related
from icat_stream.records import (
    Dataset,
    Rejection,
    TransientFailure,
    is_higher,
    replacing_name,
)
from icat_stream.telemetry import fault_point

from . import held_datasets
from .dataset_diff import compare
from .dataset_xml import Writer
from .location_signer import LocationSigner
from .resolver import Resolved


def is_newer(planned: Dataset, row: held_datasets.Row) -> bool:
    """Whether a planned dataset is to take the place of the one that is there."""
    if planned.existing != "replace" or planned.version is None:
        return False
    return is_higher(_planned_version(planned), _held_version(planned.version, row))


@dataclass(slots=True, kw_only=True)
class Replacement:
    """One dataset's way into another one's place.

    Parameters
    ----------
    session
        Of the lane.
    schema
        Of the server.
    resolved
        The plan; nothing that it refers to is missing.
    uploads
        Whether the data service makes the datafiles.
    rewrite
        Changes attributes of an object.
    signing
        Of the locations of datafiles.
    """

    session: Session
    schema: Schema
    resolved: Resolved
    uploads: bool
    rewrite: Callable[[str, int, dict[str, object]], None]
    signing: LocationSigner

    def step(self) -> str | None:
        """Take the next step.

        Returns
        -------
        :
            What was done; ``None`` if nothing is to be replaced (any more).

        Raises
        ------
        Failure
            What is there is newer, or files would have to be uploaded again.
        """
        planned = self.resolved.dataset
        beside = replacing_name(planned.name, _planned_version(planned))
        rows = held_datasets.datasets(
            self.session, self.resolved.investigation_id, [planned.name, beside]
        )
        old, new = rows.get(planned.name), rows.get(beside)
        if old is None:
            if new is None:
                return None
            self.rewrite("Dataset", int(new["id"]), {"name": planned.name})
            return f"Dataset {planned.key} renamed from {beside}"
        if is_newer(planned, old):
            return self._make_way(old, new, beside)
        if new is not None:
            # Of another lane that was faster, or left by one that was killed.
            return self._delete(new, f"Dataset {planned.investigation}/{beside}")
        version = str(planned.version)
        held = _held_version(version, old)
        if is_higher(held, _planned_version(planned)):
            raise TransientFailure(
                f"dataset {planned.key} is there with {version} {held}, which came"
                " meanwhile and is higher"
            )
        return None

    def _make_way(
        self,
        old: held_datasets.Row,
        new: held_datasets.Row | None,
        beside: str,
    ) -> str:
        planned = self.resolved.dataset
        if self.uploads:
            raise Rejection(
                f"dataset {planned.key} is there with a lower {planned.version}: it can"
                " only be replaced where files are registered (ids.mode: register),"
                " not where they are uploaded"
            )
        target = replace(self.resolved, dataset=replace(planned, name=beside))
        if new is None:
            content = Writer(self.schema, target).dataset(
                beside,
                complete=planned.complete and not self.signing.wanted(planned),
                with_files=True,
            )
            count = 1 + len(planned.datafiles) + len(planned.parameters)
            self.session.create("Dataset", content, count)
            fault_point("replacement-created")
            return (
                f"Dataset {planned.investigation}/{beside} created with"
                f" {len(planned.datafiles)} datafiles and {len(planned.parameters)}"
                " parameters"
            )
        there = held_datasets.holding(
            self.session,
            new,
            only=[f.name for f in planned.datafiles],
            with_parameters=any(f.parameters for f in planned.datafiles),
            key=self.signing.key,
        )
        found = compare(target, there, uploaded=False)
        if found.unsigned:
            return self.signing.sign(found, f"{planned.investigation}/{beside}")
        if found.work:
            # Files have changed since it was made.
            return self._delete(new, f"Dataset {planned.investigation}/{beside}")
        done = self._delete(old, f"Dataset {planned.key} (id {old['id']})")
        fault_point("replacement-deleted")
        return done

    def _delete(self, row: held_datasets.Row, what: str) -> str:
        try:
            self.session.delete_many("Dataset", [int(row["id"])])
        except IcatFault as fault:
            if fault.kind != "NO_SUCH_OBJECT_FOUND":
                raise
            return f"{what} was deleted by others"
        return f"{what} deleted"


def _planned_version(planned: Dataset) -> object:
    return next(
        (p.value for p in planned.parameters if p.name == planned.version), None
    )


def _held_version(name: str, row: held_datasets.Row) -> object:
    for parameter in row.get("parameters", ()):
        if related(parameter, "type", "ParameterType")["name"] == name:
            return parameter.get("stringValue") or parameter.get("numericValue")
    return None
