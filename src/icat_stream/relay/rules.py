"""Which records go to the other cluster, and as what: by the rules, without I/O."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icat_stream.config import ForwardRule, ForwardSettings

HOP = "forwarded-from"
"""Header that each cluster adds which a record was forwarded from: its name, then the
coordinates there."""

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """A record as the other cluster gets it.

    Parameters
    ----------
    rule
        Name of the rule.
    topic
        There.
    """

    rule: str
    topic: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a record that a rule may have meant is not forwarded."""

    rule: str
    reason: str


class Rules:
    """Applies the enabled rules to records.

    Parameters
    ----------
    settings
        Of the forwarding.
    """

    def __init__(self, settings: ForwardSettings) -> None:
        self._target = settings.target_name
        self._rules = [(n, r) for n, r in settings.rules.items() if r.enabled]

    @property
    def topics(self) -> list[str]:
        """The source topics, sorted."""
        return sorted({topic for _, rule in self._rules for topic in rule.topics})

    def apply(
        self, topic: str, value: bytes | None, headers: Headers
    ) -> list[Forwarded | LeftOut]:
        """Return what becomes of a record, by each rule that is about it."""
        if self._has_been_there(headers):
            return []
        found: list[Forwarded | LeftOut] = []
        for name, rule in self._rules:
            if topic in rule.topics:
                made = self._made(name, rule, topic, value)
                if made is not None:
                    found.append(made)
        return found

    def rate(self, rule: str) -> float | None:
        """Return how many records a second a rule may send."""
        return dict(self._rules)[rule].rate

    def _has_been_there(self, headers: Headers) -> bool:
        target = f"{self._target}/".encode()
        return any(
            name == HOP and value is not None and value.startswith(target)
            for name, value in headers
        )

    def _made(
        self, name: str, rule: ForwardRule, topic: str, value: bytes | None
    ) -> Forwarded | LeftOut | None:
        there = rule.to.format(topic=topic)
        if not rule.reads_values:
            return Forwarded(rule=name, topic=there, value=value)
        try:
            body = json.loads(value or b"", parse_constant=_refused)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            return LeftOut(name, "its value is no JSON object, which the rule looks at")
        if rule.kinds and body.get("kind") not in rule.kinds:
            return None
        for path, wanted in rule.where.items():
            if _value(body, path) not in wanted:
                return None
        if not rule.redact and not rule.rename:
            return Forwarded(rule=name, topic=there, value=value)
        for path in rule.redact:
            _remove(body, path)
        for path, new in rule.rename.items():
            moved = _remove(body, path)
            if moved is not _NOTHING and not _put(body, new, moved):
                return LeftOut(
                    name, f"{path} cannot be renamed: {new} is there already"
                )
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return Forwarded(
            rule=name, topic=there, value=text.encode(errors="surrogatepass")
        )


_NOTHING = object()


def _refused(constant: str) -> Any:
    raise ValueError(constant)


def _value(body: Mapping[str, Any], path: str) -> Any:
    found: Any = body
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    # Of a list or an object nothing is asked.
    return found if isinstance(found, str | int | float | bool) else None


def _remove(within: Any, path: str) -> Any:
    """Take a field out, of each item where there is a list; return the last one."""
    if isinstance(within, list):
        removed: Any = _NOTHING
        for item in within:
            gone = _remove(item, path)
            removed = removed if gone is _NOTHING else gone
        return removed
    if not isinstance(within, dict):
        return _NOTHING
    first, _, rest = path.partition(".")
    if not rest:
        return within.pop(first, _NOTHING)
    return _remove(within.get(first), rest)


def _put(body: dict[str, Any], path: str, value: Any) -> bool:
    *parents, last = path.split(".")
    for part in parents:
        within = body.setdefault(part, {})
        if not isinstance(within, dict):
            return False
        body = within
    if last in body:
        return False
    body[last] = value
    return True
