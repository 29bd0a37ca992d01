"""The configuration's models, one class a section.

The descriptions become the comments of the sample; the names are a contract.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from .value_types import Duration, Size, is_loopback, read_secret, template_fields

ENV_PREFIX = "ICAT_STREAM_"
LOCATION_FIELDS = ("relative_path", "path", "name", "investigation", "visit_id")
CONFINE_FIELDS = ("root", "investigation", "visit_id")
DISABLED_SUFFIX = "__user_disabled"
DISABLED_MARK = " (disabled)"
_SECRET_KEY = re.compile(r"(password|secret|key|pem)$")
_OWNED_BY_THE_CORE = {
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "linger.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "queue.buffering.max.ms",
    "transaction.timeout.ms",
    "transactional.id",
}


def _dotted(option: str) -> str:
    # Variables of the environment cannot have dots, librdkafka's options have no
    # underscores: ICAT_STREAM_KAFKA__CLIENT__SASL_USERNAME is sasl.username.
    suffix = "_file" if option.endswith("_file") else ""
    return option.removesuffix("_file").replace("_", ".") + suffix


# A name, or a class by its place.
_CLASS = r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$"
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in value:
        raise ValueError("expected http://host[:port][/path], or https")
    if parts.username is not None or parts.password is not None:
        raise ValueError("expected a URL without a user: it would show in logs")
    try:
        _ = parts.port
    except ValueError:
        # What stands there may be a password whose user was forgotten.
        raise ValueError("expected a port from 0 to 65535") from None
    return value


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected host:port, with a port from 0 to 65535")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("expected an IPv6 address in brackets: [::1]:8081")
    return value


Url = Annotated[str, AfterValidator(_url)]
Address = Annotated[str, AfterValidator(_address)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
# Of parts of ours, beside which a consumer of that name would be taken for one.
_RESERVED = ("journal", "parked")


class Section(BaseModel):
    """A section: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True
    )


class PasswordSection(Section):
    """A section that has a password, or the name of a file with it, or neither."""

    if TYPE_CHECKING:
        # Where they stand among its other keys, each section says.
        password: SecretStr | None
        password_file: Path | None

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        return self

    def secret(self) -> str | None:
        """Return the password.

        Raises
        ------
        OSError
            Its file cannot be read.
        """
        return read_secret(self.password, self.password_file)


class KafkaSettings(Section):
    """The Kafka cluster, and who we are there."""

    bootstrap_servers: str = Field(
        "127.0.0.1:9092", min_length=1, description="host:port[,host:port…] of brokers."
    )
    group_id: Name = Field(
        "icat-stream",
        description="Groups are <group_id>.<consumer>; so are retry topics.",
    )
    instance_id: Name | None = Field(
        None,
        description="A name of this instance that survives restarts, such as the"
        " host's. With it a restarted daemon ends at once what its last run left open"
        " in Kafka; without it that takes up to 20 s. No two running instances may"
        " share one.",
    )
    static_membership: bool = Field(
        False,
        description="Let the group know this instance by its instance_id: after a"
        " crash its partitions wait for it until the session ends (6 s), and move to"
        " nobody if it is back by then. Not with brokers that crash: a group of such"
        " members may then stand still.",
    )
    start: Literal["earliest", "latest", "error"] = Field(
        "earliest", description="Where a group without offsets begins."
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic",
        description="`consumer` is KIP-848: its session timeout is the broker's, and of"
        " several topics it shares out each by itself.",
    )
    create_topics: bool = Field(
        True, description="Create our own topics (events, retries, dead letters)."
    )
    partitions: int = Field(
        3,
        ge=1,
        description="Partitions of topics we create, but for those of what waits: they"
        " have as many as where it comes from.",
    )
    replication_factor: int = Field(
        -1, ge=-1, description="Replication of topics we create; -1: the broker's."
    )
    client: dict[str, str | int | float | bool | SecretStr] = Field(
        default_factory=dict,
        description="Any librdkafka option that the core does not own, such as"
        " security.protocol. A secret may stand in a file: sasl.password_file.",
    )

    @model_validator(mode="after")
    def _a_static_member_has_a_name(self) -> "KafkaSettings":
        if self.static_membership and self.instance_id is None:
            raise ValueError("static_membership needs an instance_id")
        return self

    @field_validator("client")
    @classmethod
    def _no_core_options(cls, client: dict[str, Any]) -> dict[str, Any]:
        client = {_dotted(key): value for key, value in client.items()}
        owned = sorted(_OWNED_BY_THE_CORE.intersection(client))
        if owned:
            raise ValueError(f"{', '.join(owned)}: the stream core owns these options")
        return {
            key: SecretStr(str(value))
            if _SECRET_KEY.search(key) and not isinstance(value, SecretStr)
            else value
            for key, value in client.items()
        }

    def client_options(self) -> dict[str, Any]:
        """Return librdkafka options with secrets in clear: never log them.

        Raises
        ------
        OSError
            A secret's file cannot be read.
        """
        options: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            # A broker that comes back may name no brokers at first, and librdkafka
            # forgets all that it knew (issue 5301). It asks the bootstrap servers anew
            # after so long, by default 5 min.
            "metadata.recovery.rebootstrap.trigger.ms": 10_000,
        }
        for key, value in self.client.items():
            if key.endswith("_file"):
                options[key.removesuffix("_file")] = read_secret(None, Path(str(value)))
            elif isinstance(value, SecretStr):
                options[key] = value.get_secret_value()
            else:
                options[key] = value
        return options


