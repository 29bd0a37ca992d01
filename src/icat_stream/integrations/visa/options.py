"""What the configuration says of VISA."""

from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from icat_stream.config import Duration, PasswordSection, template_fields

_USER = frozenset({"name", "username", "id"})
_EXPERIMENT = frozenset({"id", "name", "visit_id"})


class VisaOptions(PasswordSection):
    """Options of the integration ``visa``."""

    url: str = Field(description="postgresql://user@host:port/database of VISA.")
    password: SecretStr | None = Field(None, description="Rather use password_file.")
    password_file: Path | None = Field(None, description="File with the password.")
    schema_name: str = Field(
        "visa", min_length=1, max_length=63, description="Of its tables."
    )
    timeout: Duration = Field(
        30.0, ge=1, description="A statement that takes so long is given up."
    )
    timezone: str = Field(
        "UTC", description="Of VISA's server: its times have no zone of their own."
    )
    user_id: str = Field(
        "{username}",
        description="What VISA's login calls somebody: {username} as the user office"
        " does, {name} as ICAT does, or {id}, the user office's number.",
    )
    experiment_id: str = Field(
        "{id}",
        description="{id} is the investigation's in ICAT; or {name} and {visit_id}. At"
        " most 32 characters.",
    )
    proposal_id: str = Field(
        "{id}",
        pattern=r"^\{(id|proposal_id)\}$",
        description="A number: {id} of the investigation in ICAT, or {proposal_id} of"
        " the user office, which several visits share.",
    )
    instruments: dict[str, int] = Field(
        {},
        description="VISA's numbers of instruments, by their names in ICAT. Empty:"
        " ICAT's numbers, and what is missing in VISA is made.",
    )
    url_template: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Where an experiment's page is: of {id}, {name} and {visit_id}.",
    )
    quota: int = Field(
        2, ge=0, description="Instances that somebody who is new may have."
    )
    staff_role: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="VISA's role of the facility's staff, such as STAFF; others are"
        " left alone.",
    )

    @field_validator("url")
    @classmethod
    def _of_postgresql(cls, text: str) -> str:
        try:
            url = make_url(text)
        except ArgumentError:
            raise ValueError("expected postgresql://user@host/database") from None
        if url.get_backend_name() != "postgresql":
            raise ValueError("expected postgresql://…")
        if url.password is not None:
            raise ValueError("expected a URL without a password: see password_file")
        return text

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, LookupError):
            raise ValueError("expected a time zone such as Europe/Berlin") from None
        return name

    @field_validator("user_id")
    @classmethod
    def _names_somebody(cls, template: str) -> str:
        return _checked(template, _USER)

    @field_validator("experiment_id", "url_template")
    @classmethod
    def _names_a_visit(cls, template: str | None) -> str | None:
        if template is None:
            return None
        if {"name", "visit_id"} & set(template_fields(template)) == {"visit_id"}:
            raise ValueError("expected {name} beside {visit_id}")
        return _checked(template, _EXPERIMENT)

    def database(self) -> URL:
        """Return where VISA's database is, with the password.

        Raises
        ------
        OSError
            Its file cannot be read.
        """
        url = make_url(self.url).set(drivername="postgresql+psycopg")
        secret = self.secret()
        return url if secret is None else url.set(password=secret)


def _checked(template: str, known: frozenset[str]) -> str:
    fields = set(template_fields(template))
    if unknown := fields - known:
        raise ValueError(f"{{{min(unknown)}}} is not known here")
    if not fields:
        raise ValueError(f"expected one of {', '.join(f'{{{n}}}' for n in known)}")
    return template
