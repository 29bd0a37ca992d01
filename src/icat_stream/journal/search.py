"""Finding rows of the journal, as people ask for them."""

import heapq
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from icat_stream.records import Coordinates, JournalRow, OutcomeKind, RowKey

from .reason_kinds import reason_kind
from .tables import SEVERAL, outcomes

# Rows of one transaction: memory stays flat however many there are, and a database
# cleans up behind a reader that takes hours.
_PAGE = 2_000
_SMALLEST_PAGE = 100
_DAY_MS = 86_400_000
# No text goes on with it.
_LAST = "\U0010ffff"
_LIKE = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_", "*": "%"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What rows are wanted; what is left out does not matter.

    Parameters
    ----------
    since, until
        Of the record's time at its origin, milliseconds; the end is not included.
    groups, topics, outcomes
        Any of these.  A topic is that of the origin.
    message
        Where the message was first published, or any of its retries stood.
    investigation
        Its name, or name and visit as ``name/visit``.  As all names, it may have
        ``*`` for anything.
    dataset, file, key, error_class, message_type
        As the row has them.
    sha256, trace_id
        As the row has them, or their beginning.
    text
        Stands somewhere in the reason.
    last
        Only the last row of each message: what became of it in the end.
    """

    since: int | None = None
    until: int | None = None
    groups: Sequence[str] = ()
    topics: Sequence[str] = ()
    outcomes: Sequence[str] = ()
    message: Coordinates | None = None
    investigation: str | None = None
    dataset: str | None = None
    file: str | None = None
    key: str | None = None
    error_class: str | None = None
    message_type: str | None = None
    sha256: str | None = None
    trace_id: str | None = None
    text: str | None = None
    last: bool = False


class EntryPlace(NamedTuple):
    """Where a row stands in the order of all.

    What comes back within one millisecond is told apart by when it was written.
    """

    time: int
    written_at: int
    topic: str
    partition: int
    offset: int
    group: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A row as it stands in the journal.

    Parameters
    ----------
    row
        What it says.
    state
        ``committed``; ``pending``: left open by a crash of an earlier version.
    """

    row: JournalRow
    state: str

    @property
    def written_at(self) -> int:
        """When it was told, milliseconds."""
        return self.row.written_at

    @property
    def at(self) -> Coordinates:
        """Where the record stands."""
        return Coordinates(self.row.at.topic, self.row.at.partition, self.row.at.offset)

    @property
    def place(self) -> EntryPlace:
        """Where the row stands in the order of all."""
        at = self.row.at
        return EntryPlace(
            at.time, self.written_at, at.topic, at.partition, at.offset, at.group
        )

    @property
    def origin(self) -> Coordinates:
        """Where the message was first published."""
        row = self.row
        return Coordinates(row.origin_topic, row.origin_partition, row.origin_offset)


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that the journal has kept, without its secrets."""

    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...]


class By(StrEnum):
    """What rows can be counted by."""

    GROUP = "group"
    TOPIC = "topic"
    OUTCOME = "outcome"
    ERROR_CLASS = "error_class"
    MESSAGE_TYPE = "message_type"
    VERSION = "version"
    DAY = "day"
    REASON = "reason"


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows have something in common.

    Parameters
    ----------
    common
        What they have in common, in the order that was asked for.
    rows, size
        How many they are, and the bytes of their values.
    first, last
        Of their times, milliseconds.
    """

    common: tuple[str | int | None, ...]
    rows: int
    size: int
    first: int
    last: int


