"""What is wrong, and how much comes in."""

from dataclasses import asdict
from typing import Any

from icat_stream.journal import QUARTER_MS, Search
from icat_stream.records import OutcomeKind

from .consumer_pages import source_groups
from .message_rows import row_values
from .page import Page, PageRequest
from .site import now_ms

_DAY_QUARTERS = 96


def overview(asked: PageRequest) -> Page:
    """Return what is wrong, and how much comes in."""
    now = now_ms()
    # What integrations make of the same data would count it again.
    groups = source_groups(asked)
    since = (now // QUARTER_MS - _DAY_QUARTERS + 1) * QUARTER_MS
    intervals = asked.part(
        "journal", lambda: asked.site.journal.summaries.intervals(since, groups)
    )
    failed = asked.part(
        "journal", lambda: _newest(asked, Search(outcomes=["rejected", "deferred"]))
    )
    arrived = asked.part(
        "journal", lambda: _newest(asked, Search(groups=groups, outcomes=["ingested"]))
    )
    hour: dict[str, int] = {kind.value: 0 for kind in OutcomeKind}
    day = dict(hour)
    for each in intervals or ():
        day[each.outcome] += each.rows
        if each.begin >= now - 4 * QUARTER_MS:
            hour[each.outcome] += each.rows
    values = {
        "health": asked.part("daemon", asked.site.health),
        "since": since,
        "width": QUARTER_MS,
        "count": _DAY_QUARTERS,
        "hour": hour,
        "day": day,
        "intervals": None if intervals is None else [asdict(i) for i in intervals],
        "failed": failed,
        "arrived": arrived,
        "now": now,
    }
    return Page(template="overview.html", title="Overview", values=values)


def _newest(asked: PageRequest, search: Search) -> list[dict[str, Any]]:
    found = asked.site.journal.entries.find(search, limit=5, newest_first=True)
    return [row_values(asked, entry) for entry in found]
