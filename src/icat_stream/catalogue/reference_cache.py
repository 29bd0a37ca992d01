"""Reference data, cached: facility, types, formats, instruments, techniques."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from icat_stream.icat import Schema, Session, entities, in_lists, quote, select
from icat_stream.records import ParameterTypeEntry, Rejection, ValueType

Row = Mapping[str, Any]

# Investigations and samples come and go; reference data hardly.
SHORT = 10.0
_MOST = 20_000
_APPLICABLE = "applicableTo"
_SPELLING = "spelling of an Investigation"
# Whose names people write in whatever letters.  Those of parameter types and formats
# stand in schemas and configurations, and mean what is written there.
_IN_ANY_LETTERS = frozenset(
    {
        *("DatasetType", "FacilityCycle", "Grouping", "Instrument"),
        *("InvestigationType", "SampleType", "Technique", "User"),
    }
)


@dataclass(frozen=True, slots=True)
class ParameterType:
    """A parameter type with what is needed to check and send a value of it.

    Parameters
    ----------
    entry
        As handlers see it.
    row
        As the catalogue returned it.
    """

    entry: ParameterTypeEntry
    row: Row


class ReferenceCache:
    """What was looked up, shared by all lanes of a process.

    Only what is there is kept: what is missing may come at any time.

    Parameters
    ----------
    schema
        Of the server.
    facility_id
        Of the facility.
    lifetime
        Seconds for which reference data is believed.
    ignore_case
        Whether what is not there as it is spelled is looked for in other letters.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        schema: Schema,
        facility_id: int,
        lifetime: float,
        *,
        ignore_case: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schema = schema
        self.facility_id = facility_id
        self._lifetime = lifetime
        self.ignore_case = ignore_case
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[float, tuple[Row, ...]]] = {}

    def named(
        self, session: Session, entity: str, names: Collection[str]
    ) -> dict[str, tuple[Row, ...]]:
        """Return the facility's entities of some names; what is missing is left out.

        Parameters
        ----------
        session
            To ask with, once for all names that are not known yet.
        entity
            ``ParameterType``, ``DatafileFormat``, ``DatasetType``, ``Instrument``,
            ``SampleType`` or ``Technique``.
        names
            Exactly so spelled, even where the database sees no difference; else,
            where case is ignored, in whatever letters.

        Raises
        ------
        Rejection
            There are several that differ in letters only, and none is spelled so.
        """
        found = {name: rows for name in names if (rows := self._get(entity, name))}
        missing = [name for name in names if name not in found]
        loaded: dict[str, list[Row]] = {}
        for listed in in_lists(missing):
            for row in entities(session.search(self._query(entity, listed), entity)):
                loaded.setdefault(row["name"], []).append(row)
        if self.ignore_case and entity in _IN_ANY_LETTERS:
            absent = [name for name in missing if name not in loaded]
            loaded |= self._in_other_letters(session, entity, absent)
        for name in missing:
            if name in loaded:
                found[name] = tuple(loaded[name])
                self._put(entity, name, found[name], self._lifetime)
        return found

    def _in_other_letters(
        self, session: Session, entity: str, names: Collection[str]
    ) -> dict[str, list[Row]]:
        by_letters: dict[str, list[Row]] = {}
        for listed in in_lists(name.lower() for name in names):
            query = self._query(entity, listed, "LOWER(o.name)")
            for row in entities(session.search(query, entity)):
                by_letters.setdefault(row["name"].lower(), []).append(row)
        return {
            name: one_spelling(entity, name, rows)
            for name in names
            if (rows := by_letters.get(name.lower()))
        }

    def parameter_types(
        self, session: Session, names: Collection[str]
    ) -> dict[tuple[str, str], ParameterType]:
        """Return parameter types by name and units."""
        rows = self.named(session, "ParameterType", names)
        return {
            (row["name"], row["units"]): ParameterType(_entry(row), row)
            for same_name in rows.values()
            for row in same_name
        }

    def investigations(
        self, session: Session, name: str, *, fresh: bool = False
    ) -> tuple[Row, ...]:
        """Return all visits of an investigation, with their instruments.

        Parameters
        ----------
        session
            To ask with.
        name
            Of the investigation.
        fresh
            Ask, whatever is known.
        """
        rows = None if fresh else self.recent_investigations(name)
        if not rows:
            found = self._ask_visits(session, f"o.name = {quote(name)}")
            rows = tuple(row for row in found if row["name"] == name)
            if not rows and self.ignore_case:
                rows = self._visits_in_other_letters(session, name, found)
            self._put("Investigation", name, rows, SHORT)
        return rows

    def _visits_in_other_letters(
        self, session: Session, name: str, found: list[Row]
    ) -> tuple[Row, ...]:
        """Return those of one other spelling.

        Parameters
        ----------
        session
            To ask with.
        name
            That nothing has, exactly so.
        found
            What the database takes for equal to it, all the same: then all there is.
        """
        # No index helps with LOWER, so how it is spelled is remembered for longer
        # than which visits there are.
        if not found and (known := self._get(_SPELLING, name.lower())):
            found = self._ask_visits(session, f"o.name = {quote(known[0]['name'])}")
        rows = found or self._ask_visits(
            session, f"LOWER(o.name) = {quote(name.lower())}"
        )
        alike = [row for row in rows if row["name"].lower() == name.lower()]
        visits = tuple(one_spelling("Investigation", name, alike))
        self._put(_SPELLING, name.lower(), visits[:1], self._lifetime)
        return visits

    def _ask_visits(self, session: Session, condition: str) -> list[Row]:
        query = select(
            "Investigation",
            f"o.facility.id = {self.facility_id}",
            condition,
            then="INCLUDE o.investigationInstruments.instrument",
        )
        return list(entities(session.search(query, "Investigation")))

    def recent_investigations(self, name: str) -> tuple[Row, ...]:
        """Return the visits that were found seconds ago; empty if none was."""
        return self._get("Investigation", name) or ()

    def sample(self, session: Session, investigation: int, name: str) -> int | None:
        """Return the id of an investigation's sample."""
        key = f"{investigation}/{name}"
        rows = self._get("Sample", key)
        if rows is None:
            query = select(
                "Sample",
                f"o.investigation.id = {investigation}",
                f"o.name = {quote(name)}",
            )
            rows = tuple(
                row
                for row in entities(session.search(query, "Sample"))
                if row["name"] == name
            )
            if not rows and self.ignore_case:
                query = select(
                    "Sample",
                    f"o.investigation.id = {investigation}",
                    f"LOWER(o.name) = {quote(name.lower())}",
                )
                found = entities(session.search(query, "Sample"))
                rows = tuple(one_spelling("Sample", name, found))
            self._put("Sample", key, rows, SHORT)
        return rows[0]["id"] if rows else None

    def forget(self, *entity: str) -> None:
        """Believe nothing any more, or nothing of some entities."""
        with self._lock:
            for key in [k for k in self._kept if not entity or k[0] in entity]:
                del self._kept[key]

    def _query(self, entity: str, listed: str, name: str = "o.name") -> str:
        where = [f"{name} IN {listed}"]
        if self._schema.has(entity, "facility"):
            where.insert(0, f"o.facility.id = {self.facility_id}")
        then = "INCLUDE o.permissibleStringValues" if entity == "ParameterType" else ""
        return select(entity, *where, then=then)

    def _get(self, entity: str, name: str) -> tuple[Row, ...] | None:
        with self._lock:
            until, rows = self._kept.get((entity, name), (0.0, ()))
        return rows if until > self._clock() else None

    def _put(
        self, entity: str, name: str, rows: tuple[Row, ...], lifetime: float
    ) -> None:
        if not rows:
            return
        with self._lock:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[entity, name] = (self._clock() + lifetime, rows)


def one_spelling(entity: str, name: str, rows: Iterable[Row]) -> list[Row]:
    """Return rows whose names differ from the one asked for in letters only.

    Raises
    ------
    Rejection
        They are not all spelled alike.
    """
    found = list(rows)
    spellings = sorted({row["name"] for row in found})
    if len(spellings) > 1:
        raise Rejection(
            f"{entity} {name!r}: the catalogue has {', '.join(spellings)}, which differ"
            " in letters only: state which one is meant (policies.names: ignore_case)"
        )
    return found


def _entry(row: Row) -> ParameterTypeEntry:
    applicable: Iterable[str] = (
        key.removeprefix(_APPLICABLE)
        for key, value in row.items()
        if key.startswith(_APPLICABLE) and value is True
    )
    return ParameterTypeEntry(
        name=row["name"],
        units=row["units"],
        value_type=ValueType(row["valueType"]),
        applicable_to=frozenset(applicable),
        enforced=bool(row.get("enforced", False)),
        minimum=row.get("minimumNumericValue"),
        maximum=row.get("maximumNumericValue"),
        permissible=tuple(
            value["value"] for value in row.get("permissibleStringValues", ())
        ),
    )
