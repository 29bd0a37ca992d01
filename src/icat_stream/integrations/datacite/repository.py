"""Our repository at DataCite: the steps from nothing to a DOI that resolves.

Each step can be repeated, and what is there already is not written again, so an answer
that was lost does no harm.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from icat_stream.records import (
    Failure,
    Rejection,
    SystemUnavailable,
    TransientFailure,
    shortened,
)

from ..json_service import Answer, JsonService
from .metadata import MARK
from .options import DataCiteOptions

Wish = Literal["publish", "update", "withdraw"]
_WITHDRAWN = "Withdrawn"
_ACCEPTED = "application/vnd.api+json"
# With the publisher and affiliations whole, as they were sent.
_WHOLE = "?publisher=true&affiliation=true"
_SHOWN = 300
_ROUNDS = 3


class _MovedOnError(Failure):
    """A DOI is in another state than it was brought to."""


class Repository:
    """Writes DOIs of one repository; shared by threads.

    Parameters
    ----------
    options
        Where it is, and who we are.
    name
        The consumer's.
    down
        Makes the failure that it is not usable.
    """

    def __init__(
        self,
        options: DataCiteOptions,
        name: str,
        down: Callable[[str], SystemUnavailable],
    ) -> None:
        self._options = options
        self._name = name
        self._down = down
        contact = f" (mailto:{options.contact})" if options.contact else ""
        self._service = JsonService(
            options,
            name=name,
            down=down,
            media_type=_ACCEPTED,
            agent=f"icat-stream{contact}",
        )

    def close(self) -> None:
        """Give connections back."""
        self._service.close()

    def ping(self) -> None:
        """Return if the repository is there, takes our login, and has the prefix.

        Raises
        ------
        SystemUnavailable
            It does not.
        """
        account = self._options.username
        answer = self._service.call("GET", f"/repositories/{quote(account.lower())}")
        if answer.status != 200:
            raise self._down(
                f"{self._name}: {account} is no repository there, expected one in"
                f" options.username (HTTP {answer.status})"
            )
        linked = _at(answer.body, "data", "relationships", "prefixes", "data")
        prefixes = [each.get("id") for each in linked or ()]
        if self._options.prefix not in prefixes:
            raise self._down(
                f"{self._name}: prefix {self._options.prefix} is not of {account}: it"
                f" has {', '.join(map(str, prefixes)) or 'none'}; see options.prefix"
            )

    def bring(
        self, doi: str, attributes: Mapping[str, Any], *, wish: Wish, is_ours: bool
    ) -> list[str]:
        """Bring a DOI to what is wished, and return what was written.

        Parameters
        ----------
        doi
            Which.
        attributes
            All that we say of it.
        wish
            ``publish``: mint it if it is not there; ``update``: only say what is new;
            ``withdraw``: it stays registered, and is not found any more.
        is_ours
            Whether the catalogue says that it is the investigation's.

        Raises
        ------
        Rejection
            DataCite refuses it, or the DOI is of something else.
        TransientFailure
            It is not all there yet.
        SystemUnavailable
            DataCite is not usable.
        """
        for _ in range(_ROUNDS):
            try:
                return self._brought(doi, attributes, wish, is_ours)
            except _MovedOnError as moved:
                # Another process is at it, too; it is looked at afresh.
                last = moved
        raise TransientFailure(last.reason)

    def _brought(
        self, doi: str, attributes: Mapping[str, Any], wish: Wish, is_ours: bool
    ) -> list[str]:
        held = self._held(doi)
        if held is None:
            if wish != "publish":
                raise Rejection(
                    f"DOI {doi} is in the catalogue, but not at DataCite; mint-proposal"
                    " mints it"
                )
            self._write(doi, attributes, "")
            held = self._confirmed(doi, attributes, "draft")
            written = [f"{self._name}: draft of DOI {doi}"]
        else:
            self._check_owner(doi, held, attributes, is_ours)
            written = []
        state = held.get("state")
        if wish == "publish" and state == "registered":
            raise Rejection(
                f"DOI {doi} was withdrawn; publish it again at DataCite itself, if that"
                " is meant"
            )
        if wish == "withdraw" and state == "findable":
            today = datetime.now(UTC).date().isoformat()
            gone = _withdrawn(attributes, today)
            self._write(doi, gone, "hide")
            self._confirmed(doi, gone, "registered")
            return [f"{self._name}: DOI {doi} is withdrawn"]
        if state == "draft":
            if wish != "publish":
                raise Rejection(f"DOI {doi} is a draft at DataCite, not minted")
            if _lost(attributes, held) is not None:
                self._write(doi, attributes, "")
                self._confirmed(doi, attributes, "draft")
            self._write(doi, attributes, "publish")
            self._confirmed(doi, attributes, "findable")
            return [*written, f"{self._name}: DOI {doi} is published"]
        wanted = attributes
        if state == "registered" and (since := _withdrawal(held)):
            wanted = _withdrawn(attributes, since)
        if _lost(wanted, held) is None and held.get("registered"):
            return written
        self._write(doi, wanted, "")
        self._confirmed(doi, wanted, str(state))
        return [*written, f"{self._name}: DOI {doi} has new metadata"]

    def _held(self, doi: str) -> Mapping[str, Any] | None:
        answer = self._service.call("GET", f"/dois/{quote(doi)}{_WHOLE}")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._refusal(f"GET of DOI {doi}", answer)
        found = _at(answer.body, "data", "attributes")
        if not isinstance(found, dict):
            raise self._down(
                f"{self._name}: the answer for DOI {doi} has no attributes"
            )
        owner = _at(answer.body, "data", "relationships", "client", "data", "id")
        return {**found, "owner": owner}

    def _write(self, doi: str, attributes: Mapping[str, Any], event: str) -> None:
        body = {"type": "dois", "attributes": {**attributes, "doi": doi}}
        if event:
            body["attributes"] = {**attributes, "doi": doi, "event": event}
        answer = self._service.call("PUT", f"/dois/{quote(doi)}", {"data": body})
        if answer.status not in (200, 201):
            raise self._refusal(f"PUT of DOI {doi}", answer)

    def _confirmed(
        self, doi: str, attributes: Mapping[str, Any], state: str
    ) -> Mapping[str, Any]:
        """Return what is held now, if it is what was written.

        DataCite drops what it does not know, ignores events that do not fit, and says
        that all is well where the handle system did not answer.
        """
        held = self._held(doi)
        if held is None or held.get("state") != state:
            found = None if held is None else held.get("state")
            raise _MovedOnError(f"DOI {doi} is {found}, expected {state}")
        lost = _lost(attributes, held)
        if lost is not None:
            raise Rejection(
                f"DOI {doi}: DataCite has not kept {lost} as it was sent; it is {state}"
            )
        if state != "draft" and not held.get("registered"):
            # The same once more registers it again.
            self._write(doi, attributes, "")
            held = self._held(doi) or {}
            if not held.get("registered"):
                raise TransientFailure(
                    f"DOI {doi} is {state}, but does not resolve yet: the handle system"
                    " has not taken it"
                )
        return held

    def _check_owner(
        self,
        doi: str,
        held: Mapping[str, Any],
        attributes: Mapping[str, Any],
        is_ours: bool,
    ) -> None:
        owner = held.get("owner")
        if owner is not None and owner != self._options.username.lower():
            raise Rejection(f"DOI {doi} is of {owner}, not of {self._options.username}")
        marks, expected = _marks(held), _marks(attributes)
        if not is_ours and not marks & expected:
            raise Rejection(
                f"DOI {doi} is there already, expected it to be of"
                f" {', '.join(expected)}: give options.suffix a value of its own"
                f" (found: {', '.join(sorted(marks)) or 'no word of whom it is of'})"
            )

    def _refusal(self, what: str, answer: Answer) -> Failure:
        words = _words(answer.body)
        reason = f"{self._name}: {what}: HTTP {answer.status}: {words}"
        if answer.status == 409:
            return TransientFailure(reason)
        if answer.status == 403:
            # Raises where it is not this DOI alone.
            self.ping()
        return Rejection(reason)


def _lost(sent: Any, held: Any, where: str = "") -> str | None:
    """Return where something that was sent is not held, ``None`` if all is."""
    if isinstance(sent, Mapping):
        held = held if isinstance(held, Mapping) else {}
        for name, value in sent.items():
            if name == "schemaVersion":
                continue
            found = _lost(value, held.get(name), f"{where}.{name}" if where else name)
            if found is not None:
                return found
        return None
    if isinstance(sent, list):
        there = held if isinstance(held, list) else []
        if len(sent) != len(there):
            return where
        for number, (one, other) in enumerate(zip(sent, there, strict=True)):
            found = _lost(one, other, f"{where}[{number}]")
            if found is not None:
                return found
        return None
    same = str(sent) == str(held) if isinstance(sent, int) else sent == held
    return None if same else where


def _marks(attributes: Mapping[str, Any]) -> set[str]:
    return {
        str(each.get("alternateIdentifier"))
        for each in attributes.get("alternateIdentifiers") or ()
        if each.get("alternateIdentifierType") == MARK
    }


def _withdrawal(held: Mapping[str, Any]) -> str | None:
    dates = held.get("dates") or ()
    found = [each["date"] for each in dates if each.get("dateType") == _WITHDRAWN]
    return str(found[0]) if found else None


def _withdrawn(attributes: Mapping[str, Any], since: str) -> dict[str, Any]:
    date = {"date": since, "dateType": _WITHDRAWN}
    return {**attributes, "dates": [*attributes["dates"], date]}


def _words(body: Any) -> str:
    """Return what an answer complains of; in lists the errors are one object."""
    errors = body.get("errors") if isinstance(body, dict) else None
    if isinstance(errors, dict):
        errors = [errors]
    found = [
        ": ".join(str(e[name]) for name in ("source", "title") if e.get(name))
        for e in errors or ()
        if isinstance(e, dict)
    ]
    return shortened("; ".join(found) or "without a reason", _SHOWN)


def _at(body: Any, *path: str) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body