CA_FILE: Any = Field(
    None,
    description="For https: certificates (PEM) of the authorities to trust, instead of"
    " the system's.",
)


class IcatSettings(PasswordSection):
    """The catalogue."""

    url: Url = Field("http://127.0.0.1:8080", description="Of icat.server.")
    auth: str = Field("simple", min_length=1, description="Authenticator's mnemonic.")
    username: str = Field("ingest", description="Best one of ICAT's rootUserNames.")
    password: SecretStr | None = Field(
        None, description="Rather use password_file or ICAT_STREAM_ICAT__PASSWORD."
    )
    password_file: Path | None = Field(
        None,
        description="File with the password.",
        json_schema_extra={"sample": "secrets/icat"},
    )
    timeout: Duration = Field(
        60.0, description="A call without an answer for so long is given up."
    )
    ca_file: Path | None = CA_FILE
    cache: Duration = Field(
        600.0, description="How long reference data (types, instruments) is believed."
    )

    def secret(self) -> str:
        """Return the password; an empty text if none is given."""
        return super().secret() or ""


class LocationSettings(Section):
    """How Datafile.location is made for files registered in place."""

    root: Path = Field(Path("/data"), description="The data service's main storage.")
    template: str = Field(
        "{relative_path}",
        description="Of {relative_path} (below root), {path}, {name},"
        " {investigation}, {visit_id}.",
    )

    @field_validator("template")
    @classmethod
    def _known_fields(cls, template: str) -> str:
        unknown = set(template_fields(template)) - set(LOCATION_FIELDS)
        if unknown:
            raise ValueError(
                f"unknown placeholder {', '.join(sorted(unknown))};"
                f" known: {', '.join(LOCATION_FIELDS)}"
            )
        return template


class IdsSettings(Section):
    """The ICAT Data Service."""

    url: Url | None = Field(
        "http://127.0.0.1:8080/ids", description="null: there is none."
    )
    mode: Literal["register", "put"] = Field(
        "register",
        description="register: files stay where they are. put: upload them.",
    )
    location: LocationSettings = Field(
        default_factory=LocationSettings, description="For mode register."
    )
    timeout: Duration = Field(60.0, description="Without any byte for so long: failed.")
    ca_file: Path | None = CA_FILE
    key_file: Path | None = Field(
        None,
        description="For mode register: file with the key of the data service, where it"
        " has one (ids.server: `key`, ours: `key_file`), and serves no location without"
        " its digest.",
    )

    def key(self) -> str | None:
        """Return the key of locations, ``None`` where there is none.

        Raises
        ------
        OSError
            Its file cannot be read.
        """
        return read_secret(None, self.key_file)


class FormatSettings(Section):
    """A datafile format of the facility."""

    name: str = Field("JSON", min_length=1, max_length=255, description="Its name.")
    version: str = Field("1.0", max_length=255, description="Its version.")


class KeepMessageSettings(Section):
    """The announcement itself, kept as a JSON file beside the data."""

    enabled: bool = Field(False, description="Keep it.")
    folder: str = Field(".", description="Relative to the data file's folder.")
    suffix: str = Field(
        ".message.json", description="Appended to the data file's name."
    )

    format: FormatSettings = Field(
        default_factory=lambda: FormatSettings(),
        description="Its datafile format, which must be in the catalogue.",
    )

    @field_validator("folder")
    @classmethod
    def _stays_near(cls, folder: str) -> str:
        if Path(folder).is_absolute():
            raise ValueError("expected a folder relative to the data file's")
        return folder


