"""Messages about people become users of the catalogue, one an account."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from icat_stream.config import DISABLED_MARK, DISABLED_SUFFIX
from icat_stream.messages import PersonMessage, StatedAffiliation
from icat_stream.records import (
    Lookups,
    Outcome,
    Plan,
    Rejection,
    StatedPerson,
    User,
)

from .field_map_handler import FieldMapHandler, MappedMessage
from .handler import HandlerContext
from .options import FieldMapOptions
from .rights import USERS
from .user_office_text import cut, email, one_line, orcid

_LIMIT = 255
AffiliationPart = Literal["name", "unit", "department", "city", "country"]


class UserOptions(FieldMapOptions):
    """Options of the handler ``users``."""

    maps: list[str] = Field(
        default=["user"],
        min_length=1,
        description="Field maps: names of shipped ones, or YAML files.",
    )
    affiliation: list[AffiliationPart] = Field(
        default=["name", "unit", "department"],
        min_length=1,
        description="What of the affiliation is kept, in this order.",
    )
    staff_group: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="Grouping of ICAT whose members are the facility's staff.",
    )


class Users(FieldMapHandler[UserOptions]):
    """Handler of messages about people."""

    Options = UserOptions
    kinds: ClassVar[Mapping[str, type]] = {"user": PersonMessage}
    key_fields = ("usernames",)
    keyed_by_record = True

    makes_snapshots = True
    rights = USERS

    def __init__(self, context: HandlerContext) -> None:
        super().__init__(context)
        self._facility = context.settings.facility
        self._policies = context.settings.policies

    def about(self, message: PersonMessage) -> Mapping[str, Any]:
        """Return the accounts."""
        names = message.usernames
        return {"user": names[0] if len(names) == 1 else names}

    def plan(self, person: MappedMessage, lookups: Lookups) -> Plan | Outcome:
        """Return one user for each of the person's accounts."""
        notes = person.unread
        message: PersonMessage = person.message
        stated = self._stated(message, notes)
        named = {"orcid": "orcid_id"}
        empty = [named.get(name, name) for name in person.mapped.empty]
        cleared = tuple(sorted(name for name in empty if name in stated))
        usernames = dict.fromkeys(message.usernames)
        return Plan(
            facility=self._facility,
            users=tuple(self._user(n, message, stated, cleared) for n in usernames),
            notes=tuple(notes),
        )

    def _stated(
        self, message: PersonMessage, notes: list[str]
    ) -> dict[str, str | None]:
        full_name = message.full_name
        if full_name is None and (message.given_name or message.family_name):
            parts = (message.given_name, message.family_name)
            full_name = " ".join(part for part in parts if part)
        affiliation = None
        if message.affiliation is not None:
            where = message.affiliation
            text = one_line(getattr(where, part) for part in self._options.affiliation)
            affiliation = cut(text, _LIMIT, "affiliation", notes) or None
        return {
            "full_name": full_name,
            "given_name": message.given_name,
            "family_name": message.family_name,
            "email": self._detail(email, message.email, notes),
            "orcid_id": self._detail(orcid, message.orcid, notes),
            "affiliation": affiliation,
        }

    def _detail(
        self, read: Callable[[str], str], text: str | None, notes: list[str]
    ) -> str | None:
        """Return a detail, ``None`` where it is unusable and may be left out."""
        if text is None:
            return None
        try:
            return read(text)
        except Rejection as unusable:
            if self._policies.unusable_details == "reject":
                raise
            notes.append(f"{unusable.reason}: left out")
            return None

    def _user(
        self,
        username: str,
        message: PersonMessage,
        stated: Mapping[str, str | None],
        cleared: tuple[str, ...],
    ) -> User:
        account = self._policies.user_names.format(username=username)
        name, formerly = account, tuple(self._policies.names_of(account)[1:])
        values = dict(stated)
        if message.enabled is False:
            match self._policies.disabled_users:
                case "rename":
                    name, formerly = account + DISABLED_SUFFIX, (account,)
                case "mark":
                    values["full_name"] = (
                        values["full_name"] or username
                    ) + DISABLED_MARK
        group = self._options.staff_group
        return User(
            name=name,
            account=account,
            formerly=formerly,
            groups=(group,) if group and message.staff else (),
            left_groups=(group,) if group and message.staff is False else (),
            cleared=tuple(n for n in cleared if values[n] is None),
            stated=_for_others(message),
            **values,
        )


def _for_others(message: PersonMessage) -> StatedPerson:
    where = message.affiliation or StatedAffiliation()
    return StatedPerson(
        id=message.id,
        staff=message.staff,
        enabled=message.enabled,
        employer_id=where.id,
        employer=where.name,
        town=where.city,
        country_code=where.country_code,
    )
