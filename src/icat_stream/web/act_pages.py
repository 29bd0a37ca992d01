"""Replaying and discarding: shown first, then done, and written down before."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from functools import cache
from typing import Any

from icat_stream.app import Pipeline
from icat_stream.journal import Search
from icat_stream.records import Coordinates, Failure
from icat_stream.repair import Reingest, again, announce
from icat_stream.stream import Action, Consumer, Halt, Replay, Selection

from .journal_pages import coordinates
from .message_rows import row_values
from .page import Elsewhere, NotThere, Page, PageRequest, Unfit

_ACTIONS = {"replay": Action.REPLAYED, "discard": Action.DISCARDED}
_LISTED = 200


def of_problem(asked: PageRequest) -> Page | Elsewhere:
    """Replay or discard all dead letters with one reason."""
    name, fingerprint = asked.path("action"), asked.path("fingerprint")
    action = _ACTIONS.get(name)
    if action is None:
        raise NotThere("There is no such page.")
    read = asked.site.problems.read(fresh=True)
    group = read.groups.get(fingerprint)
    if group is None:
        raise NotThere("No dead letter waits with this reason any more.")
    if asked.request.method == "GET":
        return preview(
            asked,
            name,
            f"{group.count} dead letters of {group.consumer}: {group.reason}",
            group.count,
            group.examples,
        )
    selection = Selection(places=frozenset(group.places))

    def run(tool: "Acting") -> None:
        tool.letters(action, selection, read.ends)

    return act(asked, name, f"problem {fingerprint}: {group.reason}", group.count, run)


def of_message(asked: PageRequest) -> Page | Elsewhere:
    """Have one message handled again."""
    at = coordinates(asked)
    way = asked.site.journal.entries.way(at)
    if not way:
        raise NotThere(f"The journal has no message {at}.")
    last = way[-1]
    if last.row.outcome == "deferred":
        raise Unfit("This message waits, and is handled again by itself.")
    if asked.request.method == "GET":
        example = row_values(asked, last)
        return preview(asked, "replay", f"message {last.origin}", 1, [example])

    def run(tool: "Acting") -> None:
        letter = None
        if last.row.outcome == "rejected":
            letter = asked.site.problems.find(last.origin)
        if letter is not None and letter.done is None:
            selection = Selection(places=frozenset([letter.at]))
            ends = {letter.at.partition: letter.at.offset + 1}
            tool.letters(Action.REPLAYED, selection, ends)
        else:
            tool.message(last.origin)

    return act(asked, "replay", f"message {last.origin}", 1, run)


def audit(asked: PageRequest) -> Page:
    """Return who did what, and why."""
    acts = asked.site.journal.audit.newest(_LISTED)
    values = {"acts": [asdict(act) for act in acts]}
    return Page(template="audit.html", title="Audit", values=values, table="acts")


def preview(
    asked: PageRequest,
    action: str,
    subject: str,
    count: int,
    examples: list[dict[str, Any]],
) -> Page:
    """Return the page that asks whether to do something, and why."""
    values = {
        "action": action,
        "subject": subject,
        "count": count,
        "examples": examples,
        "reason": asked.query("reason", 2000),
    }
    return Page(template="act.html", title=f"{action} {subject}", values=values)


def act(
    asked: PageRequest,
    action: str,
    subject: str,
    count: int,
    run: Callable[["Acting"], None],
) -> Page:
    """Do something that a person has given a reason for, and note it before."""
    if asked.site.settings.web.read_only:
        raise Unfit("This dashboard only shows: web.read_only is set.")
    reason = asked.form.get("reason", "").strip()
    if not reason:
        raise Unfit("Say why: the next person will want to know.")
    if not asked.site.acting.acquire(timeout=30):
        raise Unfit("Somebody else replays or discards at this moment: try again.")
    try:
        trail = asked.site.journal.audit
        number = trail.begin(
            user=asked.sign_in.name,
            action=action,
            subject=subject,
            records=count,
            reason=reason,
        )
        tool = Acting(asked)
        try:
            run(tool)
            result = tool.result()
        except (Halt, Failure) as error:
            text = error.reason if isinstance(error, Halt) else str(error)
            result = f"{tool.result()}; stopped: {text}"
        except BaseException:
            trail.end(number, f"{tool.result()}; ended by a bug, see the log")
            raise
        trail.end(number, result)
        asked.site.problems.read(fresh=True)
    finally:
        asked.site.acting.release()
    values = {
        "number": number,
        "action": action,
        "subject": subject,
        "count": count,
        "done": tool.done,
        "problems": tool.problems[:100],
        "result": result,
    }
    return Page(template="done.html", title=result, values=values)


class Acting:
    """Has records handled again, or marks them as done."""

    def __init__(self, asked: PageRequest) -> None:
        self._asked = asked
        self.done = 0
        self.problems: list[dict[str, str]] = []

    def letters(self, action: Action, selection: Selection, ends: Any) -> None:
        """Replay or discard dead letters."""
        with ExitStack() as stack:
            tool = Replay(
                self._asked.site.settings,
                consumer_of=self._consumers(stack),
                on_done=self._count,
                on_problem=lambda letter, text: self._tell(str(letter.at), text),
            )
            stack.callback(tool.close)
            tool.run(action, selection, ends)

    def message(self, origin: Coordinates) -> None:
        """Send a message again to whoever handled it."""
        journal = self._asked.site.journal
        with ExitStack() as stack:
            tool = Reingest(
                self._asked.site.settings,
                journal,
                consumer_of=self._consumers(stack),
                on_done=self._count,
                on_problem=lambda entry, text: self._tell(str(entry.origin), text),
            )
            stack.callback(tool.close)
            tool.run(again(journal, Search(message=origin)))

    def files(self, consumer: str, paths: Iterable[str]) -> None:
        """Announce files to a consumer."""
        settings = self._asked.site.settings
        with Pipeline(settings, dry_run=True) as pipeline:
            (named,) = pipeline.consumers([consumer])
            self._count(announce(settings, named, paths))

    def result(self) -> str:
        """Return what came of it."""
        text = f"{self.done} records done"
        return f"{text}, {len(self.problems)} not" if self.problems else text

    def _consumers(self, stack: ExitStack) -> Callable[[str], Consumer]:
        @cache
        def pipeline() -> Pipeline:
            # Nothing is opened: keys and secrets are told from the record alone.
            settings = self._asked.site.settings
            return stack.enter_context(Pipeline(settings, dry_run=True))

        @cache
        def consumer_of(name: str) -> Consumer:
            return pipeline().consumers([name])[0].consumer

        return consumer_of

    def _count(self, number: int) -> None:
        self.done += number

    def _tell(self, place: str, text: str) -> None:
        self.problems.append({"at": place, "problem": text})
