"""Keeping in the journal what a reconciliation finds, for those who look later."""

import logging
from collections import Counter
from types import TracebackType
from typing import Self

from icat_stream.config import ConfigError, JournalSettings
from icat_stream.journal import Journal, KeptFinding, journal_exists
from icat_stream.records import Failure

from .findings import Finding, Wanted

_log = logging.getLogger(__name__)
_TOGETHER = 500
# Who has more of one kind needs no list of them.
MOST_OF_A_KIND = 10_000


class KeptFindings:
    """Writes findings to the journal; where that fails, they are only not kept.

    Parameters
    ----------
    settings
        Of the journal: who only looks makes none.
    journal
        The journal.
    wanted
        What is compared.
    """

    def __init__(
        self, settings: JournalSettings, journal: Journal, wanted: Wanted
    ) -> None:
        self._journal = journal
        self.counts: Counter[str] = Counter()
        """How many there are of each kind."""
        self._new: list[KeptFinding] = []
        self._number: int | None = None
        try:
            if not journal_exists(settings) or not journal.is_current():
                _log.warning(
                    "the findings are not kept for the dashboard: there is no journal"
                    " of this version yet; the daemon makes it when it starts"
                )
                return
            self._number = journal.reconciliations.begin(str(wanted))
        except (Failure, ConfigError) as failure:
            self._give_up(failure)

    def add(self, finding: Finding) -> None:
        """Keep a finding, sooner or later."""
        before = self.counts[finding.kind]
        self.counts[finding.kind] += 1
        if self._number is None:
            return
        if before < MOST_OF_A_KIND:
            self._new.append(
                KeptFinding(
                    finding.kind, before, finding.what, finding.text, finding.details
                )
            )
        if len(self._new) >= _TOGETHER:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()
        # What was found before it failed is true, but not all.
        if self._number is not None and error is None:
            try:
                self._journal.reconciliations.end(self._number)
            except Failure as failure:
                self._give_up(failure)

    def _flush(self) -> None:
        if self._number is None:
            return
        try:
            self._journal.reconciliations.add(self._number, self._new, self.counts)
        except Failure as failure:
            self._give_up(failure)
        self._new.clear()

    def _give_up(self, failure: Exception) -> None:
        self._number = None
        _log.warning("the findings are not kept for the dashboard: %s", failure)
