"""How many files and bytes there are, as the catalogue itself adds them up."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from icat_stream.icat import Session, id_lists
from icat_stream.records import DatasetSum, FileSum

_FILES = "LEFT JOIN d.datafiles f"


def files_of_datasets(session: Session, ids: Iterable[int]) -> dict[int, FileSum]:
    """Count the files of some datasets, beside what their own fields say, by id.

    In one statement: where triggers keep those fields, it never sees them differ.
    """
    found: dict[int, FileSum] = {}
    for listed in id_lists(ids):
        rows = session.search(
            "SELECT d.id, d.fileCount, d.fileSize, COUNT(f), SUM(f.fileSize)"  # noqa: S608
            f" FROM Dataset d {_FILES} WHERE d.id IN {listed}"
            " GROUP BY d.id, d.fileCount, d.fileSize",
            "Dataset",
        )
        found |= {row[0]: _file_sum(row[1:]) for row in rows}
    return found


def files_of_investigation(session: Session, visit: str) -> FileSum:
    """Count the files of an investigation, beside what its own fields say.

    Parameters
    ----------
    session
        To ask with.
    visit
        Condition on ``i``, the investigation.
    """
    return _sum(
        session,
        "SELECT i.fileCount, i.fileSize, COUNT(f), SUM(f.fileSize)"  # noqa: S608
        f" FROM Investigation i LEFT JOIN i.datasets d {_FILES} WHERE {visit}"
        " GROUP BY i.fileCount, i.fileSize",
        "Investigation",
    )


def dataset_sums(
    session: Session, visit: str, *, seconds: bool
) -> Sequence[DatasetSum]:
    """Count the datasets of an investigation by type and sample.

    Parameters
    ----------
    session
        To ask with.
    visit
        Condition on ``d.investigation``.
    seconds
        Whether their times are wanted.
    """
    of = "FROM Dataset d JOIN d.type t LEFT JOIN d.sample s"
    rows = session.search(
        "SELECT t.name, s.name, COUNT(DISTINCT d.id), COUNT(f), SUM(f.fileSize)"
        f" {of} {_FILES} WHERE {visit} GROUP BY t.name, s.name",
        "Dataset",
    )
    found = {
        (type_, sample): DatasetSum(
            type=type_, sample=sample, datasets=datasets, files=files, size=size or 0
        )
        for type_, sample, datasets, files, size in rows
    }
    last = 0
    while seconds:
        rows = session.search(
            f"SELECT d.id, t.name, s.name, d.startDate, d.endDate {of}"
            f" WHERE {visit} AND d.id > {last} AND d.startDate IS NOT NULL"
            f" AND d.endDate IS NOT NULL ORDER BY d.id LIMIT 0, {session.page}",
            "Dataset",
        )
        for _, type_, sample, start, end in rows:
            one = found.get((type_, sample))
            # One that came between the two questions is counted with its own event.
            if one is not None:
                took = datetime.fromisoformat(end) - datetime.fromisoformat(start)
                found[type_, sample] = replace(
                    one, seconds=one.seconds + took.total_seconds()
                )
        if len(rows) < session.page:
            break
        last = rows[-1][0]
    return list(found.values())


def _sum(session: Session, query: str, entity: str) -> FileSum:
    rows = session.search(query, entity)
    return _file_sum(rows[0]) if rows else FileSum()


def _file_sum(row: Sequence[Any]) -> FileSum:
    stated_count, stated_size, count, size = row
    return FileSum(
        count=count,
        size=size or 0,
        stated_count=stated_count or 0,
        stated_size=stated_size or 0,
    )
