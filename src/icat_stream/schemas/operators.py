"""What can be done to a variable's value, checked by type before any file is read.

In YAML an operator is a name (``lower``), a name with its main argument
(``join: ", "``) or a name with arguments (``replace: {pattern: x, replacement: y}``).
What works on one value works on each value of a list.
"""

import difflib
import math
import urllib.parse
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import PurePosixPath
from statistics import fmean, median
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from .operator import Function, Operator, Unfit, each, finite
from .paired_lists import TimeMean, Where
from .patterns import Pattern, UnfitPattern
from .values import (
    DATETIME,
    INTEGER,
    KINDS,
    STRING,
    Kind,
    Mismatch,
    Scalar,
    coerce,
    shorten,
    text,
    texts,
)


def _pattern(value: str) -> str:
    Pattern(value)
    return value


def _kind(value: str) -> str:
    if value not in KINDS:
        near = difflib.get_close_matches(value, KINDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"expected one of {', '.join(KINDS)}{hint}")
    return value


PatternText = Annotated[str, AfterValidator(_pattern)]
KindName = Annotated[str, AfterValidator(_kind)]


_PLAIN_TEXT: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "strip": str.strip,
    "urlsafe": lambda value: urllib.parse.quote(value, safe=""),
    "basename": lambda value: PurePosixPath(value).name,
    "stem": lambda value: PurePosixPath(value).stem,
}


class _OnText(Operator):
    """Text to text."""

    def _result(self, kind: Kind) -> Kind:
        self._needs(kind.is_text, "text", kind)
        return Kind(Scalar.STRING, kind.many)


class TextOperator(_OnText):
    """Text to text, without arguments."""

    operator: Literal["lower", "upper", "strip", "urlsafe", "basename", "stem"]

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        return each(kind, _PLAIN_TEXT[self.operator])


class Dirname(_OnText):
    """The folder of a path, or the one `levels` above."""

    main = "levels"
    operator: Literal["dirname"]
    levels: int = Field(1, ge=1)

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        def dirname(value: str) -> str:
            parents = PurePosixPath(value).parents
            return str(parents[min(self.levels, len(parents)) - 1]) if parents else "."

        return each(kind, dirname)


class Replace(_OnText):
    """Every match of a regular expression replaced."""

    operator: Literal["replace"]
    pattern: PatternText
    replacement: str = ""

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        try:
            return each(kind, Pattern(self.pattern).replacer(self.replacement))
        except UnfitPattern as error:
            raise Unfit(str(error)) from None


class Extract(_OnText):
    """The first group of a regular expression's first match, or all of the match."""

    main = "pattern"
    operator: Literal["extract"]
    pattern: PatternText

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        return each(kind, Pattern(self.pattern).extracted)


class Map(Operator):
    """One text for another."""

    operator: Literal["map"]
    values: dict[str, str]
    default: str | None = None

    def _result(self, kind: Kind) -> Kind:
        return Kind(Scalar.STRING, kind.many)

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        return each(kind, lambda value: self.values.get(text(value), self.default))


class Split(Operator):
    """Text cut into a list; blanks around the parts are dropped, and empty parts."""

    main = "separator"
    operator: Literal["split"]
    separator: str = Field(",", min_length=1)

    def _result(self, kind: Kind) -> Kind:
        self._needs(kind.is_text and not kind.many, "one text", kind)
        return Kind(Scalar.STRING, many=True)

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        def split(value: str) -> tuple[str, ...] | None:
            parts = (part.strip() for part in value.split(self.separator))
            return tuple(part for part in parts if part) or None

        return split


class Join(Operator):
    """A list made one text."""

    main = "separator"
    operator: Literal["join"]
    separator: str = " "

    def _result(self, kind: Kind) -> Kind:
        self._needs(kind.many, "a list", kind)
        return STRING

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        return lambda values: self.separator.join(texts(values))


def _standard_deviation(values: tuple[float, ...]) -> float:
    center = fmean(values)
    # Neither squares nor their sum leave the range of numbers in here.
    return math.dist(values, [center] * len(values)) / math.sqrt(len(values))


_FOLDS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "sum": sum,
    "mean": fmean,
    "median": median,
    "standard_deviation": _standard_deviation,
    "min": min,
    "max": max,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "count": len,
}
_AVERAGES = ("mean", "median", "standard_deviation")
GATHERING = ("sum", *_AVERAGES, "min", "max", "time_mean")
"""Operators on a list that are of the items that say something."""
DIFFERENCES = ("sum", "standard_deviation")
"""Operators that make no temperature of temperatures."""


class Fold(Operator):
    """A list made one value."""

    operator: Literal[
        "sum",
        "mean",
        "median",
        "standard_deviation",
        "min",
        "max",
        "first",
        "last",
        "count",
    ]

    def _result(self, kind: Kind) -> Kind:
        self._needs(kind.many, "a list", kind)
        if self.operator == "count":
            return INTEGER
        if self.operator in ("sum", *_AVERAGES):
            self._needs(kind.is_number, "numbers", kind)
        return Kind(Scalar.FLOAT if self.operator in _AVERAGES else kind.scalar)

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        fold = _FOLDS[self.operator]
        if self.operator not in GATHERING:
            return fold

        def gathered(values: tuple[Any, ...]) -> Any:
            values = tuple(value for value in values if value is not None)
            if not values:
                return None
            if self.operator in ("min", "max"):
                return fold(values)
            average = self.operator in _AVERAGES
            return finite(
                self.operator,
                lambda: float(fold(values)) if average else fold(values),
                values,
            )

        return gathered


