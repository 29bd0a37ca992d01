"""Putting the parts of the line together, as the configuration says."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from icat_stream.catalogue import Catalogue
from icat_stream.config import ConfigError, ConsumerSettings, Problem, Settings
from icat_stream.handlers import HandlerContext
from icat_stream.ids import Ids
from icat_stream.ingest import (
    IngestConsumer,
    Ping,
    RecordConsumer,
    RunningConsumer,
)
from icat_stream.journal import Journal, StatedSnapshots, journal_exists
from icat_stream.nexus import Limits, NexusReader
from icat_stream.records import (
    LocationKey,
    LoginRefused,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)
from icat_stream.stream import TopicIds

from .handler_registry import (
    UnknownHandler,
    load_class,
    load_handler,
    load_integration,
    require_topics,
)
from .stop_flag import StopFlag

if TYPE_CHECKING:
    from icat_stream.integrations import ExportConsumer, OutcomeConsumer

_log = logging.getLogger(__name__)
# Waiting for a system at start: quick at first, and a line in the log each time.
_BACK_OFF = (1.0, 2.0, 5.0, 10.0, 30.0)


class Pipeline:
    """All that a process needs between Kafka and the catalogue.

    Parameters
    ----------
    settings
        The configuration.
    dry_run
        Write nothing, nowhere: not even the journal's file is made.
    show_plans
        Keep plans in outcomes.
    topic_ids
        Tells a topic from one made anew, where records come from Kafka.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        dry_run: bool = False,
        show_plans: bool = False,
        topic_ids: TopicIds | None = None,
    ) -> None:
        self._settings = settings
        self._dry_run = dry_run
        self._show_plans = show_plans
        self._reads_files = self._has_tables = False
        self._closing = ExitStack()
        location_key = _location_key(settings)
        files = settings.files
        self.files = NexusReader(
            files.roots,
            path_map=files.path_map,
            workers=files.workers,
            deadline=files.deadline,
            settle=files.settle,
            settle_deadline=files.settle_deadline,
            max_stuck=files.max_stuck,
            limits=Limits(memory=files.memory, array_bytes=files.max_array),
        )
        self._closing.callback(self.files.close)
        self.journal = Journal(settings.journal)
        self._closing.callback(self.journal.close)
        self.catalogue = Catalogue(
            settings.icat,
            settings.facility,
            settings.policies,
            sample_of_job=self._sample_of_job,
            location_key=location_key,
        )
        self._closing.callback(self.catalogue.close)
        self.ids = Ids(settings.ids, self.files)
        self._topic_ids = topic_ids
        self.systems: dict[str, Ping] = {
            "icat": self.catalogue.ping,
            "files": self.files.ping,
            # Who only looks makes no tables; else it is of use once it has them.
            "journal": self._probe_journal,
        }
        if settings.ids.url is not None:
            self.systems["ids"] = self.ids.ping

    def consumers(self, only: Sequence[str] | None = None) -> list[RunningConsumer]:
        """Make the enabled consumers, or those that are named.

        Raises
        ------
        ConfigError
            A name is unknown, or a handler cannot be had or made.
        """
        chosen = _chosen(self._settings, only)
        made = [
            RunningConsumer(name, s, self._consumer(name, s))
            for name, s in chosen.items()
        ]
        self._reads_files |= any(each.consumer.takes_files for each in made)
        return made

    def open(
        self, stopping: StopFlag | None = None, patience: float | None = None
    ) -> bool:
        """Reach the catalogue, waiting until it is there; and the journal.

        Parameters
        ----------
        stopping
            Ends the waiting, of which there is none for the journal: its writer makes
            its tables later.  ``None``: do not wait at all.
        patience
            Seconds of waiting in all; ``None``: for ever.

        Returns
        -------
        :
            Whether all is open; false if it was stopped before.

        Raises
        ------
        LoginRefused
            ICAT refuses our credentials: waiting would not help.
        SystemUnavailable
            A system is down, and not waited for any longer.
        """
        if self._reads_files:
            # The first of them is to find a process that has started; elsewhere one
            # starts if it is needed.
            self.files.start()
        if not self._dry_run:
            try:
                self.journal.create()
                self._has_tables = True
            except SystemUnavailable as failure:
                if stopping is None:
                    raise
                _log.warning("unavailable: journal: %s; going on without it", failure)
        end = math.inf if patience is None else time.monotonic() + patience
        return _patiently(self.catalogue.open, stopping, end)

    def stated(self) -> StatedSnapshots:
        """Return what user offices state; nothing where there is no journal yet."""
        facility = self._settings.facility
        # A dry run makes none.
        if self._dry_run and not journal_exists(self._settings.journal):
            return StatedSnapshots(None, facility)
        return self.journal.stated(facility)

    def close(self) -> None:
        """End reading processes and connections."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _probe_journal(self) -> None:
        # Until its tables are made it is enough that it answers.
        (self.journal.probe if self._has_tables else self.journal.ping)()

    def _sample_of_job(self, job_id: str) -> str | None:
        if not self._dry_run:
            return self.journal.sample_of_job(job_id)
        # A dry run makes no database; where there is none, nothing is remembered.
        if not journal_exists(self._settings.journal):
            return None
        try:
            return self.journal.sample_of_job(job_id)
        except SystemUnavailable as failure:
            _log.warning("the sample of job %s is not known: %s", job_id, failure)
            return None

    def _consumer(self, name: str, settings: ConsumerSettings) -> RecordConsumer:
        try:
            require_topics(self._settings, settings, load_class(settings))
            if settings.integration is not None:
                return self._integration(name, settings)
            return self._ingest_consumer(settings)
        except ConfigError as error:
            raise ConfigError(
                [in_consumer(p, name, "configuration") for p in error.problems]
            ) from error
        except (UnknownHandler, Rejection) as error:
            raise ConfigError(
                [
                    Problem(
                        source="configuration",
                        field=f"consumers.{name}.{kind_of(settings)}",
                        expected=str(error),
                    )
                ]
            ) from error

    def _ingest_consumer(self, settings: ConsumerSettings) -> IngestConsumer:
        context = HandlerContext(
            settings=self._settings, files=self.files, options=settings.options
        )
        return IngestConsumer(
            handler=load_handler(settings.handler or "")(context),
            catalogue=self.catalogue,
            ids=self.ids,
            files=self.files,
            # A folder that is missing is waited for by those records that need it.
            systems=self.systems | {"files": self.files.ping_any},
            journal=self.journal,
            facility=self._settings.facility,
            topic_ids=self._topic_ids,
            dry_run=self._dry_run,
            show_plans=self._show_plans,
        )

    def _integration(
        self, name: str, settings: ConsumerSettings
    ) -> "ExportConsumer | OutcomeConsumer":
        from icat_stream.integrations import (
            ExportConsumer,
            IntegrationContext,
            OutcomeConsumer,
            OutcomeFollower,
        )

        facility = self._settings.facility
        # A dry run makes no journal.
        knows = not self._dry_run or journal_exists(self._settings.journal)
        integration = load_integration(settings.integration or "")(
            IntegrationContext(
                name=name,
                settings=self._settings,
                stated=self.stated(),
                options=settings.options,
            )
        )
        self._closing.callback(integration.close)
        made: ExportConsumer | OutcomeConsumer
        if isinstance(integration, OutcomeFollower):
            made = OutcomeConsumer(integration, self._settings, dry_run=self._dry_run)
        else:
            made = ExportConsumer(
                integration=integration,
                catalogue=self.catalogue,
                exports=self.journal.exports if knows else None,
                systems=self.systems,
                facility=facility,
                max_bytes=self._settings.messages.max_bytes,
                dry_run=self._dry_run,
            )
        # A part of what has to be there, from now on.
        self.systems[name] = made.ping
        return made


def kind_of(consumer: ConsumerSettings) -> str:
    """Return the field in which a consumer names its class."""
    return "handler" if consumer.integration is None else "integration"


def in_consumer(problem: Problem, name: str, source: str) -> Problem:
    """Return a problem of a handler's options, as one of the configuration's."""
    if problem.source != "configuration":
        return problem
    return replace(problem, source=source, field=f"consumers.{name}.{problem.field}")


def _chosen(
    settings: Settings, only: Sequence[str] | None
) -> dict[str, ConsumerSettings]:
    if only:
        unknown = [name for name in only if name not in settings.consumers]
        if unknown:
            raise ConfigError(
                [
                    Problem(
                        source="--consumer",
                        field=name,
                        expected="is none of the consumers in the configuration: "
                        + ", ".join(settings.consumers),
                    )
                    for name in unknown
                ]
            )
        return {name: settings.consumers[name] for name in dict.fromkeys(only)}
    enabled = {n: s for n, s in settings.consumers.items() if s.enabled}
    if not enabled:
        raise ConfigError(
            [
                Problem(
                    source="configuration",
                    field="consumers",
                    expected="expected at least one that is enabled",
                )
            ]
        )
    return enabled


def _patiently(step: Callable[[], None], stopping: StopFlag | None, end: float) -> bool:
    for attempt in range(10**9):
        try:
            step()
        except LoginRefused:
            raise
        except (SystemUnavailable, TransientFailure) as failure:
            if stopping is None or time.monotonic() >= end:
                raise
            wait = _BACK_OFF[min(attempt, len(_BACK_OFF) - 1)]
            _log.warning(
                "unavailable: %s: %s; waiting, next try in %g s",
                getattr(failure, "system", "icat"),
                failure,
                wait,
            )
            if stopping.wait(min(wait, max(0.0, end - time.monotonic()))):
                return False
        else:
            return True
    return False


def _location_key(settings: Settings) -> LocationKey | None:
    file = settings.ids.key_file
    try:
        key = settings.ids.key()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise _bad_key(f"cannot be read: {why}", file) from None
    if key == "":
        raise _bad_key("is empty", file)
    return None if key is None else LocationKey(key)


def _bad_key(expected: str, file: Path | None) -> ConfigError:
    return ConfigError(
        [
            Problem(
                source="configuration",
                field="ids.key_file",
                expected=expected,
                found=str(file),
            )
        ]
    )
