"""Reading the configuration file, with errors that say where and what."""

import configparser
import difflib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import SettingsError

from .paths import anchored
from .settings import ENV_PREFIX, ConsumerSettings, Settings
from .yaml_lines import BadYaml, Lines, line_of, read_yaml

# Variables of ours that are no settings: for fault tests, and the sandbox's broker.
_NO_SETTINGS = ("ICAT_STREAM_FAULT", "ICAT_STREAM_KAFKA_JARS")
_ICAT_CFG_FOLDERS = ("/etc/icat", "~/.config/icat", "~/.icat", ".")
_NOT_SHOWN = "(not shown)"
_SHORTEST = 4
# Parts of the names of keys with secrets, also where they are mistyped a little.
_SECRET = ("passw", "passphrase", "secret", "key", "client", "token", "webhook")
_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a configuration.

    Parameters
    ----------
    source
        File or environment variable.
    line
        In the file, from 1.
    field
        Dotted, ``kafka.start``.
    found
        The value as text, shortened; secrets are never shown.
    expected
        What would be right.
    nearest
        The known key that was probably meant.
    """

    source: str
    field: str
    expected: str
    line: int | None = None
    found: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        text = f"{where}: {self.field}: {self.expected}"
        if self.found is not None:
            text += f" (found: {self.found})"
        if self.nearest is not None:
            text += f"; did you mean {self.nearest}?"
        return text


class ConfigError(Exception):
    """The configuration cannot be used.

    Parameters
    ----------
    problems
        All that were found.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load(file: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Load a configuration.

    Parameters
    ----------
    file
        YAML; relative paths in it are relative to its folder.
    environ
        For the ``ICAT_*`` variables, :data:`os.environ` by default.  (The
        ``ICAT_STREAM_*`` variables are always read from :data:`os.environ`.)

    Raises
    ------
    ConfigError
        With every problem found.
    """
    environ = os.environ if environ is None else environ
    data, lines = _read(file)
    for key, value in _icat_defaults(environ, file).items():
        section = data.setdefault(key, {})
        if isinstance(section, dict):
            if "password_file" in section:
                value.pop("password", None)
            data[key] = {**value, **section}
    problems = [_unknown_variable(name) for name in os.environ if _is_unknown(name)]
    _drop_weaker_secrets(data)
    try:
        settings = Settings(**data)
    except SettingsError as error:
        # A list or an object in the environment is JSON.
        raise ConfigError(
            [
                *problems,
                Problem(
                    source="environment",
                    field="-",
                    expected=f"{error}: expected JSON, such as '[\"/data\"]'",
                ),
            ]
        ) from None
    except ValidationError as error:
        found = [_problem(detail, data, lines, str(file)) for detail in error.errors()]
        problems += sorted(found, key=lambda problem: problem.line or 0)
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    return _anchored(settings, file.resolve().parent)


def _drop_weaker_secrets(data: dict[str, Any]) -> None:
    """Let a secret of the environment replace the file's, in either form."""
    for section in ("icat", "journal"):
        given = data.get(section)
        if not isinstance(given, dict):
            continue
        prefix = f"{ENV_PREFIX}{section.upper()}__PASSWORD"
        if os.environ.get(prefix):
            given.pop("password_file", None)
        if os.environ.get(f"{prefix}_FILE"):
            given.pop("password", None)


def _read(file: Path) -> tuple[dict[str, Any], Lines]:
    try:
        data, lines = read_yaml(file, text_keys=True)
    except BadYaml as error:
        raise ConfigError(
            [
                Problem(
                    source=str(file),
                    line=mistake.line,
                    field=mistake.field,
                    expected=mistake.expected,
                )
                for mistake in error.mistakes
            ]
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(
            [Problem(source=str(file), line=1, field="-", expected="expected sections")]
        )
    return data, lines


def _icat_defaults(environ: Mapping[str, str], file: Path) -> dict[str, dict[str, Any]]:
    """Return what python-icat's own configuration says: the weakest source."""
    icat: dict[str, Any] = {}
    ids: dict[str, Any] = {}
    section = environ.get("ICAT_CFG_SECTION")
    if section:
        icat_cfg = environ.get("ICAT_CFG")
        candidates = (
            [Path(icat_cfg)]
            if icat_cfg
            else [Path(f).expanduser() / "icat.cfg" for f in _ICAT_CFG_FOLDERS]
        )
        parser = configparser.ConfigParser(interpolation=None)
        found = parser.read(candidates, encoding="utf-8")
        if section not in parser:
            raise ConfigError(
                [
                    Problem(
                        source=", ".join(found or map(str, candidates)),
                        field=f"[{section}]",
                        expected="no such section, but ICAT_CFG_SECTION names it",
                    )
                ]
            )
        values = parser[section]
        icat = {
            key: values[name]
            for key, name in (
                ("url", "url"),
                ("auth", "auth"),
                ("username", "username"),
                ("password", "password"),
            )
            if name in values
        }
        ids = {"url": values["idsurl"]} if "idsurl" in values else {}
    for variable, target, key in (
        ("ICAT_SERVICE", icat, "url"),
        ("ICAT_AUTH", icat, "auth"),
        ("ICAT_USER", icat, "username"),
        ("ICAT_DATA_SERVICE", ids, "url"),
    ):
        if environ.get(variable):
            target[key] = environ[variable]
    if "url" in icat:
        icat["url"] = icat["url"].removesuffix("/ICATService/ICAT?wsdl").rstrip("/")
    return {k: v for k, v in (("icat", icat), ("ids", ids)) if v}


def _is_unknown(variable: str) -> bool:
    if not variable.upper().startswith(ENV_PREFIX) or variable in _NO_SETTINGS:
        return False
    model: Any = Settings
    for part in variable[len(ENV_PREFIX) :].lower().split("__"):
        if not _is_model(model):
            return False
        if part not in model.model_fields:
            return True
        model = model.model_fields[part].annotation
    return False


def _unknown_variable(variable: str) -> Problem:
    names = [
        ENV_PREFIX + "__".join(part.upper() for part in path) for path in _leaves()
    ]
    near = difflib.get_close_matches(variable, names, n=1)
    return Problem(
        source="environment",
        field=variable,
        expected="is no known setting",
        nearest=near[0] if near else None,
    )


def _leaves(
    model: type[BaseModel] = Settings, path: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    found = []
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += _leaves(inner, (*path, name))
        else:
            found.append((*path, name))
    return found


def _problem(detail: Any, data: Any, lines: Lines, file: str) -> Problem:
    # A union adds the tried type's name to the location: only real keys count.
    path: tuple[str, ...] = ()
    value: Any = data
    model: Any = Settings
    for part in detail["loc"]:
        if not _is_model(model) and get_origin(model) not in (dict, list):
            break
        path = (*path, str(part))
        model = _inner(model, str(part))
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
    field = ".".join(path) or "-"
    variable = ENV_PREFIX + "__".join(part.upper() for part in path)
    in_environment = path and variable in os.environ
    line = None if in_environment else line_of(lines, path)
    expected = detail["msg"].removeprefix("Value error, ")
    nearest = None
    if detail["type"] == "extra_forbidden":
        elsewhere = [p for p in _places() if p[-1] == path[-1]]
        if elsewhere:
            expected = "is no known key at this indentation"
            nearest = " or ".join(".".join(place) for place in elsewhere[:3])
        else:
            expected = "is no known key"
            near = difflib.get_close_matches(path[-1], _known_keys(path[:-1]), n=1)
            nearest = near[0] if near else None
    elif detail["type"] == "missing":
        expected = "is required"
    elif detail["type"] in ("model_type", "dict_type"):
        expected = "expected keys, indented below it"
    secrets = _secrets(data)
    given = os.environ[variable] if in_environment else value
    return Problem(
        source=variable if in_environment else file,
        line=line,
        field=field,
        expected=_without(secrets, expected),
        found=_found(detail["type"], path, model, given, secrets),
        nearest=nearest,
    )


def _found(
    mistake: str,
    path: tuple[str, ...],
    model: Any,
    value: Any,
    secrets: Collection[str],
) -> str | None:
    """Return a wrong value as it may be shown, if it may."""
    if mistake in ("missing", "extra_forbidden") or isinstance(value, dict) or not path:
        # Of a key that nobody knows, nobody knows whether its value is a secret.
        return None
    if value is None:
        return "nothing"
    if mistake in ("model_type", "dict_type"):
        return f"{type(value).__name__}, not shown"
    if _is_secret(path) or SecretStr in (model, *get_args(model)):
        return _NOT_SHOWN
    found = value if isinstance(value, str) else repr(value)
    found = _without(secrets, found)
    # A user and a password before a host, whatever they are made of; and a query.
    found = re.sub(r"(//)?[^'\",\s]*@", rf"\1{_NOT_SHOWN}@", found)
    found = re.sub(r"\?.*", f"?{_NOT_SHOWN}", found)
    # A user may have been forgotten before it.
    found = re.sub(r":(?!//|\d*(?:[^\w.-]|$))[^/\s]+", f":{_NOT_SHOWN}", found)
    found = found if len(found) <= 80 else found[:79] + "…"
    return repr(found) if isinstance(value, str) else found


def _secrets(data: Any, path: tuple[str, ...] = ()) -> set[str]:
    """Return all secrets of a configuration: an alias brings one to other keys, too."""
    if isinstance(data, dict):
        return {
            secret
            for key, value in data.items()
            for secret in _secrets(value, (*path, str(key)))
        }
    if isinstance(data, list):
        return {secret for value in data for secret in _secrets(value, path)}
    secret = data is not None and not isinstance(data, bool) and _is_secret(path)
    # Shorter ones are parts of any word.
    return {str(data)} if secret and len(str(data)) >= _SHORTEST else set()


def _is_secret(path: tuple[str, ...]) -> bool:
    name = ".".join(path).lower()
    return any(word in name for word in _SECRET) and not name.endswith("_file")


def _without(secrets: Collection[str], text: str) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _NOT_SHOWN)
    return text


def _places() -> list[tuple[str, ...]]:
    """Return all places of keys: sections, settings, and those of each consumer."""
    leaves = _leaves()
    sections = {path[:length] for path in leaves for length in range(1, len(path))}
    consumer = [("consumers", "NAME", *path) for path in _leaves(ConsumerSettings)]
    return [*sections, *leaves, *consumer]


def _known_keys(path: tuple[str, ...]) -> list[str]:
    model: Any = Settings
    for part in path:
        model = _inner(model, part)
    return list(model.model_fields) if _is_model(model) else []


def _is_model(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)


def _inner(model: Any, key: str) -> Any:
    """Return the type of what stands below a key, or ``None``."""
    if _is_model(model):
        info = model.model_fields.get(key)
        return None if info is None else info.annotation
    return get_args(model)[-1] if get_origin(model) in (dict, list) else None


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Make relative paths absolute, also those that are part of a text."""
    settings = anchored(settings, folder)
    updates: dict[str, Any] = {}
    journal = settings.journal
    prefix, _, database = journal.url.partition(":///")
    if prefix.startswith("sqlite") and database and not database.startswith("/"):
        url = f"{prefix}:////{folder.relative_to('/')}/{database}"
        updates["journal"] = journal.model_copy(update={"url": url})
    client = {
        key: str(folder / str(value)) if key.endswith("_file") else value
        for key, value in settings.kafka.client.items()
    }
    updates["kafka"] = settings.kafka.model_copy(update={"client": client})
    updates["consumers"] = {
        name: consumer.model_copy(
            update={"options": _options(consumer.options, folder)}
        )
        for name, consumer in settings.consumers.items()
    }
    return settings.model_copy(update=updates)


def _options(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Anchor files, of secrets and others, and the field maps that are files."""
    found = {
        key: str(folder / value)
        if key.endswith("_file") and isinstance(value, str)
        else value
        for key, value in options.items()
    }
    maps = found.get("maps")
    if isinstance(maps, list):
        # Others are names of shipped ones.
        found["maps"] = [
            str(folder / name)
            if isinstance(name, str) and ("/" in name or name.endswith(_YAML))
            else name
            for name in maps
        ]
    return found