class FileSettings(Section):
    """Announced files, and how they are looked at."""

    roots: list[Path] = Field(
        default_factory=lambda: [Path("/data")],
        min_length=1,
        description="Files outside these folders are refused, never opened.",
    )
    confine: list[str] = Field(
        default_factory=list,
        description="Where files of an investigation must lie: below one of these,"
        " which may name {investigation}, {visit_id} and {root} (ids.location.root)."
        " Others are refused: the data service would hand them out as this"
        " investigation's. Empty: anywhere below roots.",
        json_schema_extra={"sample": ["{root}/{investigation}"]},
    )
    path_map: dict[str, str] = Field(
        default_factory=dict,
        description="From paths as the file writer sees them to paths on this host;"
        " the longest matching prefix counts. Windows' too:"
        r" 'C:\Data', '\\server\share'.",
        json_schema_extra={"sample": {"/writer/data": "/data"}},
    )
    settle: Duration = Field(
        2.0,
        description="A file is finished when it is read-only or unchanged so long.",
    )
    settle_deadline: Duration = Field(
        60.0, description="Not finished after so long: put off to a retry topic."
    )
    workers: int = Field(2, ge=1, le=64, description="Processes that read files.")
    deadline: Duration = Field(
        30.0, description="For reading one file, once a process is free for it."
    )
    memory: Size = Field(2**31, description="Limit of a reading process.")
    max_array: Size = Field(
        2**22,
        le=2**24,
        description="Of one list of values, such as a log; a file whose schema wants a"
        " larger one is refused.",
    )
    max_stuck: int = Field(
        4, ge=1, description="Readers stuck on a dead mount before we pause."
    )
    checksum: Literal["none", "xxh3_64", "xxh3_128", "sha256", "blake2b"] = Field(
        "none",
        description="Datafile.checksum, made before the dataset is; costs far more than"
        " all else: rather enable the consumer checksums.",
    )
    keep_message: KeepMessageSettings = Field(
        default_factory=KeepMessageSettings, description="Off by default."
    )

    @field_validator("confine")
    @classmethod
    def _of_investigations(cls, templates: list[str]) -> list[str]:
        for template in templates:
            unknown = set(template_fields(template)) - set(CONFINE_FIELDS)
            if unknown:
                raise ValueError(
                    f"unknown placeholder {', '.join(sorted(unknown))};"
                    f" known: {', '.join(CONFINE_FIELDS)}"
                )
            if not template.startswith(("/", "{root}")) or "{" not in template:
                raise ValueError(
                    "expected absolute folders, or some below {root}, with a"
                    " placeholder"
                )
        return templates

    @field_validator("roots")
    @classmethod
    def _absolute(cls, roots: list[Path]) -> list[Path]:
        if any(".." in root.parts for root in roots):
            raise ValueError("expected folders without '..'")
        return roots


class JournalSettings(Section):
    """The journal: one row an outcome."""

    url: str = Field(
        "sqlite:///journal.db",
        description="An SQLAlchemy URL; a relative SQLite path is relative to this"
        " file.",
    )
    password_file: Path | None = Field(
        None, description="File with the database's password."
    )
    timeout: Duration = Field(
        60.0,
        ge=0.1,
        description="PostgreSQL: a statement that takes longer is given up, and the"
        " journal is down.",
    )
    payload: bool = Field(
        True, description="Keep what the records say, compressed, without secrets."
    )
    payload_limit: Size = Field(2**20, description="Larger ones are not kept.")
    retention: Duration | None = Field(
        None,
        description="Rows of older records are dropped, a month at a time in"
        " PostgreSQL; null: never.",
        json_schema_extra={"sample": "730d"},
    )

    @model_validator(mode="before")
    @classmethod
    def _without_required(cls, given: Any) -> Any:
        if isinstance(given, dict) and "required" in given:
            raise ValueError(
                "required is no setting any more: nothing waits for the journal now,"
                " and no row is lost while it is down; remove the line"
            )
        return given

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        kind = url.partition(":")[0].partition("+")[0]
        if kind not in ("sqlite", "postgresql"):
            raise ValueError(
                "expected sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
            )
        return url

    @model_validator(mode="after")
    def _one_password(self) -> "JournalSettings":
        if self.password_file is not None and urlsplit(self.url).password is not None:
            raise ValueError("the URL has a password, and there is a password_file")
        return self


class EventSettings(Section):
    """What others read."""

    topic: TopicName = Field("icat-stream.events", description="Name of the topic.")


class OutcomeSettings(Section):
    """What became of each record: the journal is made of it."""

    topic: TopicName = Field("icat-stream.outcomes", description="Name of the topic.")
    retention: Duration = Field(
        30 * 86400.0,
        ge=60,
        description="For how long it keeps them: a journal that is down for longer has"
        " a gap, and one that is lost comes back as far as that.",
        json_schema_extra={"sample": "30d"},
    )


