"""The data service as a process."""

import json
import logging
import os
import signal
import socket
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import uvicorn

from icat_stream.telemetry import configure_logging, configure_traces

from . import plugin_loader
from .catalogue import Catalogue
from .connections import (
    LONGEST_HEAD,
    Connection,
    OnceAMinute,
    accepting,
    within_open_files,
)
from .errors import InsufficientPrivileges
from .levels import Levels, OneLevel
from .links import Links
from .locks import Locks
from .metrics import Metrics
from .mover import Mover
from .operations import Operations
from .plugins import ArchiveStorage, MainStorage, ZipMapper
from .routes import Calls
from .service import DataService
from .settings import AccountSettings, DataServiceSettings, SettingsError
from .state import State
from .threads import Threads
from .two_levels import TwoLevels
from .watermarks import Watermarks
from .worker import Queue, Worker, note_reads

_log = logging.getLogger(__name__)
# They are kept in memory until then.
_NOTE_READS_EVERY = 60.0


class _Server(uvicorn.Server):
    """Tells where it listens, once it does."""

    def __init__(self, config: uvicorn.Config, url: str, ready: Path | None) -> None:
        super().__init__(config)
        self._url = url
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _log.info("listening at %s", self._url)
        if self._ready is not None:
            text = json.dumps({"url": self._url, "pid": os.getpid()})
            new = self._ready.with_name(self._ready.name + ".new")
            new.write_text(text, encoding="utf-8")
            new.replace(self._ready)


def serve(settings: DataServiceSettings, ready: Path | None = None) -> None:
    """Run the service until SIGINT or SIGTERM.

    Parameters
    ----------
    settings
        A port of 0 is a free one.
    ready
        Written once calls are answered: ``{"url", "pid"}``.

    Raises
    ------
    SettingsError
        It cannot run as configured.
    OSError
        The address cannot be listened on.
    """
    telemetry = settings.telemetry
    configure_logging(telemetry.log_level, telemetry.log_file)
    with ExitStack() as stack:
        stack.callback(
            configure_traces(
                telemetry.otlp_endpoint,
                console=telemetry.console,
                sample_ratio=telemetry.sample_ratio,
            )
        )
        main, archive = plugin_loader.storages(settings)
        zips = plugin_loader.zip_mapper(settings)
        state = State(settings.folder)
        stack.callback(state.close)
        stack.enter_context(state.held())
        metrics = Metrics()
        catalogue = Catalogue(
            settings.icat, settings.reader, settings.writer, settings.key(), metrics
        )
        _check_accounts(catalogue, settings)
        stack.callback(catalogue.close)
        listener = _listener(settings)
        stack.callback(listener.close)
        links = Links(settings.links, state)
        worker = Worker(settings, state, links)
        stopping = threading.Event()
        levels: Levels = OneLevel()
        if archive is not None:
            levels = _two_levels(
                settings,
                main,
                archive,
                zips,
                state,
                catalogue,
                metrics,
                worker,
                stopping,
                stack,
            )
        service = DataService(settings, catalogue, main, zips, levels, state, links)
        root = getattr(main, "root", None)
        operations = Operations(metrics, state, levels, catalogue, root)
        calls = Calls(service, operations, Threads(settings.storage_timeout), metrics)
        host, port = listener.getsockname()[:2]
        scheme = "http" if settings.tls is None else "https"
        limits = within_open_files(settings.limits)
        for name in ("asyncio", "uvicorn.error", Connection.__module__):
            logging.getLogger(name).addFilter(OnceAMinute())
        tls = settings.tls
        config = uvicorn.Config(
            calls.application(),
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
            # Session ids stand in the request line: it is never logged.
            access_log=False,
            log_config=None,
            lifespan="off",
            # Where the library is there, they would be connections without limits.
            ws="none",
            h11_max_incomplete_event_size=LONGEST_HEAD,
            timeout_graceful_shutdown=max(1, round(settings.stop_within)),
        )
        _load(config, settings)
        # Not uvicorn's to speak: whoever does not would not be counted.
        secure, config.ssl = config.ssl, None
        config.http_protocol_class = partial(  # type: ignore[assignment]
            accepting, limits, secure
        )
        worker.start()
        stack.callback(worker.stop, settings.stop_within)
        stack.callback(stopping.set)
        for number in (signal.SIGINT, signal.SIGTERM):
            # uvicorn raises the signal again when it is done, which would end the
            # process before it has tidied up.
            signal.signal(number, lambda *_: stopping.set())
        _Server(config, f"{scheme}://{host}:{port}/ids", ready).run([listener])
        _log.info("stopping: what is under way between the levels stays in the queue")


def _two_levels(
    settings: DataServiceSettings,
    main: MainStorage,
    archive: ArchiveStorage,
    zips: ZipMapper,
    state: State,
    catalogue: Catalogue,
    metrics: Metrics,
    worker: Worker,
    stopping: threading.Event,
    stack: ExitStack,
) -> TwoLevels:
    locks = Locks()
    levels = TwoLevels(settings, main, state, locks, catalogue)
    mover = Mover(settings, main, archive, zips, catalogue, stopping)
    queue = Queue(settings, state, levels, locks, mover, catalogue, metrics)
    stack.callback(queue.close, settings.stop_within)
    stack.callback(note_reads, levels, state)
    worker.every(settings.queue.interval, queue.tick, at_once=False)
    worker.every(_NOTE_READS_EVERY, lambda: note_reads(levels, state), at_once=False)
    if settings.watermarks is not None:
        watermarks = Watermarks(
            settings.watermarks, main, state, levels, mover, catalogue
        )

        def look() -> None:
            note_reads(levels, state)
            watermarks.check()

        worker.every(settings.watermarks.interval, look)
    return levels


def _listener(settings: DataServiceSettings) -> socket.socket:
    host, _, port = settings.listen.rpartition(":")
    # With the protocol named, asyncio sends answers at once (TCP_NODELAY).
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"listen {settings.listen}: {reason}") from None
    return listener


def _load(config: uvicorn.Config, settings: DataServiceSettings) -> None:
    """Read certificate and key, if there are any."""
    try:
        config.load()
    except OSError as error:
        # Among them ssl.SSLError, of what is no certificate, or not of this key.
        if settings.tls is None:
            raise
        raise SettingsError(
            f"tls: certificate {settings.tls.certificate} with key {settings.tls.key}"
            f" cannot be used: {error.strerror or error}"
        ) from None


def _check_accounts(catalogue: Catalogue, settings: DataServiceSettings) -> None:
    """Refuse an account that ICAT refuses; an ICAT that is down may come up."""
    for name, error in catalogue.check_accounts():
        if isinstance(error, InsufficientPrivileges):
            account: AccountSettings = getattr(settings, name)
            raise SettingsError(
                f"{name}: ICAT at {catalogue.url} refuses"
                f" {account.auth}/{account.username}: {error.message}"
            )
        if isinstance(error, OSError):
            raise SettingsError(f"{name}.password_file: {error}")
        _log.warning("the %s cannot log in yet: %s", name, error.message)
