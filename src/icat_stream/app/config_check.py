"""Checking a configuration, and with it all that it points to."""

import logging
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import SecretStr

from icat_stream.config import (
    BadYaml,
    ConfigError,
    Problem,
    Settings,
    line_of,
    load,
    read_yaml,
)
from icat_stream.records import ExitCode, Failure, SystemUnavailable
from icat_stream.schemas import load_schemas

from .handler_registry import UnknownHandler, load_class, require_topics
from .pipeline import Pipeline, in_consumer, kind_of
from .schedule import waiting_checks

if TYPE_CHECKING:
    from icat_stream.integrations import ExportConsumer

# What librdkafka says of brokers is in the exceptions, too.
_SILENT = logging.getLogger("icat_stream.app.config_check.kafka")
_SILENT.disabled = True


def validate(file: Path, *, connect: bool, download: bool = False) -> int:
    """Check a configuration and say what was found.

    Parameters
    ----------
    file
        The configuration.
    connect
        Reach every system as well.
    download
        Ask the data service for the newest file, too.

    Returns
    -------
    :
        The exit code.

    Raises
    ------
    ConfigError
        With all problems of the configuration and its metadata schemas.
    """
    try:
        settings = load(file)
    except ConfigError as error:
        # What else there is to mend is said in the same go.
        raise ConfigError(error.problems + _schemas_beside(file)) from None
    problems = _handlers(settings, str(file))
    schemas = 0
    if settings.schemas is not None:
        try:
            schemas = len(load_schemas(settings.schemas).schemas)
        except ConfigError as error:
            problems += error.problems
    elif any(c.handler == "file_written" for c in settings.consumers.values()):
        problems.append(
            Problem(
                source=str(file),
                field="schemas",
                expected="is required: the handler file_written needs metadata schemas",
            )
        )
    problems += _client_options(settings, str(file))
    if problems:
        raise ConfigError(problems)
    _say(f"{file}: valid")
    enabled = [name for name, each in settings.consumers.items() if each.enabled]
    disabled = [name for name in settings.consumers if name not in enabled]
    rest = f" (disabled: {', '.join(disabled)})" if disabled else ""
    _say(f"  consumers: {', '.join(enabled) or 'none'}{rest}")
    _say(f"  metadata schemas: {schemas} in {settings.schemas}")
    for note in _notes(settings):
        _say(f"  note: {note}")
    for note in waiting_checks(settings):
        _say(f"  note: schedule: {note}")
    return _connect(settings, download=download) if connect or download else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _schemas_beside(file: Path) -> list[Problem]:
    """Return what is wrong with the schemas of a configuration that is wrong itself."""
    try:
        data, _ = read_yaml(file)
        folder = file.resolve().parent / data["schemas"]
        load_schemas(folder)
    except ConfigError as error:
        return error.problems
    except (BadYaml, KeyError, TypeError):
        # That is among the configuration's problems.
        return []
    return []


def _handlers(settings: Settings, source: str) -> list[Problem]:
    problems = []
    _, lines = read_yaml(Path(source))
    for name, consumer in settings.consumers.items():
        try:
            made_of = load_class(consumer)
            require_topics(settings, consumer, made_of)
            made_of.check(settings, consumer.options)
        except ConfigError as error:
            for problem in error.problems:
                placed = in_consumer(problem, name, source)
                line = line_of(lines, tuple(placed.field.split(".")))
                problems.append(
                    replace(placed, line=line) if placed.source == source else placed
                )
        except UnknownHandler as error:
            problems.append(
                Problem(
                    source=source,
                    field=f"consumers.{name}.{kind_of(consumer)}",
                    expected=str(error),
                )
            )
    return problems


def _client_options(settings: Settings, source: str) -> list[Problem]:
    """Let librdkafka itself say whether it knows the options; nothing is reached."""
    from confluent_kafka import KafkaException, Producer

    plain = {
        key: value
        for key, value in settings.kafka.client.items()
        if not key.endswith("_file")
    }
    # Files of secrets may be on another machine; but a name wants its password.
    plain |= {
        key.removesuffix("_file"): "unknown"
        for key in settings.kafka.client
        if key.startswith("sasl.") and key.endswith("_file")
    }
    try:
        Producer({k: _clear(v) for k, v in plain.items()}, logger=_SILENT)
    except KafkaException as error:
        return [
            Problem(source=source, field="kafka.client", expected=error.args[0].str())
        ]
    return []