class DeadLetterSettings(Section):
    """What was rejected."""

    topic: TopicName = Field(
        "icat-stream.dead-letters", description="Name of the topic."
    )


class RetrySettings(Section):
    """What is put off."""

    delays: list[Duration] = Field(
        default_factory=lambda: [30.0, 300.0, 3600.0],
        min_length=1,
        max_length=10,
        description="One retry topic each; after the last one: dead letter.",
    )
    park_for: Duration = Field(
        7 * 86400.0,
        description="How long a record waits for what it refers to.",
    )
    lane_attempts: int = Field(
        3, ge=3, le=20, description="Tries before a record is put off."
    )


class RejectLimit(Section):
    """When to stop instead of draining a topic into the dead letters."""

    ratio: float = Field(
        0.5, gt=0, le=1, description="Rejected of all records; 1 never stops."
    )
    minimum: int = Field(100, ge=1, description="Rejected records, at least.")
    window: Duration = Field(600.0, description="Looked at.")


class LimitSettings(Section):
    """Bounds."""

    rejects: RejectLimit = Field(
        default_factory=RejectLimit, description="Beyond it the daemon stops, exit 3."
    )
    in_flight: int = Field(
        4000, ge=16, description="Records handed out and not committed, a consumer."
    )
    in_flight_bytes: Size = Field(
        64 * 2**20,
        ge=2**20,
        description="Their bytes; at most what was fetched meanwhile comes on top.",
    )
    stop: Duration = Field(10.0, description="A stop or a rebalance takes no longer.")


class MessageSettings(Section):
    """What is taken from a topic."""

    max_bytes: Size = Field(
        16 * 2**20, description="Larger records are refused (known echoes: ignored)."
    )


class StubSettings(Section):
    """Investigations that are made before anybody has told of them."""

    type: str | None = Field(
        None,
        min_length=1,
        description="Their type, which ICAT must have; required with stub.",
        json_schema_extra={"sample": "experiment"},
    )
    visit_id: str = Field(
        "1",
        min_length=1,
        max_length=255,
        description="Where a message names no visit; as the user office's will be.",
    )


class PolicySettings(Section):
    """What to do where a facility may choose."""

    unknown_parameter_types: Literal["reject", "create", "skip", "park"] = Field(
        "reject", description="A parameter type that ICAT does not have."
    )
    missing_investigations: Literal["park", "stub", "reject"] = Field(
        "park",
        description="An investigation that ICAT does not have (yet). stub: a minimal"
        " one is made; its own message fills it in.",
    )
    stubs: StubSettings = Field(
        default_factory=StubSettings, description="With missing_investigations: stub."
    )
    missing_samples: Literal["create", "skip", "reject"] = Field(
        "create", description="A sample that the investigation does not have."
    )
    missing_techniques: Literal["create", "skip", "reject"] = Field(
        "skip", description="A technique that ICAT does not have."
    )
    missing_instruments: Literal["skip", "reject", "park"] = Field(
        "reject", description="An instrument that the facility does not have."
    )
    existing_datasets: Literal["reject", "update", "new_name"] = Field(
        "reject", description="A dataset of that name is there and differs."
    )
    removed_members: Literal["keep", "delete"] = Field(
        "keep",
        description="Users, instruments, shifts, keywords, cycles of an investigation"
        " that its newest snapshot does not list.",
    )
    user_names: str = Field(
        "{username}",
        description="How accounts of the user office are called in ICAT, such as"
        " oidc/{username}.",
    )
    disabled_users: Literal["rename", "mark", "keep"] = Field(
        "rename",
        description="Of disabled accounts. rename: name__user_disabled; mark: the"
        " full name says so.",
    )
    names: Literal["exact", "ignore_case"] = Field(
        "exact",
        description="How names in messages and files are looked for: investigations,"
        " visits, instruments, techniques, samples, accounts, keywords and others."
        " ignore_case: first exactly, then in whatever letters, if that is one.",
    )
    unusable_details: Literal["skip", "reject"] = Field(
        "skip",
        description="An email address or ORCID of a person that is none. skip: it is"
        " left out with a note, and the person is brought in without it.",
    )
    error_encountered: Literal["ignore", "reject", "incomplete"] = Field(
        "ignore", description="The file writer reports an error."
    )

    @field_validator("user_names")
    @classmethod
    def _of_username(cls, template: str) -> str:
        if set(template_fields(template)) != {"username"}:
            raise ValueError("expected a text with {username}, and nothing else in {}")
        return template

    @model_validator(mode="after")
    def _stubs_have_a_type(self) -> "PolicySettings":
        if self.missing_investigations == "stub" and self.stubs.type is None:
            raise ValueError(
                "stubs.type: is required with missing_investigations: stub; ICAT takes"
                " no investigation without a type"
            )
        return self

    @property
    def ignore_case(self) -> bool:
        """Whether names are looked for in whatever letters."""
        return self.names == "ignore_case"

    def names_of(self, user: str) -> tuple[str, ...]:
        """Return what a user of ICAT may be called: enabled, and maybe disabled."""
        if self.disabled_users == "rename":
            return (user, user + DISABLED_SUFFIX)
        return (user,)


