"""Names of entries in zips, as callers know them."""

import re
from urllib.parse import quote_plus

from .plugins import DatasetInfo

_PARENTS = 5
_NOT_IN_NAMES = re.compile(r"[\\\x00-\x1f\x7f]")


class ZipMapping:
    """``ids/<facility>/<investigation>/<visit>/<dataset>/<file>``.

    The parents are encoded as in URLs, so that each is one folder; a file's name
    stays as it is, folders and all.
    """

    def entry_name(self, dataset: DatasetInfo, name: str) -> str:
        """Return the name of an entry."""
        parents = (
            dataset.facility,
            dataset.investigation,
            dataset.visit_id,
            dataset.name,
        )
        folders = "/".join(_harmless(_encoded(parent)) for parent in parents)
        parts = "/".join(
            _harmless(part) for part in name.split("/") if part not in ("", ".")
        )
        return f"ids/{folders}/{parts or '_'}"

    def file_name(self, entry: str) -> str:
        """Return the name of the datafile that an entry is of."""
        parts = entry.split("/", _PARENTS)
        if len(parts) <= _PARENTS or not parts[_PARENTS]:
            raise ValueError(f"entry {entry!r} is of no datafile")
        return parts[_PARENTS]


def _encoded(parent: str) -> str:
    return quote_plus(parent, safe="*").replace("~", "%7E")


def _harmless(part: str) -> str:
    # Nothing may be unpacked outside the folder where somebody unpacks, be it on a
    # system that separates folders by backslashes.
    part = _NOT_IN_NAMES.sub("_", part)
    return "__" if part == ".." else "_" if part in ("", ".") else part