def _clear(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _notes(settings: Settings) -> list[str]:
    """Return what is no mistake of the file's, but will be one of the machine's."""
    files = {
        "icat.password_file": settings.icat.password_file,
        "journal.password_file": settings.journal.password_file,
    }
    files |= {
        f"kafka.client.{key}": Path(str(value))
        for key, value in settings.kafka.client.items()
        if key.endswith("_file")
    }
    files["alerts.webhook_file"] = settings.alerts.webhook_file
    files["ids.key_file"] = settings.ids.key_file
    notes = [
        f"{field}: {path} {fault}"
        for field, path in files.items()
        if path is not None and (fault := _fault_of_secret(path))
    ]
    notes += [
        f"files.roots: {root} is no folder (yet)"
        for root in settings.files.roots
        if not root.is_dir()
    ]
    if settings.icat.password is None and settings.icat.password_file is None:
        notes.append("icat: neither password nor password_file is given")
    if settings.kafka.instance_id is None:
        notes.append(
            "kafka.instance_id is not set: after a crash inside a transaction its"
            " partitions wait for up to 20 s"
        )
    return notes


def _fault_of_secret(path: Path) -> str | None:
    """Return what is wrong with the file of a secret; the secret is not told."""
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "is not there (yet)"
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        return f"cannot be read: {reason}"
    if not text.strip():
        return "is empty"
    if len(text.strip().splitlines()) > 1:
        return "has more than one line: all of them are the secret"
    if mode & stat.S_IROTH:
        return "can be read by everybody on this machine: chmod 600"
    return None


def _connect(settings: Settings, *, download: bool) -> int:
    from icat_stream.catalogue import FacilityMissing
    from icat_stream.journal import journal_exists

    code = 0
    with Pipeline(settings, dry_run=True) as pipeline:
        checks: dict[str, Callable[[], None]] = {"kafka": lambda: _kafka(settings)}
        warnings = _integrations(pipeline, settings)
        checks |= pipeline.systems
        checks["icat"] = lambda: _icat(pipeline, settings)
        if download:
            checks["download"] = lambda: _download(pipeline)
        if not journal_exists(settings.journal):
            del checks["journal"]
            _say("  journal: will be made at the first start")
        for name, check in checks.items():
            try:
                check()
            except (FacilityMissing, ConfigError) as error:
                _say(f"  {name}: {error}")
                code = code or ExitCode.USAGE
            except (Failure, OSError) as error:
                _say(f"  {name}: {error}")
                code = ExitCode.UNAVAILABLE
            else:
                _say(f"  {name}: {'tried' if name == 'download' else 'reached'}")
                for warning in warnings.get(name, lambda: ())():
                    _say(f"  note: {name}: {warning}")
    return code


def _integrations(
    pipeline: Pipeline, settings: Settings
) -> dict[str, Callable[[], Sequence[str]]]:
    """Have the pipeline know the systems of integrations; return who warns of them."""
    names = [
        name
        for name, each in settings.consumers.items()
        if each.enabled and each.integration is not None
    ]
    if not names:
        return {}
    made = {each.name: each.consumer for each in pipeline.consumers(names)}
    return {n: cast("ExportConsumer", each).warnings for n, each in made.items()}


def _download(pipeline: Pipeline) -> None:
    """Read one byte of the file that was catalogued last."""
    session = pipeline.catalogue.session()
    try:
        client = pipeline.ids.client(session)
        newest = session.inventory().newest()
        if client is None or newest is None:
            what = "data service (ids.url)" if client is None else "datafile to try"
            _say(f"  download: there is no {what}")
            return
        _say(f"  download: datafile {newest.id}, {newest.location}")
        client.try_download(newest.id)
    finally:
        pipeline.catalogue.leave()


def _icat(pipeline: Pipeline, settings: Settings) -> None:
    pipeline.catalogue.open()
    _rights(pipeline, settings)
    kind = settings.policies.stubs.type
    if settings.policies.missing_investigations != "stub" or kind is None:
        return
    session = pipeline.catalogue.session()
    try:
        if session.spelling("InvestigationType", kind) is None:
            raise ConfigError(
                [
                    Problem(
                        source="configuration",
                        field="policies.stubs.type",
                        expected=f"is no InvestigationType of {settings.facility} in"
                        " ICAT: create it, or name another",
                        found=repr(kind),
                    )
                ]
            )
    finally:
        pipeline.catalogue.leave()


def _rights(pipeline: Pipeline, settings: Settings) -> None:
    """Say which rights the account may lack: a rule with conditions may give them."""
    wanted = {
        name: load_class(each).rights
        for name, each in settings.consumers.items()
        if each.enabled
    }
    session = pipeline.catalogue.session()
    try:
        for name, rights in wanted.items():
            lacking = session.rights_lacking(rights)
            if lacking:
                _say(
                    f"  note: icat: consumer {name} needs {', '.join(lacking)}, which"
                    f" no rule without conditions gives to {settings.icat.auth}/"
                    f"{settings.icat.username}; see `icat_stream docs icat-rights`"
                )
    finally:
        pipeline.catalogue.leave()


def _kafka(settings: Settings) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from icat_stream.stream import topic_faults

    client = AdminClient(settings.kafka.client_options(), logger=_SILENT)
    try:
        topics = client.list_topics(timeout=10).topics
    except KafkaException as error:
        raise SystemUnavailable(
            f"{settings.kafka.bootstrap_servers} does not answer:"
            f" {error.args[0].str()}",
            system="kafka",
        ) from error
    wanted = {t for c in settings.consumers.values() for t in c.topics if c.enabled}
    if settings.kafka.create_topics:
        wanted.discard(settings.events.topic)
    missing = sorted(wanted - set(topics))
    if missing:
        raise SystemUnavailable(
            f"topics {', '.join(missing)} are not there", system="kafka"
        )
    partitions = {name: len(topic.partitions) for name, topic in topics.items()}
    try:
        for name, consumer in settings.consumers.items():
            if consumer.enabled:
                for fault in topic_faults(settings, name, partitions):
                    _say(f"  kafka: {fault}")
    except KafkaException as error:
        # A right that we lack, or a broker that cannot tell, is no reason not to run.
        _say(f"  kafka: settings of topics are not known: {error.args[0].str()}")