class HealthSettings(Section):
    """The health endpoint."""

    listen: Address | None = Field(
        None,
        description="host:port for GET /health, /health/live, /health/ready,"
        " /health/startup, /metrics; null: none. No password: keep it on loopback.",
        json_schema_extra={"sample": "127.0.0.1:8081"},
    )
    every: Duration = Field(
        10.0, ge=0.1, description="How often Kafka, ICAT, IDS, journal, disk are asked."
    )
    stuck: Duration = Field(
        600.0,
        description="A lane so long at one record, or a transaction, is stuck: the"
        " daemon is not live.",
    )


class AlertSettings(Section):
    """Who is told what is wrong."""

    webhook: SecretStr | None = Field(
        None,
        description="http(s)://… to POST alerts to; rather in webhook_file, as chat"
        " tools put a secret into it.",
    )
    webhook_file: Path | None = Field(None, description="File with that URL.")
    format: Literal["json", "chat"] = Field(
        "json", description='chat: {"text": …}, as Slack and Mattermost take it.'
    )
    docs: Url | None = Field(
        None,
        description="Where this documentation is published; alerts name its pages.",
    )
    every: Duration = Field(10.0, ge=0.1, description="How often to look.")
    hold: Duration = Field(
        60.0, description="What lasts no longer is not told; nor is a shorter end."
    )
    repeat: Duration = Field(4 * 3600.0, description="Told again after so long.")
    lag: int = Field(10_000, ge=0, description="More records of a topic wait.")
    rejects: int = Field(20, ge=0, description="More records were rejected …")
    rejects_window: Duration = Field(600.0, description="… in so long.")
    dead_letters: int = Field(0, ge=0, description="More dead letters wait.")
    disk_free: float = Field(
        0.1, ge=0, le=1, description="Less of the journal's or the logs' disk is free."
    )

    @model_validator(mode="after")
    def _one_url(self) -> "AlertSettings":
        if self.webhook is not None:
            if self.webhook_file is not None:
                raise ValueError("give webhook or webhook_file, not both")
            parts = urlsplit(self.webhook.get_secret_value())
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("webhook: expected http://… or https://…")
        return self

    @property
    def has_webhook(self) -> bool:
        """Whether anybody is told."""
        return self.webhook is not None or self.webhook_file is not None


class BridgeSettings(PasswordSection):
    """From a STOMP broker to Kafka: `icat_stream bridge` (extra `bridge`)."""

    brokers: list[Annotated[str, Field(pattern=r"^\S+:\d{1,5}$")]] = Field(
        default_factory=list,
        description="host:port of STOMP brokers; the next one where one is not there.",
        json_schema_extra={"sample": []},
    )
    topics: dict[str, Name] = Field(
        default_factory=dict,
        description="Which destination goes to which topic, such as"
        " {/queue/icatIngest: datasets}.",
    )
    username: str | None = Field(None, description="At the broker.")
    password: SecretStr | None = Field(None, description="Rather use password_file.")
    password_file: Path | None = Field(
        None, description="File with the password, read at each login."
    )
    tls: bool = Field(False, description="Encrypted; the brokers' names are checked.")
    ca_file: Path | None = CA_FILE
    heartbeat: Duration = Field(
        10.0,
        gt=0,
        description="A broker that is silent for half as long again is gone.",
    )
    prefetch: int = Field(
        1000, ge=1, le=100_000, description="Messages on their way at a time, at most."
    )


_Path = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$")]


