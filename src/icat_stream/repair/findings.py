"""What a reconciliation is asked for, and what it finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple


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

    def __str__(self) -> str:
        """Say it in words."""
        parts = []
        if self.investigation is not None:
            visit = "" if self.visit is None else f"/{self.visit}"
            parts.append(f"investigation {self.investigation}{visit}")
        if self.folder is not None:
            parts.append(f"below {self.folder}")
        if self.since is not None:
            parts.append(f"since {self.since.isoformat()}")
        if self.until is not None:
            parts.append(f"until {self.until.isoformat()}")
        if self.suffixes:
            parts.append(f"files {', '.join(self.suffixes)}")
        return "; ".join(parts) or "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that does not fit.

    Parameters
    ----------
    kind
        One of :data:`FINDING_KINDS`.
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


class FindingKind(NamedTuple):
    """What a kind of findings means, and what to do about one."""

    meaning: str
    what_to_do: str


FINDING_KINDS: Mapping[str, FindingKind] = MappingProxyType(
    {
        "no_entry": FindingKind(
            "files that no datafile has as its location",
            "announce them again: icat_stream reconcile --ingest, or the button of"
            " the dashboard; what does not belong in the catalogue may stay as it is",
        ),
        "no_file": FindingKind(
            "datafiles whose file is not on disk",
            "bring the file back from a backup, or find who moved it; delete the"
            " datafile in ICAT only if the file is gone for good",
        ),
        "size": FindingKind(
            "files and datafiles of different size",
            "see whether the file was still written when it was catalogued: have its"
            " message handled again (its page in the dashboard); a file that shrank"
            " is damaged",
        ),
        "time": FindingKind(
            "files that were changed after they were catalogued",
            "have the message handled again if the content changed, so that checksum"
            " and time are right; a copy that only lost its times does no harm",
        ),
        "incomplete": FindingKind(
            "datasets that are not complete",
            "look for a message of theirs that failed or waits; if none is there,"
            " have the last one handled again",
        ),
        "rejected": FindingKind(
            "announcements that failed, and nobody has dealt with",
            "mend the cause, then replay them: their page under Problems says what"
            " to do",
        ),
        "waiting": FindingKind(
            "announcements that wait, or were replayed and not handled yet",
            "nothing: the daemon tries them again; if they stay, look at what they"
            " wait for, and whether the daemon runs",
        ),
        "by_hand": FindingKind(
            "what was tried by hand, and was not taken in",
            "mend the cause, then run icat_background_ingestor once more: nobody"
            " else tries it again",
        ),
        "no_dataset": FindingKind(
            "announcements whose dataset is gone from the catalogue",
            "ask who deleted it; if it shall be there, have the message handled again",
        ),
        "unusable": FindingKind(
            "folders that cannot be read, and names that are not UTF-8",
            "give the account of the program the right to read, or rename the file",
        ),
    }
)
