"""The pages as programs see them: an OpenAPI description of their JSON."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from icat_stream import __version__

ADDRESS = "/openapi.json"

_IDS = ("id", "number", "partition", "offset")
_TIME = "milliseconds, or as ISO text"


@dataclass(frozen=True, slots=True)
class _Shown:
    """What of a page its function does not say.

    Parameters
    ----------
    table
        Which of its values is a list of rows, which are also its CSV.
    asks
        Parameters of its address, each with what it means.
    """

    table: str | None = None
    asks: Mapping[str, str] = field(default_factory=dict)


_SHOWN = {
    "/investigations": _Shown("investigations"),
    "/investigations/{id}": _Shown("datasets"),
    "/datasets/{id}": _Shown("datafiles"),
    "/datasets/{id}/files": _Shown("datafiles", {"from": "how many to leave out"}),
    "/search": _Shown(None, {"q": "how names begin"}),
    "/messages": _Shown(
        "messages",
        {
            "q": "file, dataset, proposal, proposal/visit, hash or topic[0]@12; with *"
            " at its end, all that begin so",
            "outcome": "ingested, unchanged, deferred, rejected or ignored",
            "consumer": "its name",
            "since": f"the first time; {_TIME}",
            "until": f"the time after the last; {_TIME}",
            "reason": "words of it; with since and until only",
            "after": "as the page before says",
        },
    ),
    "/problems": _Shown("failed"),
    "/consumers": _Shown("consumers"),
    "/integrations": _Shown("consumers"),
    "/reconcile": _Shown(
        "findings",
        {
            "run": "number of the comparison; else the last one",
            "kind": "of the findings; else the first there are",
            "after": "number of the last finding of the page before",
        },
    ),
    "/schemas/try": _Shown(None, {"file": "its path"}),
    "/tokens": _Shown("tokens"),
    "/audit": _Shown("acts"),
}
_FILES = ("/download", "/payload")


def described(
    people: Mapping[str, Callable[..., object]],
    operators: Mapping[str, Callable[..., object]],
    acts: Mapping[str, Callable[..., object]],
) -> dict[str, Any]:
    """Return the description, but for where the pages are.

    Parameters
    ----------
    people, operators, acts
        What makes each page, by its address.
    """
    paths: dict[str, Any] = {}
    for path, view in people.items():
        paths[path] = {"get": _page(path, view, [{"login": []}])}
    both: list[dict[str, list[str]]] = [{"login": []}, {"token": []}]
    for path, view in operators.items():
        paths[path] = {"get": _page(path, view, both)}
    for path, view in acts.items():
        paths[path] = {"get": _page(path, view, both), "post": _act(path, view, both)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "icat-stream: the dashboard",
            "version": __version__,
            "description": "Every page is JSON with Accept: application/json or"
            " ?format=json, and CSV where it is a table. Times are milliseconds since"
            " 1970 unless they are text.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "login": {"type": "apiKey", "in": "cookie", "name": "icat-stream"},
            },
            "schemas": {
                "Page": {
                    "type": "object",
                    "required": ["title", "missing"],
                    "properties": {
                        "title": {"type": "string"},
                        "missing": {
                            "description": "Systems that did not answer: what they"
                            " would tell is null.",
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["system", "text"],
                                "properties": {
                                    "system": {"type": "string"},
                                    "text": {"type": "string"},
                                },
                            },
                        },
                    },
                },
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                },
            },
        },
    }


def _page(
    path: str, view: Callable[..., object], security: list[dict[str, list[str]]]
) -> dict[str, Any]:
    shown = _SHOWN.get(path, _Shown())
    return {
        "summary": _summary(view),
        "security": security,
        "parameters": [*_in_path(path), *_in_query(shown.asks)],
        "responses": {"200": _good(path, shown.table), "default": _bad()},
    }


def _act(
    path: str, view: Callable[..., object], security: list[dict[str, list[str]]]
) -> dict[str, Any]:
    form = {"type": "object", "additionalProperties": {"type": "string"}}
    return {
        "summary": _summary(view),
        "description": "Done, and written to the audit. Who is logged in sends csrf as"
        " the page's form has it; a token needs none, if it may act. Acts need a"
        " reason.",
        "security": security,
        "parameters": _in_path(path),
        "requestBody": {
            "content": {"application/x-www-form-urlencoded": {"schema": form}}
        },
        "responses": {"200": _good(path, None), "default": _bad()},
    }


def _summary(view: Callable[..., object]) -> str:
    return (view.__doc__ or "").strip().partition("\n")[0]


def _in_path(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if name in _IDS else "string"},
        }
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _in_query(asks: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    for name, meaning in asks.items():
        yield {
            "name": name,
            "in": "query",
            "description": meaning,
            "schema": {"type": "string"},
        }


def _good(path: str, table: str | None) -> dict[str, Any]:
    if path.endswith(_FILES):
        return {"description": "A file.", "content": {"application/octet-stream": {}}}
    schema: dict[str, Any] = {"$ref": "#/components/schemas/Page"}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if table is not None:
        rows = {"type": ["array", "null"], "items": {"type": "object"}}
        content["application/json"] = {
            "schema": {
                "allOf": [schema],
                "type": "object",
                "required": [table],
                "properties": {table: rows},
            }
        }
        content["text/csv"] = {}
    return {"description": "The page.", "content": content}


def _bad() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {
        "description": "Why not.",
        "content": {"application/json": {"schema": schema}},
    }