class ForwardRule(Section):
    """Which records are forwarded, and as what."""

    topics: list[TopicName] = Field(min_length=1, description="Of this cluster.")
    to: str = Field(
        "{topic}", min_length=1, description="Topic there; {topic}: of the same name."
    )
    kinds: list[str] = Field(
        default_factory=list,
        description="Only such events: dataset, investigation, user, operation.",
    )
    where: dict[_Path, list[str | int | float | bool]] = Field(
        default_factory=dict,
        description="Only JSON with one of these values in a field, such as"
        " {facility: [EXAMPLE], investigation.name: ['240815']}.",
    )
    redact: list[_Path] = Field(
        default_factory=list,
        description="Fields that are taken out, such as members.email; of each item"
        " where there is a list.",
    )
    rename: dict[_Path, _Path] = Field(
        default_factory=dict, description="Fields that are called otherwise there."
    )
    rate: float | None = Field(
        None, gt=0, description="Records a second, at most; null: as they come."
    )
    enabled: bool = Field(True, description="Switch.")

    @field_validator("to")
    @classmethod
    def _of_topic(cls, template: str) -> str:
        if not set(template_fields(template)) <= {"topic"}:
            raise ValueError("expected a topic's name, with nothing but {topic} in {}")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", template.format(topic="t")):
            raise ValueError("expected letters, digits, dots, dashes, underscores")
        return template

    @property
    def reads_values(self) -> bool:
        """Whether it has to understand what records say."""
        return bool(self.kinds or self.where or self.redact or self.rename)


class ForwardSettings(Section):
    """From this Kafka cluster to another one: `icat_stream forward`."""

    source_name: Name | None = Field(
        None,
        description="What this cluster is called in what is forwarded; no other one"
        " that forwards to the same target may be called so.",
    )
    target_name: Name = Field(
        "target",
        description="What the other one is called, were it to forward to here; what"
        " has been there does not go there again.",
    )
    target: KafkaSettings | None = Field(
        None,
        description="As `kafka`: bootstrap_servers and client, to reach the other"
        " cluster.",
    )
    positions: TopicName = Field(
        "icat-stream.forwarded",
        description="Topic there that says how far each partition was forwarded.",
    )
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a partition begins that never was."
    )
    rules: dict[Name, ForwardRule] = Field(
        default_factory=dict,
        description="By name; the first example is events without people, to a test"
        " system: {events: {topics: [icat-stream.events], to: 'test.{topic}', kinds:"
        " [dataset]}}.",
    )

    @model_validator(mode="after")
    def _two_clusters(self) -> "ForwardSettings":
        if self.source_name == self.target_name:
            raise ValueError("source_name and target_name must differ")
        return self


class RetentionSettings(Section):
    """What leaves the disk: `icat_stream retention`."""

    approvers: str = Field(
        "approvers",
        min_length=1,
        max_length=255,
        description="The grouping in ICAT whose members approve plans; never the"
        " account of icat.username.",
    )


class TlsSettings(Section):
    """A certificate to be known by."""

    certificate: Path = Field(description="File with it and its chain (PEM).")
    key: Path = Field(description="File with its private key (PEM).")


class OidcSettings(Section):
    """Single sign-on at an OpenID Connect provider that ICAT's authn.oidc trusts."""

    issuer: Url = Field(
        description="As the provider calls itself, such as"
        " https://login.example.org/realms/facility."
    )
    client_id: str = Field(min_length=1, description="Ours at the provider.")
    client_secret: SecretStr | None = Field(
        None, description="Rather use client_secret_file."
    )
    client_secret_file: Path | None = Field(
        None, description="File with the secret; neither: a public client."
    )
    scope: str = Field("openid", description="What is asked for; openid among it.")
    token: Literal["id_token", "access_token"] = Field(
        "id_token", description="By which of them ICAT is to know the person."
    )
    authenticator: str = Field(
        "oidc", min_length=1, description="ICAT's mnemonic of authn.oidc."
    )
    title: str = Field(
        "Log in with your facility's account", description="Of the button."
    )
    ca_file: Path | None = CA_FILE

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.client_secret is not None and self.client_secret_file is not None:
            raise ValueError("give client_secret or client_secret_file, not both")
        parts = urlsplit(self.issuer)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ValueError("expected an issuer of https: its tokens are passwords")
        if "openid" not in self.scope.split():
            raise ValueError("expected openid in scope")
        return self

    def secret(self) -> str | None:
        """Return our secret at the provider.

        Raises
        ------
        OSError
            Its file cannot be read.
        """
        return read_secret(self.client_secret, self.client_secret_file)