class GetItem(Operator):
    """One value of a list, counted from 0, from the end if negative."""

    main = "index"
    operator: Literal["getitem"]
    index: int

    def _result(self, kind: Kind) -> Kind:
        self._needs(kind.many, "a list", kind)
        return Kind(kind.scalar)

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        def getitem(values: tuple[Any, ...]) -> Any:
            try:
                return values[self.index]
            except IndexError:
                raise Mismatch(
                    f"getitem {self.index}: the list has {len(values)} values, "
                    f"{shorten(values)}"
                ) from None

        return getitem


class FormatTime(Operator):
    """A time as text, by strftime."""

    main = "format"
    operator: Literal["format_time"]
    format: str = Field(min_length=1)

    def _result(self, kind: Kind) -> Kind:
        self._needs(kind == DATETIME, "datetime", kind)
        return STRING

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        return lambda value: value.strftime(self.format)


class ParseTime(Operator):
    """Text as a time, by strptime."""

    main = "format"
    operator: Literal["parse_time"]
    format: str = Field(min_length=1)

    def _result(self, kind: Kind) -> Kind:
        self._needs(kind.is_text and not kind.many, "one text", kind)
        return DATETIME

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        try:
            datetime.strptime("", self.format)  # noqa: DTZ007 - only a check
        except ValueError as error:
            # It says "does not match" where the format itself is fine.
            if "does not match" not in str(error):
                raise Unfit(f"format {self.format!r}: {error}") from None

        def parse_time(value: str) -> datetime:
            try:
                time = datetime.strptime(value, self.format)  # noqa: DTZ007 - below
            except ValueError:
                raise Mismatch(
                    f"expected a time like {self.format}, found {shorten(value)}"
                ) from None
            return time if time.tzinfo else time.replace(tzinfo=zone)

        return parse_time


class To(Operator):
    """Another type."""

    main = "type"
    operator: Literal["to"]
    type: KindName

    def _result(self, kind: Kind) -> Kind:
        target = KINDS[self.type]
        self._needs(
            kind.many == target.many,
            "one value" if kind.many else f"a list, to become {target}",
            kind,
        )
        return target

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        target = KINDS[self.type]
        return lambda value: coerce(value, target, zone)


MODELS: dict[str, type[Operator]] = {
    **dict.fromkeys(_PLAIN_TEXT, TextOperator),
    **dict.fromkeys(_FOLDS, Fold),
    "dirname": Dirname,
    "extract": Extract,
    "format_time": FormatTime,
    "getitem": GetItem,
    "join": Join,
    "map": Map,
    "parse_time": ParseTime,
    "replace": Replace,
    "split": Split,
    "time_mean": TimeMean,
    "to": To,
    "where": Where,
}
OPERATORS = tuple(sorted(MODELS))


def _normal(value: Any) -> Any:
    """Turn the short forms into the names and arguments that the models take."""
    if isinstance(value, str):
        name, arguments = value, None
    elif isinstance(value, dict) and len(value) == 1:
        ((name, arguments),) = value.items()
    else:
        raise ValueError("expected an operator, such as lower or {join: ', '}")
    model = MODELS.get(name) if isinstance(name, str) else None
    if model is None:
        near = difflib.get_close_matches(str(name), OPERATORS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"{name} is no known operator, expected one of {', '.join(OPERATORS)}{hint}"
        )
    if arguments is None:
        return {"operator": name}
    if isinstance(arguments, dict):
        return {**arguments, "operator": name}
    if model.main is None:
        takes = [field for field in model.model_fields if field != "operator"]
        hint = f"expected {{{name}: {{{', '.join(takes)}: …}}}}" if takes else ""
        raise ValueError(hint or f"{name} takes no argument")
    return {"operator": name, model.main: arguments}


def _tag(value: Any) -> str:
    name = value["operator"] if isinstance(value, dict) else value.operator
    if name in _PLAIN_TEXT:
        return "text"
    return "fold" if name in _FOLDS else str(name)


AnyOperator = Annotated[
    Annotated[TextOperator, Tag("text")]
    | Annotated[Fold, Tag("fold")]
    | Annotated[Dirname, Tag("dirname")]
    | Annotated[Extract, Tag("extract")]
    | Annotated[FormatTime, Tag("format_time")]
    | Annotated[GetItem, Tag("getitem")]
    | Annotated[Join, Tag("join")]
    | Annotated[Map, Tag("map")]
    | Annotated[ParseTime, Tag("parse_time")]
    | Annotated[Replace, Tag("replace")]
    | Annotated[Split, Tag("split")]
    | Annotated[TimeMean, Tag("time_mean")]
    | Annotated[To, Tag("to")]
    | Annotated[Where, Tag("where")],
    Discriminator(_tag),
    BeforeValidator(_normal),
]
