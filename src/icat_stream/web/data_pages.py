"""One dataset: what is in it, where it came from, and what was made of it."""

from collections.abc import Iterable
from typing import Any

from icat_stream.icat import IcatFault, select

from .investigation_pages import dataset_values
from .page import NotThere, Page, PageRequest

_FILES = 100
_IDS = 500
# As the integration `lineage` names its parameters by default.
_INPUTS = ("input_datasetIds",)
_OUTPUTS = ("output_datasetIds",)


def dataset(asked: PageRequest) -> Page:
    """Return its parameters, the first of its files, its lineage."""
    number = asked.number("id")
    accounts, person = asked.site.accounts, asked.sign_in
    found = accounts.objects(
        person,
        select(
            "Dataset",
            f"o.id = {number}",
            then="INCLUDE o.investigation, o.type, o.sample, o.parameters AS p, p.type",
        ),
    )
    if not found:
        raise NotThere("There is no such dataset that you may see.")
    (one,) = found
    parameters = sorted(
        (_parameter(each) for each in one.get("parameters", ()) if each.get("type")),
        key=lambda each: str(each["name"]).lower(),
    )
    listed = _files(asked, number, 0)
    investigation = one.get("investigation")
    values = {
        **dataset_values(one),
        "description": one.get("description"),
        "complete": one.get("complete"),
        "location": one.get("location"),
        "created": one.get("createTime"),
        "modified": one.get("modTime"),
        "investigation": investigation
        and {
            "id": investigation["id"],
            "name": investigation["name"],
            "visit": investigation.get("visitId"),
            "title": investigation.get("title"),
        },
        "parameters": parameters,
        "datafiles": listed[:_FILES],
        "more": len(listed) > _FILES,
        "inputs": _linked(asked, parameters, _INPUTS, number),
        "outputs": _linked(asked, parameters, _OUTPUTS, number),
        "downloads": asked.site.settings.ids.url is not None,
    }
    return Page(
        template="dataset.html",
        title=one["name"],
        values=values,
        table="datafiles",
    )


def files(asked: PageRequest) -> Page:
    """Return more of its files."""
    number = asked.number("id")
    begin = asked.query("from", 9)
    first = int(begin) if begin.isascii() and begin.isdigit() else 0
    listed = _files(asked, number, first)
    if not listed:
        raise NotThere("There are no such files that you may see.")
    values = {
        "id": number,
        "datafiles": listed[:_FILES],
        "from": first,
        "next": first + _FILES if len(listed) > _FILES else None,
        "downloads": asked.site.settings.ids.url is not None,
    }
    return Page(template="files.html", title="Files", values=values, table="datafiles")


def _files(asked: PageRequest, number: int, first: int) -> list[dict[str, Any]]:
    query = select(
        "Datafile",
        f"o.dataset.id = {number}",
        then=f"ORDER BY o.name, o.id LIMIT {first}, {_FILES + 1}",
    )
    return [
        {
            "id": each["id"],
            "name": each["name"],
            "size": each.get("fileSize"),
            "modified": each.get("datafileModTime") or each.get("datafileCreateTime"),
            "checksum": each.get("checksum"),
        }
        for each in asked.site.accounts.objects(asked.sign_in, query)
    ]


def _parameter(one: dict[str, Any]) -> dict[str, Any]:
    value: Any = one.get("numericValue")
    if value is None:
        value = one.get("stringValue")
    if value is None:
        value = one.get("dateTimeValue")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    units = one["type"].get("units") or ""
    return {
        "name": one["type"]["name"],
        "value": value,
        "units": "" if units.startswith("N/A") else units,
        "error": one.get("error"),
    }


def _linked(
    asked: PageRequest,
    parameters: Iterable[dict[str, Any]],
    names: tuple[str, ...],
    own: int,
) -> list[dict[str, Any]]:
    """Return the datasets that a parameter names, as far as the person may see them."""
    numbers: set[int] = set()
    for each in parameters:
        if each["name"] in names:
            for part in str(each["value"] or "").replace(",", " ").split():
                if part.isascii() and part.isdigit() and len(part) <= 18:
                    numbers.add(int(part))
    wanted = sorted(numbers - {own})[:_IDS]
    if not wanted:
        return []
    listed = ", ".join(map(str, wanted))
    query = select("Dataset", f"o.id IN ({listed})", then="ORDER BY o.name")
    try:
        found = asked.site.accounts.objects(asked.sign_in, query)
    except IcatFault as fault:
        asked.missing["lineage"] = str(fault)
        return []
    return [{"id": each["id"], "name": each["name"]} for each in found]