class WebSettings(Section):
    """The dashboard: `icat_stream web`."""

    listen: Address = Field(
        "127.0.0.1:8082",
        description="host:port. Elsewhere than on loopback it needs tls, or"
        " trusted_proxies.",
    )
    public_url: Url | None = Field(
        None,
        description="Where people reach it, such as https://data.example.org; null: at"
        " listen. A path in it is taken off by the proxy in front.",
    )
    tls: TlsSettings | None = Field(
        None, description="null: plain HTTP, or what a proxy makes of it."
    )
    trusted_proxies: list[str] = Field(
        default_factory=list,
        description="IP addresses of proxies whose X-Forwarded-For is believed.",
    )
    operators: str = Field(
        "operators",
        min_length=1,
        max_length=255,
        description="The grouping in ICAT whose members operate icat-stream; others see"
        " what ICAT lets them see.",
    )
    oidc: OidcSettings | None = Field(
        None,
        description="Single sign-on: issuer, client_id, client_secret_file, scope,"
        " token, authenticator, title, ca_file; the provider sends people back to"
        " <public_url>/login/single-sign-on/answer.",
    )
    read_only: bool = Field(
        False, description="true: nobody replays or discards anything here."
    )
    idle: Duration = Field(
        7200.0, ge=60, description="Who does nothing for so long is logged out."
    )
    longest: Duration = Field(
        12 * 3600.0, ge=60, description="Everybody is logged out after so long."
    )


class ConsumerSettings(Section):
    """One consumer: a loop, a group, lanes, retry topics of its own."""

    handler: str | None = Field(
        None,
        pattern=_CLASS,
        description="Built in (checksums, datasets, file_written, gallery,"
        " investigations, lineage, operations, statistics, users), an entry point of"
        " the group icat_stream.handlers, or package.module:Class.",
    )
    integration: str | None = Field(
        None,
        pattern=_CLASS,
        description="Instead of a handler, what writes to another system: built in"
        " (datacite, message_log, panosc, search_index, visa), an entry point of the"
        " group icat_stream.integrations, or package.module:Class.",
    )
    topics: list[TopicName] = Field(min_length=1, description="To read.")
    lanes: int = Field(
        4, ge=1, le=256, description="Records in work at once; each has a session."
    )
    enabled: bool = Field(True, description="Switch.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="For those that take some."
    )

    @model_validator(mode="after")
    def _is_one_of_them(self) -> "ConsumerSettings":
        if (self.handler is None) == (self.integration is None):
            raise ValueError("expected either handler or integration")
        return self


class AgeSettings(Section):
    """How long ago a date is; what has no date is not meant."""

    at_least: Duration = Field(0.0, description="So long ago, or longer.")
    at_most: Duration | Literal["last_run"] | None = Field(
        None,
        description="So long ago, or shorter; last_run: it passed the other limit since"
        " the check ran last.",
    )

    @model_validator(mode="after")
    def _holds_something(self) -> "AgeSettings":
        if isinstance(self.at_most, float) and self.at_most < self.at_least:
            raise ValueError("expected at_most to be longer than at_least")
        return self


class CheckSettings(Section):
    """A check of the schedule: operations that are asked for again and again."""

    every: Duration = Field(ge=60, description="From one run to the next.")
    operations: list[str] = Field(
        min_length=1, description="To ask for, of each investigation."
    )
    start: AgeSettings | None = Field(None, description="Of its startDate.")
    end: AgeSettings | None = Field(None, description="Of its endDate.")
    release: AgeSettings | None = Field(
        None, description="Of its releaseDate: {at_most: last_run} is what opened."
    )
    types: list[str] = Field(default_factory=list, description="One of these.")
    instruments: list[str] = Field(default_factory=list, description="One of these.")
    doi: Literal["any", "present", "absent"] = Field("any", description="Its DOI.")
    enabled: bool = Field(True, description="Switch.")


