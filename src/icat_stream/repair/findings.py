"""What a reconciliation is asked for, and what it finds."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be compared.

    Parameters
    ----------
    investigation, visit
        Only this one.
    folder
        Only below this folder.
    since, until
        Only what was changed, or announced, in this time.
    suffixes
        Only files whose names end so; all if empty.
    """

    investigation: str | None = None
    visit: str | None = None
    folder: Path | None = None
    since: datetime | None = None
    until: datetime | None = None
    suffixes: tuple[str, ...] = ()

    def covers(self, when: datetime | None) -> bool:
        """Whether a time lies in the span; one that is not known does."""
        return when is None or (
            (self.since is None or when >= self.since)
            and (self.until is None or when < self.until)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that does not fit.

    Parameters
    ----------
    kind
        ``no_entry``, ``no_file``, ``size``, ``time``, ``incomplete``, ``rejected``,
        ``waiting``, ``by_hand``, ``no_dataset`` or ``unusable``.
    what
        The file, dataset or announcement.
    text
        What was found and what was expected.
    details
        The same for programs.
    """

    kind: str
    what: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)
