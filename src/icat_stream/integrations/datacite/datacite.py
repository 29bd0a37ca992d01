"""DOIs of investigations: minted when that is asked for, and kept up to date."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from icat_stream.config import ConfigError, Problem, Settings
from icat_stream.handlers import read_options
from icat_stream.messages import EventMessage
from icat_stream.records import (
    DependencyMissing,
    Failure,
    Investigation,
    InvestigationDetails,
    InvestigationKey,
    Lookups,
    Outcome,
    OutcomeKind,
    Plan,
)

from ..integration import DETAILS, Document, Integration
from ..target_system import IntegrationContext
from .metadata import Metadata, metadata
from .options import DataCiteOptions
from .repository import Repository

_MINT, _WITHDRAW = "mint-proposal", "withdraw-doi"
_CONDITIONS = "doi_conditions:"


class DataCite(Integration[DataCiteOptions]):
    """Gives investigations DOIs.

    The DOI is made of the configuration and of the investigation's id in ICAT alone, so
    nothing that is lost makes a second one.  Of an investigation without a DOI nothing
    is told until an operation asks for one.
    """

    Options = DataCiteOptions
    follows = frozenset({"investigation"})
    operations = frozenset({_MINT, _WITHDRAW})
    cause = "datacite"
    rights = MappingProxyType(
        {**dict.fromkeys((*DETAILS, "Dataset"), "R"), "Investigation": "RU"}
    )

    def __init__(self, context: IntegrationContext) -> None:
        super().__init__(context)
        self.check(context.settings, context.options)
        self._unusable_details = context.settings.policies.unusable_details
        self._public_url = context.settings.web.public_url or ""
        self._repository = Repository(self.options, self.name, self.down)
        self.close = self._repository.close  # type: ignore[method-assign]

    @classmethod
    def check(cls, settings: Settings, options: Mapping[str, Any]) -> None:
        """Raise ``ConfigError`` with what is wrong with the options."""
        found = read_options(DataCiteOptions, options)
        if found.needs_public_url and settings.web.public_url is None:
            raise ConfigError(
                [
                    Problem(
                        source="configuration",
                        field="options.landing_page",
                        expected="leads to the dashboard: say in web.public_url where"
                        " people reach it, or name another page",
                        found=repr(found.landing_page),
                    )
                ]
            )

    def key(self, event: EventMessage) -> str:
        """Return the investigation."""
        return f"investigation {event.investigation}"

    def wanted(
        self, events: Sequence[EventMessage], lookups: Lookups
    ) -> Sequence[Document | Outcome | Failure]:
        """Return what DataCite shall hold of investigations."""
        keys = [each.investigation for each in events if each.investigation is not None]
        found = {each.key: each for each in lookups.investigation_details(keys)}
        return [
            self._wanted(event, found.get(event.investigation), lookups)
            if event.investigation is not None
            else self.nothing(event, OutcomeKind.IGNORED, "of no investigation")
            for event in events
        ]

    def apply(self, documents: Sequence[Document]) -> Sequence[Outcome | Failure]:
        """Bring DataCite to documents."""
        results: list[Outcome | Failure] = []
        for document in documents:
            content = document.content or {}
            try:
                written = self._repository.bring(
                    content["doi"],
                    content["attributes"],
                    wish=content["wish"],
                    # The catalogue says so; else the DOI itself has to.
                    is_ours=document.plan is None,
                )
            except Failure as failure:
                results.append(failure)
                continue
            kind = OutcomeKind.INGESTED if written else OutcomeKind.UNCHANGED
            results.append(Outcome(kind=kind, written=tuple(written)))
        return results

    def ping(self) -> None:
        """Return if DataCite is there, knows us, and the prefix is ours."""
        self._repository.ping()

    def present(self, missing: Collection[str], lookups: Lookups) -> Collection[str]:
        """Return those investigations for a DOI of which nothing is missing now."""
        names = {
            each.removeprefix(_CONDITIONS): each
            for each in missing
            if each.startswith(_CONDITIONS)
        }
        keys = [key for name in names for key in _keys(name)]
        return {
            names[str(each.key)]
            for each in lookups.investigation_details(keys)
            if str(each.key) in names and not self._unmet(each, lookups)[1]
        }

    def _wanted(
        self,
        event: EventMessage,
        found: InvestigationDetails | None,
        lookups: Lookups,
    ) -> Document | Outcome | Failure:
        if found is None:
            reason = "it is not in the catalogue any more; its DOI, if any, stays"
            return self.nothing(event, OutcomeKind.IGNORED, reason)
        doi = self.options.doi(found.id)
        if found.doi and found.doi.casefold() != doi.casefold():
            reason = f"its DOI is {found.doi}, which is not of our making"
            return self.nothing(event, OutcomeKind.IGNORED, reason)
        if event.operation == _MINT:
            told, unmet = self._unmet(found, lookups)
            if unmet:
                return DependencyMissing(
                    f"{found.key} cannot have a DOI yet: {'; '.join(unmet)}",
                    [f"{_CONDITIONS}{found.key}"],
                )
            return self._document(event, found, told, "publish")
        if not found.doi:
            reason = f"it has no DOI; {_MINT} asks for one"
            return self.nothing(event, OutcomeKind.IGNORED, reason)
        wish = "withdraw" if event.operation == _WITHDRAW else "update"
        return self._document(event, found, self._metadata(found), wish)

    def _document(
        self,
        event: EventMessage,
        found: InvestigationDetails,
        told: Metadata,
        wish: str,
    ) -> Document:
        doi = self.options.doi(found.id)
        plan = None
        if not found.doi:
            minted = Investigation(investigation=found.key, doi=doi, partial=True)
            plan = Plan(facility=self.facility, investigations=(minted,))
        return Document(
            key=self.key(event),
            content={
                "doi": doi,
                "wish": wish,
                "attributes": told.attributes,
            },
            plan=plan,
            notes=told.notes,
        )

    def _metadata(self, found: InvestigationDetails) -> Metadata:
        return metadata(
            found,
            facility=self.facility,
            options=self.options,
            unusable_details=self._unusable_details,
            public_url=self._public_url,
            now=datetime.now(UTC),
        )

    def _unmet(
        self, found: InvestigationDetails, lookups: Lookups
    ) -> tuple[Metadata, Sequence[str]]:
        """Return what DataCite would be told, and all that has to be mended before."""
        told = self._metadata(found)
        unmet = list(told.unmet)
        if self.options.datasets:
            sums = lookups.dataset_sums(found.key, seconds=False)
            if not any(each.datasets for each in sums):
                unmet.append("datasets: there is none")
        return told, unmet


def _keys(name: str) -> Iterator[InvestigationKey]:
    """Give the investigations that are written like this."""
    for index, letter in enumerate(name):
        if letter == "/":
            yield InvestigationKey(name=name[:index], visit_id=name[index + 1 :])