class Entries:
    """The rows that are there; reading them keeps nobody from writing.

    Its methods raise as those of :class:`~icat_stream.journal.Journal`, of which it
    is a part.

    Parameters
    ----------
    read
        Begins a transaction that only reads.
    """

    def __init__(self, read: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._read = read

    def find(
        self,
        search: Search,
        *,
        limit: int | None = None,
        newest_first: bool = False,
        after: EntryPlace | None = None,
    ) -> Iterator[Entry]:
        """Find rows, in the order of their records' times, a short transaction a page.

        Parameters
        ----------
        search
            Which.
        limit
            At most so many.
        newest_first
            Turn the order around.
        after
            Begin with what follows this place.

        Returns
        -------
        :
            One after the other.  A row that is written meanwhile is among them if
            its place in the order is yet to come.
        """
        searches = self._searches(search)
        size = max(_SMALLEST_PAGE, _PAGE // len(searches))
        found = heapq.merge(
            *(self._find(one, limit, newest_first, after, size) for one in searches),
            key=lambda entry: entry.place,
            reverse=newest_first,
        )
        return islice(found, limit)

    def _searches(self, search: Search) -> list[Search]:
        """Return searches of which each is one range of an index, in order."""
        named = (search.message, search.investigation, search.dataset, search.file)
        if any((*named, search.sha256)) or not (search.groups or search.outcomes):
            return [search]
        groups = search.groups
        if not groups:
            with self._read() as connection:
                groups = _groups(connection)
        kinds = search.outcomes or list(OutcomeKind)
        return [
            replace(search, groups=[group], outcomes=[kind])
            for group in groups
            for kind in kinds
        ]

    def _find(
        self,
        search: Search,
        limit: int | None,
        newest_first: bool,
        after: EntryPlace | None,
        most: int,
    ) -> Iterator[Entry]:
        columns = [outcomes.c[name] for name in EntryPlace._fields]
        key = tuple_(*columns)
        order: list[ColumnElement[Any]] = [*columns]
        if newest_first:
            order = [column.desc() for column in order]
        last: Any = after
        left = limit
        while left is None or left > 0:
            size = most if left is None else min(left, most)
            with self._read() as connection:
                query = _that(search, select(*_SHOWN), connection).limit(size)
                query = query.order_by(*order)
                if last is not None:
                    # The time alone as well: it leaves out whole months.
                    end = tuple_(*(getattr(last, name) for name in EntryPlace._fields))
                    time = outcomes.c.time
                    query = query.where(
                        *(key < end, time <= last.time)
                        if newest_first
                        else (key > end, time >= last.time)
                    )
                found = connection.execute(query).all()
            yield from map(_entry, found)
            if len(found) < size:
                return
            last = found[-1]
            left = None if left is None else left - size

    def way(self, message: Coordinates, group: str | None = None) -> list[Entry]:
        """Return all rows of one message, from its origin to its end.

        Parameters
        ----------
        message
            Where it was first published, or any of its retries stood.
        group
            For one group only.
        """
        found = list(
            self.find(Search(message=message, groups=() if group is None else (group,)))
        )
        origins = {entry.origin for entry in found} - {message}
        for origin in origins:
            # A retry was named: its message has more rows.
            groups = {entry.row.at.group for entry in found if entry.origin == origin}
            found += self.find(Search(message=origin, groups=sorted(groups)))
        unique = {entry.row.at: entry for entry in found}
        return sorted(
            unique.values(), key=lambda e: (e.row.at.group, e.row.at.time, e.written_at)
        )

    def kept(self, entry: Entry) -> Kept | None:
        """Return a message as it was first published; ``None`` if it was not kept.

        Parameters
        ----------
        entry
            Any of its rows.
        """
        c, row = outcomes.c, entry.row
        query = select(c.payload, c.record_key, c.headers).where(
            c.group == row.at.group,
            c.topic == row.origin_topic,
            c.partition == row.origin_partition,
            c.offset == row.origin_offset,
            c.time == row.origin_time,
        )
        with self._read() as connection:
            found = connection.execute(query).one_or_none()
        if found is None or found.payload is None:
            return None
        return Kept(
            key=found.record_key,
            value=zlib.decompress(found.payload),
            headers=tuple(
                (name, None if value is None else value.encode("latin-1"))
                for name, value in found.headers or ()
            ),
        )

    def are_many(self, search: Search, limit: int) -> bool:
        """Whether more rows than some have names that a search looks for.

        Parameters
        ----------
        search
            All but its names is left aside.
        limit
            So many are few.
        """
        names = Search(
            investigation=search.investigation, dataset=search.dataset, file=search.file
        )
        with self._read() as connection:
            found = _that(names, select(literal_column("1")), connection)
            found = found.limit(limit + 1)
            count = connection.scalar(
                select(func.count()).select_from(found.subquery())
            )
        return bool(count and count > limit)

    def count(self, search: Search, by: Sequence[By] = ()) -> list[Count]:
        """Count rows, the most frequent first.

        Parameters
        ----------
        search
            Which.
        by
            Those that have these in common are counted together.
        """
        columns = [_common(each) for each in by]
        size, time = outcomes.c.size, outcomes.c.time
        what = select(
            *columns, func.count(), func.sum(size), func.min(time), func.max(time)
        )
        with self._read() as connection:
            query = _that(search, what, connection)
            if columns:
                places: list[Any] = [
                    literal_column(str(n + 1)) for n in range(len(columns))
                ]
                query = query.group_by(*places)
            found = connection.execute(query.order_by(func.count().desc())).all()
        counts = [
            Count(tuple(row[:-4]), row[-4], int(row[-3]), row[-2], row[-1])
            for row in found
            if row[-4]
        ]
        if By.REASON in by:
            return _by_kind(counts, list(by).index(By.REASON))
        return counts


def _by_kind(counts: list[Count], place: int) -> list[Count]:
    """Add up counts whose reasons differ only in what is one record's."""
    added: dict[tuple[str | int | None, ...], Count] = {}
    for each in counts:
        common = list(each.common)
        common[place] = reason_kind(str(common[place] or ""))
        key = tuple(common)
        one = added.get(key)
        added[key] = Count(
            key,
            each.rows + (one.rows if one else 0),
            each.size + (one.size if one else 0),
            min(each.first, one.first) if one else each.first,
            max(each.last, one.last) if one else each.last,
        )
    return sorted(added.values(), key=lambda each: -each.rows)


def _common(by: By) -> ColumnElement[Any]:
    if by is By.TOPIC:
        return outcomes.c.origin_topic.label("topic")
    if by is By.REASON:
        return outcomes.c.text.label("reason")
    if by is By.DAY:
        # Written out: a bound value would not be the same expression in GROUP BY.
        day: ColumnElement[int] = literal_column(f"outcomes.time / {_DAY_MS}")
        return day.label("day")
    return outcomes.c[by.value]


def _that(search: Search, query: Select[Any], connection: Connection) -> Select[Any]:
    found: list[ColumnElement[bool]] = []
    if search.since is not None:
        found.append(outcomes.c.time >= search.since)
    if search.until is not None:
        found.append(outcomes.c.origin_time < search.until)
    if search.since is not None:
        found.append(outcomes.c.origin_time >= search.since)
    if search.message is not None:
        found.append(_of(search.message, search.groups or _groups(connection)))
    elif search.groups:
        found.append(outcomes.c.group.in_(search.groups))
    if search.topics:
        found.append(outcomes.c.origin_topic.in_(search.topics))
    if search.outcomes:
        found.append(outcomes.c.outcome.in_(search.outcomes))
    if search.investigation is not None:
        found.append(_investigation(search.investigation))
    for name in ("dataset", "file"):
        value = getattr(search, name)
        if value is not None:
            found.append(_named(name, value))
    for name in ("key", "error_class", "message_type"):
        value = getattr(search, name)
        if value is not None:
            found.append(_like(outcomes.c[name], value))
    for name in ("sha256", "trace_id"):
        value = getattr(search, name)
        if value is not None:
            found.append(outcomes.c[name].between(value, value + "g"))
    if search.text is not None:
        found.append(outcomes.c.text.contains(search.text, autoescape=True))
    if search.last:
        found.append(~_has_later())
    return query.where(*found)


def _of(message: Coordinates, groups: Sequence[str]) -> ColumnElement[bool]:
    c = outcomes.c
    # The group in each of both: before them it would be an index that is chosen.
    return or_(
        and_(
            # The primary key begins with it.
            c.group.in_(groups),
            c.topic == message.topic,
            c.partition == message.partition,
            c.offset == message.offset,
        ),
        and_(
            c.group.in_(groups),
            # As the partial index has it.
            c.origin_topic != c.topic,
            c.origin_topic == message.topic,
            c.origin_partition == message.partition,
            c.origin_offset == message.offset,
        ),
    )


def _has_later() -> ColumnElement[bool]:
    later, c = outcomes.alias("later"), outcomes.c
    return exists().where(
        # What comes after the first row comes from a retry topic.
        later.c.origin_topic != later.c.topic,
        later.c.origin_topic == c.origin_topic,
        later.c.origin_partition == c.origin_partition,
        later.c.origin_offset == c.origin_offset,
        later.c.origin_time == c.origin_time,
        later.c.group == c.group,
        or_(
            later.c.written_at > c.written_at,
            and_(later.c.written_at == c.written_at, later.c.time > c.time),
        ),
    )


def _groups(connection: Connection) -> list[str]:
    # From one to the next in the index: DISTINCT would read all of it.
    found: list[str] = []
    while True:
        query = select(func.min(outcomes.c.group))
        if found:
            query = query.where(outcomes.c.group > found[-1])
        name = connection.scalar(query)
        if name is None:
            return found
        found.append(name)


def _investigation(name: str) -> ColumnElement[bool]:
    if "/" in name or "*" in name:
        return _named("investigation", name)
    column = outcomes.c.investigation
    return or_(
        _named("investigation", name),
        # All visits: "0" follows "/", so that it is one range of the index.
        and_(column > f"{name}/", column < f"{name}0"),
        and_(column == SEVERAL, _named("investigation", f"{name}/*")),
    )


def _named(kind: str, value: str) -> ColumnElement[bool]:
    column, objects = outcomes.c[kind], outcomes.c.objects
    whole = json.dumps(value)
    # As JSON has it, and as its beginning has it.
    needle = whole[:-1].replace("*", "") if value.endswith("*") else whole
    several = cast(objects[kind], Text).contains(needle, autoescape=True)
    begin = value.removesuffix("*")
    if begin != value and "*" not in begin:
        # One range of the index, as the columns compare byte by byte.
        that: ColumnElement[bool] = and_(column >= begin, column < f"{begin}{_LAST}")
    else:
        that = _like(column, value)
    return or_(that, and_(column == SEVERAL, several))


def _like(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    if "*" not in value:
        return column == value
    return cast(column, Text).like(value.translate(_LIKE), escape="\\")


def _entry(found: Any) -> Entry:
    values = {name: getattr(found, name) for name in _FIELDS}
    at = RowKey(*(getattr(found, name) for name in RowKey._fields))
    return Entry(JournalRow(at=at, **values), found.state)


_KEPT = ("payload", "record_key", "headers")
_FIELDS = tuple(
    name
    for name in JournalRow.__dataclass_fields__
    if name in outcomes.columns and name not in _KEPT
)
_SHOWN = [outcomes.c[name] for name in (*RowKey._fields, *_FIELDS, "state")]
