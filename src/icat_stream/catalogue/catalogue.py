"""The catalogue of one process."""

import threading
from collections.abc import Callable

from icat_stream.config import IcatSettings, PolicySettings
from icat_stream.icat import (
    FacilityMissing,
    Schema,
    Session,
    UnansweredWrites,
    discover,
    quote,
    select,
)
from icat_stream.records import LocationKey
from icat_stream.telemetry import quiet_span

from .catalogue_session import CatalogueSession
from .fault_memory import FaultMemory
from .reference_cache import ReferenceCache

# What is included counts, too: a file's format, a parameter's type, with room to spare.
_WITH_INCLUDED = 4
# A gateway's patience and ours are alike, and a server may be at it for longer.
_LOOK_FOR_TIMEOUTS = 3


class Catalogue:
    """What the threads of a process share: schema, reference data; thread-safe.

    Parameters
    ----------
    settings
        Where ICAT is, and who we are.
    facility
        Name of the facility that is written.
    policies
        What to do where a facility may choose.
    sample_of_job
        Answers that look-up; it is not ICAT's to know.
    location_key
        Of the data service, where it wants locations signed.
    """

    def __init__(
        self,
        settings: IcatSettings,
        facility: str,
        policies: PolicySettings,
        sample_of_job: Callable[[str], str | None] = lambda _: None,
        location_key: LocationKey | None = None,
    ) -> None:
        self._settings = settings
        self._facility = facility
        self._policies = policies
        self._sample_of_job = sample_of_job
        self._location_key = location_key
        self._lock = threading.Lock()
        self._threads = threading.local()
        self._memory = FaultMemory()
        self._unanswered = UnansweredWrites(_LOOK_FOR_TIMEOUTS * settings.timeout)
        self._schema: Schema | None = None
        self._references: ReferenceCache | None = None
        self._ignore_case = True
        self._page = 1

    def open(self) -> None:
        """Log in, find the facility, discover the schema; a second time does nothing.

        Raises
        ------
        SystemUnavailable
            ICAT does not answer.
        LoginRefused
            It refuses our credentials.
        FacilityMissing
            It does not have the facility.
        """
        self._opened()

    def session(self) -> CatalogueSession:
        """Return the session of the thread that calls, until it calls :meth:`leave`.

        Raises
        ------
        SystemUnavailable, LoginRefused, FacilityMissing
            As :meth:`open`.
        """
        session: CatalogueSession | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = self.new_session()
        return session

    def leave(self) -> None:
        """Log out the session of the thread that calls, if it has one."""
        session: CatalogueSession | None = getattr(self._threads, "session", None)
        if session is not None:
            self._threads.session = None
            session.close()

    def ping(self) -> None:
        """See that ICAT and its database answer, with the session of this thread.

        Raises
        ------
        SystemUnavailable
            They do not.
        """
        self.session().ping()

    def new_session(self) -> CatalogueSession:
        """Return a further session, for one thread at a time; its owner closes it.

        Raises
        ------
        SystemUnavailable, LoginRefused, FacilityMissing
            As :meth:`open`.
        """
        schema, references = self._opened()
        return CatalogueSession(
            session=Session(self._settings, self._page, self._unanswered),
            facility=self._facility,
            schema=schema,
            references=references,
            memory=self._memory,
            policies=self._policies,
            ignore_case=self._ignore_case,
            sample_of_job=self._sample_of_job,
            location_key=self._location_key,
        )

    def close(self) -> None:
        """Forget what was looked up; sessions are closed by those who have them."""
        with self._lock:
            if self._references is not None:
                self._references.forget()

    def _opened(self) -> tuple[Schema, ReferenceCache]:
        with self._lock:
            if self._schema is None or self._references is None:
                with quiet_span("icat.open"):
                    session = Session(self._settings)
                    try:
                        number = self._find_facility(session)
                        self._ignore_case = self._ignores_case(session)
                        self._page = max(1, session.limit() // _WITH_INCLUDED)
                    finally:
                        session.close()
                    self._schema = discover(
                        self._settings.url,
                        self._settings.timeout,
                        self._settings.ca_file,
                    )
                self._references = ReferenceCache(
                    self._schema,
                    number,
                    self._settings.cache,
                    ignore_case=self._policies.ignore_case,
                )
            return self._schema, self._references

    def _find_facility(self, session: Session) -> int:
        rows = session.search(select("Facility", what="o.name, o.id"), "Facility")
        by_name = dict(rows)
        if self._facility not in by_name:
            there = ", ".join(sorted(by_name)) or "none"
            user = f"{self._settings.auth}/{self._settings.username}"
            raise FacilityMissing(
                f"facility {self._facility!r} is none of those in ICAT at"
                f" {self._settings.url} that {user} may read ({there}): correct"
                " `facility`, create it, or give the account the right READ on Facility"
            )
        return int(by_name[self._facility])

    def _ignores_case(self, session: Session) -> bool:
        """Whether the database finds the facility's name in the other case, too."""
        swapped = self._facility.swapcase()
        if swapped == self._facility:
            return True
        query = select("Facility", f"o.name = {quote(swapped)}", what="o.name")
        return self._facility in session.search(query, "Facility")