class TelemetrySettings(Section):
    """Logs and traces."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="-v means debug."
    )
    log_file: Path | None = Field(None, description="null: standard error.")
    log_format: Literal["text", "json"] = Field(
        "text", description="json: one object a line."
    )
    otlp_endpoint: Url | None = Field(
        None,
        description="Where traces and metrics go (OTLP over HTTP); null: nowhere.",
    )
    console: bool = Field(False, description="Print spans to standard error.")
    sample_ratio: float = Field(1.0, ge=0, le=1, description="Of traces we begin.")


class Settings(BaseSettings):
    """All of it."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )

    facility: str = Field(
        min_length=1,
        max_length=255,
        description="The facility's name in ICAT.",
        json_schema_extra={"sample": "EXAMPLE"},
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    icat: IcatSettings = Field(default_factory=IcatSettings)
    ids: IdsSettings = Field(default_factory=IdsSettings)
    files: FileSettings = Field(default_factory=FileSettings)
    messages: MessageSettings = Field(default_factory=MessageSettings)
    schemas: Path | None = Field(
        None,
        description="Folder of the metadata schemas, one YAML file an instrument.",
        json_schema_extra={"sample": "schemas"},
    )
    policies: PolicySettings = Field(default_factory=PolicySettings)
    journal: JournalSettings = Field(default_factory=JournalSettings)
    events: EventSettings = Field(default_factory=EventSettings)
    outcomes: OutcomeSettings = Field(default_factory=OutcomeSettings)
    dead_letters: DeadLetterSettings = Field(default_factory=DeadLetterSettings)
    retries: RetrySettings = Field(default_factory=RetrySettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    health: HealthSettings = Field(default_factory=HealthSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    consumers: dict[Name, ConsumerSettings] = Field(
        min_length=1,
        description="Named consumers; each can be run, scaled and stopped alone.",
        json_schema_extra={
            "sample": {
                "file_written": {"handler": "file_written", "topics": ["filewriter"]},
                **{
                    name: {"handler": name, "topics": [name], "enabled": False}
                    for name in ("users", "investigations", "datasets", "operations")
                },
                "checksums": {
                    "handler": "checksums",
                    "topics": ["icat-stream.events"],
                    "options": {"algorithm": "xxh3_64"},
                    "enabled": False,
                },
                "datacite": {
                    "integration": "datacite",
                    "topics": ["icat-stream.events"],
                    "options": {
                        "url": "https://api.test.datacite.org",
                        "username": "EXAMPLE.DATA",
                        "password_file": "secrets/datacite",
                        "prefix": "10.5072",
                        "publisher": "Example Neutron Source",
                        "landing_page": "https://data.example.org/doi/{doi}",
                    },
                    "enabled": False,
                },
                "gallery": {
                    "handler": "gallery",
                    "topics": ["icat-stream.events"],
                    "options": {"paths": "ResourcesGalleryFilePaths"},
                    "enabled": False,
                },
                "lineage": {
                    "handler": "lineage",
                    "topics": ["icat-stream.events"],
                    "options": {"inputs": "input_datasets"},
                    "enabled": False,
                },
                "message_log": {
                    "integration": "message_log",
                    "topics": ["icat-stream.outcomes"],
                    "options": {
                        "urls": ["https://search.example.org:9200"],
                        "username": "icat-stream",
                        "password_file": "/etc/icat-stream/secrets/search",
                        "keep": "365d",
                    },
                    "enabled": False,
                },
                "panosc": {
                    "integration": "panosc",
                    "topics": ["icat-stream.events"],
                    "options": {"url": "http://127.0.0.1:8000"},
                    "enabled": False,
                },
                "search_index": {
                    "integration": "search_index",
                    "topics": ["icat-stream.events"],
                    "options": {
                        "urls": ["https://search.example.org:9200"],
                        "username": "icat-stream",
                        "password_file": "/etc/icat-stream/secrets/search",
                    },
                    "enabled": False,
                },
                "statistics": {
                    "handler": "statistics",
                    "topics": ["icat-stream.events"],
                    "options": {"sizes": "auto"},
                    "enabled": False,
                },
                "visa": {
                    "integration": "visa",
                    "topics": ["icat-stream.events"],
                    "options": {
                        "url": "postgresql://icat@visa.example.org/visa",
                        "password_file": "secrets/visa",
                        "staff_role": "STAFF",
                    },
                    "enabled": False,
                },
            }
        },
    )
    schedule: dict[Name, CheckSettings] = Field(
        default_factory=dict,
        description="Named checks: which operations are asked for, of which"
        " investigations, and how often; see `icat_stream schedule`.",
        json_schema_extra={
            "sample": {
                "mint": {
                    "every": "1d",
                    "operations": ["mint-proposal"],
                    "end": {"at_most": "30d"},
                    "doi": "absent",
                    "enabled": False,
                }
            }
        },
    )
    bridge: BridgeSettings = Field(default_factory=BridgeSettings)
    forward: ForwardSettings = Field(default_factory=ForwardSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)

    @model_validator(mode="after")
    def _topics_are_distinct(self) -> "Settings":
        ours = {self.events.topic, self.outcomes.topic, self.dead_letters.topic}
        if len(ours) < 3:
            raise ValueError(
                "events.topic, outcomes.topic and dead_letters.topic must differ"
            )
        for name, consumer in self.consumers.items():
            if name in _RESERVED:
                raise ValueError(
                    f"consumers.{name}: the name is one of ours; choose another"
                )
            if self.dead_letters.topic in consumer.topics:
                raise ValueError(
                    f"consumers.{name}.topics: reading the dead letters would feed"
                    " them to themselves; replay them instead"
                )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over what :func:`load` passes in."""
        return env_settings, init_settings
