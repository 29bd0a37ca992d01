"""One box for everything that a person may see."""

from typing import Any

from icat_stream.icat import quote, searchable, select

from .page import Elsewhere, Page, PageRequest

_LISTED = 20


def search(asked: PageRequest) -> Page | Elsewhere:
    """Find all that a person may see whose name begins with a text."""
    text = asked.query("q", 100_000)
    found: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("investigations", "datasets", "samples", "files")
    }
    hint = ""
    begin = text.rstrip("*").rpartition("/")[2] if "." in text else text.rstrip("*")
    if not searchable(f"{begin}%"):
        hint = "No name in the catalogue is so long, or has such characters."
        begin = ""
    if begin:
        found["investigations"] = _named(asked, "Investigation", "name", begin) or (
            _named(asked, "Investigation", "title", begin)
        )
        found["datasets"] = _named(asked, "Dataset", "name", begin)
        found["samples"] = _named(asked, "Sample", "name", begin)
        found["files"] = _named(asked, "Datafile", "name", begin)
    values = {
        "q": text[:200],
        "found": found,
        "hint": hint,
        "count": sum(map(len, found.values())),
    }
    return Page(template="search.html", title="Search", values=values)


def _named(
    asked: PageRequest, entity: str, field: str, begin: str
) -> list[dict[str, Any]]:
    include = {
        "Dataset": " INCLUDE o.investigation",
        "Sample": " INCLUDE o.investigation",
        "Datafile": " INCLUDE o.dataset",
    }.get(entity, "")
    # A per cent sign or an underscore in a name stands for anything: more is found,
    # nothing is missed.
    query = select(
        entity,
        f"o.{field} LIKE {quote(begin + '%')}",
        then=f"ORDER BY o.{field}{include} LIMIT 0, {_LISTED}",
    )
    return [
        {
            "id": each["id"],
            "name": each["name"],
            "title": each.get("title"),
            "visit": each.get("visitId"),
            "start": each.get("startDate"),
            "investigation": (each.get("investigation") or {}).get("id"),
            "dataset": (each.get("dataset") or {}).get("id"),
        }
        for each in asked.site.accounts.objects(asked.sign_in, query)
    ]
