"""The triggers that keep fileCount and fileSize, as a real ICAT's installation has.

They do what ICAT's own do on MySQL and Oracle, quirks included: to what a client states
of a new dataset they add, an update may overwrite what they keep, and modTime stays.
"""

from collections.abc import Iterator


def triggers() -> Iterator[str]:
    """Return the statements that make them."""
    yield _trigger(
        "NEW_FILE", "AFTER INSERT ON DATAFILE", *_file("NEW.dataset_id", "NEW", "+")
    )
    yield _trigger(
        "GONE_FILE", "AFTER DELETE ON DATAFILE", *_file("OLD.dataset_id", "OLD", "-")
    )
    yield _trigger(
        "CHANGED_FILE",
        "AFTER UPDATE OF fileSize, dataset_id ON DATAFILE",
        *_file("OLD.dataset_id", "OLD", "-"),
        *_file("NEW.dataset_id", "NEW", "+"),
    )
    gone = _added("INVESTIGATION", "OLD.investigation_id", "-", *_of_row("OLD"))
    moved = _added("INVESTIGATION", "NEW.investigation_id", "+", *_of_row("NEW"))
    yield _trigger("GONE_DATASET", "AFTER DELETE ON DATASET", gone)
    # Not for every change: a row that a client overwrites keeps its investigation.
    yield _trigger(
        "MOVED_DATASET",
        "AFTER UPDATE OF investigation_id ON DATASET"
        " WHEN NEW.investigation_id <> OLD.investigation_id",
        gone,
        moved,
    )


def _trigger(name: str, when: str, *statements: str) -> str:
    return f"CREATE TRIGGER {name} {when} BEGIN {' '.join(statements)} END"


def _file(dataset: str, row: str, sign: str) -> tuple[str, str]:
    size = f"IFNULL({row}.fileSize, 0)"
    investigation = f"(SELECT investigation_id FROM DATASET WHERE id={dataset})"  # noqa: S608
    return (
        _added("DATASET", dataset, sign, "1", size),
        _added("INVESTIGATION", investigation, sign, "1", size),
    )


def _of_row(row: str) -> tuple[str, str]:
    return f"IFNULL({row}.fileCount, 0)", f"IFNULL({row}.fileSize, 0)"


def _added(table: str, number: str, sign: str, count: str, size: str) -> str:
    return (
        f"UPDATE {table} SET"  # noqa: S608 - the names are those above
        f" fileCount = IFNULL(fileCount, 0) {sign} {count},"
        f" fileSize = IFNULL(fileSize, 0) {sign} {size}"
        f" WHERE id = {number};"
    )
