"""The references: written from the program at each build, so that none goes stale."""

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from icat_stream import client, handlers, integrations, messages, records
from icat_stream.cli import background, ingestor, tools, validate
from icat_stream.config.sample import render
from icat_stream.dataservice import plugins
from icat_stream.schemas.models import SchemaModel
from icat_stream.telemetry import METRICS

_OF_HANDLERS = ("Handler", "HandlerContext")
_OF_INTEGRATIONS = (
    *("EventHandler", "TargetSystem", "Integration", "OutcomeFollower"),
    *("IntegrationContext", "Document"),
)
_OF_RECORDS = (
    "Record",
    "Plan",
    "Dataset",
    "Datafile",
    "Parameter",
    "Investigation",
    "User",
    "Lookups",
    "Outcome",
    "OutcomeKind",
    "Rejection",
    "DependencyMissing",
    "NotReady",
    "TransientFailure",
    "SystemUnavailable",
)
_OF_STORAGE = (
    "DatasetInfo",
    "StoredFacts",
    "MainStorage",
    "ArchiveStorage",
    "Upload",
    "StoredFile",
    "ZipMapper",
    "ReadOnlyMainStorage",
)
_NOTE = "This page is made from the program itself.\n"


def write_references(folder: Path) -> None:
    """Write all of them.

    Parameters
    ----------
    folder
        Made if it is not there.
    """
    folder.mkdir(exist_ok=True)
    pages = {
        "configuration": _configuration(),
        "commands": _commands(),
        "metrics": _metrics(),
        "client": _members("The client library", client, client.__all__),
        "handlers": [
            *_members("Handlers: what they use", handlers, _OF_HANDLERS),
            *_things(records, _OF_RECORDS),
        ],
        "integrations": [
            *_members("Integrations: what they use", integrations, _OF_INTEGRATIONS),
            "See [](handlers.md) for plans and failures.\n",
        ],
        "storage": _members("Storage plugins: what they are", plugins, _OF_STORAGE),
        "events": _events(),
        "schemas": _schemas(),
    }
    for name, lines in pages.items():
        text = "\n".join(lines) + "\n"
        path = folder / f"{name}.md"
        # A file that stays as it is need not be read again.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _configuration() -> Iterator[str]:
    yield f"# Configuration: every setting\n\n{_NOTE}"
    yield "`icat_stream config sample` prints it; `icat_validate_config FILE` checks"
    yield "yours.\n"
    yield f"```yaml\n{render()}```"


def _commands() -> Iterator[str]:
    yield f"# Commands\n\n{_NOTE}"
    yield "All take `-h`; the four programs also `--version`, and for completion in"
    yield "your shell `--install-completion`.\n"
    for name, app in (
        ("icat_ingestor", ingestor.app),
        ("icat_background_ingestor", background.app),
        ("icat_validate_config", validate.app),
        ("icat_stream", tools.app),
    ):
        command = typer.main.get_command(app)
        yield from _command(command, name, None)


def _command(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    for inner in getattr(command, "commands", {}).values():
        yield from _command(inner, inner.name, context)


def _metrics() -> Iterator[str]:
    yield f"# Metrics\n\n{_NOTE}"
    yield "Served at `/metrics` of `health.listen`, and sent to"
    yield "`telemetry.otlp_endpoint`.\n"
    yield "| name | kind | what |\n|---|---|---|"
    for name, (kind, text) in METRICS.items():
        yield f"| `icat_stream_{name}` | {kind} | {text} |"


def _events() -> Iterator[str]:
    yield f"# Events and outcomes\n\n{_NOTE}"
    yield "Both are JSON objects with `version`, which is raised when a reader would"
    yield "have to change; more members may come at any time. An event goes to"
    yield "`events.topic` when something is in the catalogue, an outcome of every"
    yield "record to `outcomes.topic`, in the same transaction"
    yield "([](../integrations.md), [](../journal.md)). A reader sees:\n"
    yield from _things(messages, ["EventMessage"])
    yield from _things(records, ["JournalRow"])


def _schemas() -> Iterator[str]:
    yield f"# Metadata schemas: every key\n\n{_NOTE}"
    yield "What they mean is in [](../metadata-schemas.md). A `*` is a key that has to"
    yield "be there.\n"
    whole = SchemaModel.model_json_schema(by_alias=True)
    models = {"A schema": whole, **whole.get("$defs", {})}
    for name, model in models.items():
        if "properties" not in model:
            continue
        yield f"## {_words(name)}\n\n{_first(model.get('description', ''))}\n"
        yield "| key | value | default |\n|---|---|---|"
        needed = model.get("required", ())
        for key, value in model["properties"].items():
            star = " *" if key in needed else ""
            default = f"`{value['default']}`" if value.get("default") else ""
            yield f"| `{key}`{star} | {_kind(value)} | {default} |"
        yield ""


def _kind(value: dict[str, Any]) -> str:
    """Return in words what a value of a key may be."""
    if "$ref" in value:
        return _words(value["$ref"].rpartition("/")[2]).lower()
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    kinds = value.get("anyOf") or value.get("oneOf") or []
    if kinds:
        found = [_kind(each) for each in kinds if each.get("type") != "null"]
        return ", or ".join(dict.fromkeys(found))
    if value.get("type") == "array":
        return f"one or a list of: {_kind(value.get('items', {}))}"
    if value.get("type") == "object":
        named = [
            value.get("additionalProperties"),
            *value.get("patternProperties", {}).values(),
        ]
        return ", or ".join(f"by name: {_kind(each)}" for each in named if each)
    kind = value.get("type", "")
    return {"string": "text", "boolean": "true or false"}.get(kind, kind or "a value")


def _words(name: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Model"))
    return words.capitalize()


def _first(text: str) -> str:
    """Return the first paragraph, in Markdown."""
    return text.partition("\n\n")[0].replace("``", "`").replace("\n", " ")


def _members(title: str, module: ModuleType, names: Sequence[str]) -> Iterator[str]:
    yield f"# {title}\n\n{_NOTE}"
    yield from _things(module, names)


def _things(module: ModuleType, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        thing = getattr(module, name)
        is_class = inspect.isclass(thing)
        kind = "autoclass" if is_class else "autofunction"
        yield f"```{{eval-rst}}\n.. {kind}:: {module.__name__}.{name}"
        yield "   :members:\n```\n" if is_class else "```\n"
