"""The data service's configuration."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)

from icat_stream.config import (
    BadYaml,
    Duration,
    Problem,
    Section,
    Size,
    TelemetrySettings,
    Url,
    anchored,
    line_of,
    read_secret,
    read_yaml,
)

# What ids.server takes is up to its operator; this much must be.
_SHORTEST_KEY = 12


class IcatAccess(Section):
    """The catalogue that allows or refuses."""

    url: Url
    timeout: Duration = Field(60.0, gt=0)


class PluginSettings(BaseModel):
    """A storage or mapping: which, and whatever else it wants to be told."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    plugin: str = "files"


class AccountSettings(Section):
    """An account of the service's own in ICAT."""

    auth: str
    username: str
    password: SecretStr | None = None
    password_file: Path | None = None

    def secret(self) -> str:
        """Return the password.

        Raises
        ------
        OSError
            Its file cannot be read.
        """
        return read_secret(self.password, self.password_file) or ""


class PreparedSettings(Section):
    """What prepareData keeps."""

    lifetime: Duration = 7 * 86_400.0
    user_count: int = Field(1000, ge=0)
    """Ids of one user."""
    user_size: Size = 256 * 2**20
    """Of the selections of one user, as they are kept."""


class LinkSettings(Section):
    """Hard links for those who can see the main storage."""

    lifetime: Duration = 3600.0
    folder: Path | None = None
    user_count: int = Field(1000, ge=0)
    """Links that one user may have at a time."""

    @property
    def enabled(self) -> bool:
        """Whether there are any."""
        return self.lifetime > 0


class QueueSettings(Section):
    """Work between the levels."""

    interval: Duration = Field(5.0, gt=0)
    write_delay: Duration = 60.0
    workers: int = Field(4, ge=1, le=64)


class WatermarkSettings(Section):
    """When and how far main storage is emptied into the archive."""

    high: Size
    low: Size
    interval: Duration = Field(60.0, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> "WatermarkSettings":
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class LimitSettings(Section):
    """What callers may take of the service."""

    connections: int = Field(1000, ge=1)
    head: Duration = Field(30.0, gt=0)
    """For a request's head to arrive."""
    idle: Duration = Field(120.0, gt=0)
    """In which a caller sends or takes something of a body, or is gone."""
    file_size: Size | None = None
    """Of one put."""
    user_size: Size | None = None
    """Of all puts of one user that are not finished."""


class TlsSettings(Section):
    """HTTPS with a certificate of one's own, where no proxy has one."""

    certificate: Path
    """PEM, with those between it and the root."""
    key: Path
    """PEM, without a passphrase."""


class DataServiceSettings(Section):
    """All of it."""

    icat: IcatAccess
    main_storage: PluginSettings
    archive_storage: PluginSettings | None = None
    zip_mapper: PluginSettings = PluginSettings(plugin="icat")
    storage_unit: Literal["dataset", "datafile"] = "dataset"
    compress_archive: bool = True
    listen: Annotated[str, Field(pattern=r"^[^:\s]+:\d{1,5}$")] = "127.0.0.1:8082"
    folder: Path = Path("dataservice")
    read_only: bool = False
    root_users: tuple[str, ...] = ()
    reader: AccountSettings | None = None
    writer: AccountSettings | None = None
    key_file: Path | None = None
    prepared: PreparedSettings = PreparedSettings()
    links: LinkSettings = LinkSettings()
    queue: QueueSettings = QueueSettings()
    watermarks: WatermarkSettings | None = None
    tls: TlsSettings | None = None
    limits: LimitSettings = LimitSettings()
    storage_timeout: Duration = Field(60.0, gt=0)
    stop_within: Duration = 10.0
    telemetry: TelemetrySettings = TelemetrySettings()
    _file: Path = PrivateAttr(default=Path())

    @property
    def base(self) -> Path:
        """The folder that relative paths of plugins are relative to."""
        return self._file.parent

    def key(self) -> str | None:
        """Return the secret with which locations are signed, if they are.

        Raises
        ------
        SettingsError
            It cannot be read, or is none.
        """
        if self.key_file is None:
            return None
        try:
            key = read_secret(None, self.key_file) or ""
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"key_file {self.key_file}: {error}") from None
        if len(key) < _SHORTEST_KEY:
            raise SettingsError(
                f"key_file {self.key_file}: expected {_SHORTEST_KEY} letters or more,"
                " which nobody can guess"
            )
        return key

    def own_paths(self) -> dict[str, Path]:
        """Return by their keys the files and folders that no caller may ever see."""
        paths: dict[str, Path | None] = {
            "the configuration": self._file,
            "folder": self.folder,
            "links.folder": self.links.folder,
            "reader.password_file": getattr(self.reader, "password_file", None),
            "writer.password_file": getattr(self.writer, "password_file", None),
            "key_file": self.key_file,
            "tls.key": getattr(self.tls, "key", None),
            "telemetry.log_file": self.telemetry.log_file,
        }
        return {key: path for key, path in paths.items() if path is not None}

    @property
    def two_level(self) -> bool:
        """Whether there is an archive."""
        return self.archive_storage is not None

    @model_validator(mode="after")
    def _complete(self) -> "DataServiceSettings":
        if self.two_level and self.reader is None:
            raise ValueError(
                "archive_storage needs a reader: the account with which data is"
                " looked up in the background"
            )
        if self.watermarks is not None and not self.two_level:
            raise ValueError("watermarks need an archive_storage")
        return self


class SettingsError(Exception):
    """The configuration cannot be used."""


def load(file: Path) -> DataServiceSettings:
    """Load the configuration; relative paths in it are relative to its folder.

    Parameters
    ----------
    file
        YAML.

    Raises
    ------
    SettingsError
        Naming every mistake.
    """
    try:
        data, lines = read_yaml(file)
    except BadYaml as error:
        raise _refused(
            Problem(source=str(file), line=m.line, field=m.field, expected=m.expected)
            for m in error.mistakes
        ) from None
    if isinstance(data, dict):
        # Services that share a folder of configurations do not share their state.
        data.setdefault("folder", f"{file.stem}.state")
    try:
        settings = DataServiceSettings.model_validate(data)
    except ValidationError as error:
        paths = [(tuple(map(str, e["loc"])), str(e["msg"])) for e in error.errors()]
        raise _refused(
            Problem(
                source=str(file),
                line=line_of(lines, path),
                field=".".join(path) or "-",
                expected=expected,
            )
            for path, expected in paths
        ) from None
    settings = anchored(settings, file.resolve().parent)
    settings._file = file.resolve()  # noqa: SLF001 - not for the file to say
    return settings


def _refused(problems: Iterable[Problem]) -> SettingsError:
    return SettingsError("\n".join(map(str, problems)))
