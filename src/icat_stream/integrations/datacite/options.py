"""What the configuration says of DOIs."""

import re
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from icat_stream.config import Duration, Section, template_fields

from ..json_service import ServiceOptions

# As DataCite itself checks them.
_SUFFIX = re.compile(r"[-._;()/:a-zA-Z0-9*~$=]+")
_PUBLIC_URL = "public_url"
_PAGE_FIELDS = frozenset({_PUBLIC_URL, "doi", "id", "name", "visit_id"})

Ror = Annotated[
    str,
    Field(
        pattern=r"^https://ror\.org/0[a-hj-km-np-tv-z0-9]{6}[0-9]{2}$",
        description="Such as https://ror.org/02nr0ka47.",
    ),
]
ContributorType = Literal[
    "ContactPerson",
    "DataCollector",
    "DataCurator",
    "DataManager",
    "Distributor",
    "Editor",
    "HostingInstitution",
    "Other",
    "Producer",
    "ProjectLeader",
    "ProjectManager",
    "ProjectMember",
    "RegistrationAgency",
    "RegistrationAuthority",
    "RelatedPerson",
    "ResearchGroup",
    "Researcher",
    "RightsHolder",
    "Sponsor",
    "Supervisor",
    "Translator",
    "WorkPackageLeader",
]


class Licence(Section):
    """Under which the data are published."""

    rights: str = Field(min_length=1, description="Its name.")
    url: str = Field(pattern=r"^https?://\S+$", description="Its text.")
    spdx: str | None = Field(None, min_length=1, description="Such as cc-by-4.0.")


class DataCiteOptions(ServiceOptions):
    """Options of the integration ``datacite``."""

    username: str = Field(min_length=1, description="The repository's id.")
    password: SecretStr | None = Field(None, description="Rather use password_file.")
    prefix: str = Field(
        pattern=r"^10\.[0-9]{4,5}$", description="Of the repository's DOIs."
    )
    suffix: str = Field(
        "icat-{id}",
        description="The rest of a DOI: {id} is the investigation's in ICAT.",
    )
    landing_page: str = Field(
        "{public_url}/doi/{doi}",
        description="Where a DOI leads to; also of {id}, {name} and {visit_id}. That of"
        " the dashboard needs web.public_url.",
    )
    publisher: str = Field(min_length=1, description="Of the data: the facility.")
    publisher_ror: Ror | None = None
    creators: list[str] = Field(
        ["Principal investigator", "Investigator", "Participant"],
        min_length=1,
        description="Roles whose people are the authors, in this order.",
    )
    contributors: dict[str, ContributorType] = Field(
        {"Local contact": "DataCollector"},
        description="Roles whose people contributed, and how.",
    )
    affiliations: dict[str, Ror] = Field(
        {}, description="ROR ids of affiliations, by their text in ICAT."
    )
    resource_type: Literal["Dataset", "Collection"] = "Dataset"
    licence: Licence | None = None
    language: str | None = Field(None, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    datasets: bool = Field(
        True, description="Whether there has to be a dataset before a DOI is minted."
    )
    after_end: Duration = Field(
        0.0, description="How long an investigation has to be over by then."
    )
    contact: str | None = Field(
        None,
        pattern=r"^[^@\s]+@[^@\s]+$",
        description="Email address that DataCite may write to; it raises the number of"
        " calls that they allow.",
    )

    @field_validator("suffix")
    @classmethod
    def _names_the_investigation(cls, template: str) -> str:
        if set(template_fields(template)) != {"id"}:
            raise ValueError("expected {id}, and no other placeholder")
        if not _SUFFIX.fullmatch(template.replace("{id}", "1")):
            raise ValueError("expected letters, digits and -._;()/:*~$= only")
        return template.lower()

    @field_validator("landing_page")
    @classmethod
    def _known_fields(cls, template: str) -> str:
        if unknown := set(template_fields(template)) - _PAGE_FIELDS:
            raise ValueError(f"{{{min(unknown)}}} is not known here")
        if not re.match(rf"(https?://|{{{_PUBLIC_URL}}})", template):
            raise ValueError("expected http://…, https://… or {public_url}…")
        if not {"doi", "id"} & set(template_fields(template)):
            raise ValueError("expected {doi} or {id}: each DOI has a page of its own")
        return template

    @property
    def needs_public_url(self) -> bool:
        """Whether DOIs lead to the dashboard."""
        return _PUBLIC_URL in template_fields(self.landing_page)

    def doi(self, investigation_id: int) -> str:
        """Return the DOI of an investigation: of these options and its id alone.

        Losing a database never gives it a second one.
        """
        return f"{self.prefix}/{self.suffix.format(id=investigation_id)}"
