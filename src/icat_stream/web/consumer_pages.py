"""The consumers, integrations among them: how they are, and what waits for them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from icat_stream.app import EventFollower, followers_of
from icat_stream.config import ConfigError
from icat_stream.journal import QUARTER_MS, Search, Total
from icat_stream.stream import group_of

from .message_rows import row_values
from .page import NotThere, Page, PageRequest
from .site import now_ms

_DAY_QUARTERS = 96
_WAITING = 20
_DONE = ("ingested", "unchanged")


def consumers(asked: PageRequest) -> Page:
    """Return all consumers that are configured."""
    return _listed(asked, list(asked.site.settings.consumers), "Consumers")


def integrations(asked: PageRequest) -> Page:
    """Return the consumers that follow what is in the catalogue."""
    return _listed(asked, list(_followers(asked)), "Integrations")


def consumer(asked: PageRequest) -> Page:
    """Return one of them: what it does now, what came of its messages, what waits."""
    name = asked.path("name")
    if name not in asked.site.settings.consumers:
        raise NotThere(f"There is no consumer “{name[:60]}” in the configuration.")
    group = group_of(asked.site.settings, name)
    health = asked.part("daemon", asked.site.health) or {}
    now = now_ms()
    since = (now // QUARTER_MS - _DAY_QUARTERS + 1) * QUARTER_MS
    journal = asked.part("journal", lambda: asked.site.journal)
    totals = waits = intervals = newest = None
    if journal is not None:
        totals = asked.part("journal", lambda: journal.summaries.totals())
        waits = asked.part("journal", lambda: journal.summaries.waits(group))
        intervals = asked.part(
            "journal", lambda: journal.summaries.intervals(since, [group])
        )
        search = Search(groups=[group], outcomes=["deferred", "rejected"])
        newest = asked.part(
            "journal",
            lambda: [
                row_values(asked, entry)
                for entry in journal.entries.find(search, limit=10, newest_first=True)
            ],
        )
    run = (health.get("loops") or {}).get(name)
    follower = _followers(asked).get(name)
    values = {
        **_values(asked, name, run, totals, asked.part("kafka", asked.site.lag.read)),
        "runs": run is not None,
        "process": run,
        "follower": None if follower is None else asdict(follower),
        "waits": None if waits is None else [asdict(each) for each in waits[:_WAITING]],
        "intervals": None if intervals is None else [asdict(i) for i in intervals],
        "since": since,
        "width": QUARTER_MS,
        "count": _DAY_QUARTERS,
        "failed": newest,
    }
    return Page(template="consumer.html", title=name, values=values)


def _listed(asked: PageRequest, names: list[str], title: str) -> Page:
    health = asked.part("daemon", asked.site.health) or {}
    totals = asked.part("journal", lambda: asked.site.journal.summaries.totals())
    lag = asked.part("kafka", asked.site.lag.read)
    loops = health.get("loops") or {}
    values = {
        "kind": title.lower(),
        "consumers": [
            _values(asked, name, loops.get(name), totals, lag) for name in names
        ],
    }
    return Page(
        template="consumers.html", title=title, values=values, table="consumers"
    )


def _values(
    asked: PageRequest,
    name: str,
    run: Mapping[str, Any] | None,
    totals: Mapping[str, Mapping[str, Total]] | None,
    lag: Mapping[str, int] | None,
) -> dict[str, Any]:
    settings = asked.site.settings.consumers[name]
    group = group_of(asked.site.settings, name)
    told = None if totals is None else totals.get(group, {})
    done = [told[kind].newest for kind in _DONE if kind in told] if told else []
    return {
        "name": name,
        "made_of": settings.integration or settings.handler,
        "enabled": settings.enabled,
        "topics": settings.topics,
        "state": _state(settings.enabled, run),
        "down": dict(run["down"]) if run else {},
        "unread": None if lag is None else lag.get(name),
        "last_success": max(done, default=None),
        "outcomes": None
        if told is None
        else {kind: total.rows for kind, total in told.items()},
        "follows": getattr(_followers(asked).get(name), "follows", []),
    }


def _state(enabled: bool, run: Mapping[str, Any] | None) -> str:
    if not enabled:
        return "disabled"
    if run is None:
        return "not in this daemon"
    return "paused" if run["down"] else "running"


def source_groups(asked: PageRequest) -> list[str]:
    """Return the groups whose messages come from outside of this program."""
    names = asked.site.settings.consumers.keys() - _followers(asked).keys()
    return [group_of(asked.site.settings, name) for name in sorted(names)]


def _followers(asked: PageRequest) -> dict[str, EventFollower]:
    """Return those whose class can be had here; the daemon would say which cannot."""
    try:
        return {each.name: each for each in followers_of(asked.site.settings)}
    except ConfigError:
        return {}
