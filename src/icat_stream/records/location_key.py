"""Locations that say of themselves which Datafile may have them."""

import hashlib
import hmac


class LocationKey:
    """Signs locations, and knows the signed ones, as ids.server does with its ``key``.

    A location is followed by a space and the SHA-256 of the Datafile's id, the location
    and the key, in upper-case hexadecimal digits: nobody without the key makes an
    entry whose file is served.
    """

    LENGTH = 1 + 64
    """How many characters a signed location has more."""

    def __init__(self, key: str) -> None:
        self._key = key

    def signed(self, datafile: int, location: str) -> str:
        """Return a location as the Datafile with an id may have it."""
        return f"{location} {self._digest(datafile, location)}"

    def location(self, datafile: int, signed: str) -> str | None:
        """Return a Datafile's location, ``None`` if it may not have it."""
        location, _, digest = signed.rpartition(" ")
        expected = self._digest(datafile, location)
        same = hmac.compare_digest(digest.encode(), expected.encode())
        return location if location and same else None

    def _digest(self, datafile: int, location: str) -> str:
        text = f"{datafile}{location}{self._key}"
        return hashlib.sha256(text.encode()).hexdigest().upper()
