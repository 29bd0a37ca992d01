"""What failed and what waits, by reason."""

import re
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from icat_stream.config import documentation

from .message_rows import consumer_of
from .page import NotThere, Page, PageRequest

_HOUR_MS = 3_600_000
_PAGE = re.compile(r"[a-z0-9-]{1,60}")


def problems(asked: PageRequest) -> Page:
    """Return all reasons for which records failed, or wait."""
    read = asked.part("kafka", lambda: asked.site.problems.read())
    waiting = asked.part("journal", lambda: _waiting(asked))
    failed = None
    if read is not None:
        failed = [group.values() for group in read.groups.values()]
    values = {
        "failed": failed,
        "count": sum(each["count"] for each in failed or ()),
        "waiting": waiting,
    }
    return Page(
        template="problems.html", title="Problems", values=values, table="failed"
    )


def problem(asked: PageRequest) -> Page:
    """Return one reason: since when, how often, and some examples."""
    fingerprint = asked.path("fingerprint")
    group = asked.site.problems.read().groups.get(fingerprint)
    if group is None:
        raise NotThere(
            "No dead letter waits with this reason any more: all that had it were"
            " replayed or discarded."
        )
    width = _HOUR_MS
    while (group.last - group.first) // width >= 96:
        width *= 2
    since = group.first // width * width
    values = {
        **group.values(),
        "hours": [
            {"begin": begin, "outcome": "rejected", "rows": rows}
            for begin, rows in sorted(group.hours.items())
        ],
        "since": since,
        "width": width,
        "bars_count": max(24, (group.last - since) // width + 1),
        "examples": group.examples,
    }
    return Page(template="problem.html", title=group.reason, values=values)


def night_page(asked: PageRequest) -> Page:
    """Return what to do about an alert."""
    name = asked.path("page")
    file = documentation() / "night" / f"{name}.md"
    if not _PAGE.fullmatch(name) or not file.is_file():
        raise NotThere(f"There is no night page “{name[:60]}”.")
    text = file.read_text("utf-8")
    heading, _, rest = text.partition("\n")
    values = {"page": name, "html": _html(asked, rest), "markdown": text}
    title = heading.removeprefix("#").strip()
    return Page(template="night_page.html", title=title, values=values)


def _html(asked: PageRequest, text: str) -> Markup:
    """Return a page of our own documentation, whose links stay in the dashboard."""
    reader = MarkdownIt("commonmark", {"html": False})
    tokens = reader.parse(text)
    for token in tokens:
        for child in token.children or ():
            if child.type != "link_open":
                continue
            found = re.fullmatch(r"([a-z0-9-]+)\.md", str(child.attrs.get("href")))
            page = found[1] if found else "index"
            child.attrs["href"] = f"{asked.site.path}/help/{page}"
        _name_links(token.children or [])
    return Markup(reader.renderer.render(tokens, reader.options, {}))  # noqa: S704


def _name_links(children: list[Token]) -> None:
    """Give links without a text, as Sphinx fills them in, the name of their page."""
    for place in range(len(children) - 1, 0, -1):
        before, here = children[place - 1], children[place]
        if (before.type, here.type) == ("link_open", "link_close"):
            name = str(before.attrs["href"]).rpartition("/")[2].replace("-", " ")
            children.insert(place, Token("text", "", 0, content=name))


def _waiting(asked: PageRequest) -> list[dict[str, Any]]:
    return [
        {
            "consumer": consumer_of(asked, each.group),
            "reason": each.reason,
            "count": each.messages,
            "first": each.first,
            "last": each.last,
        }
        for each in asked.site.journal.summaries.waits()[:100]
    ]
