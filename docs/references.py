"""The references: written from the program at each build, so that none goes stale."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from icat_stream import client
from icat_stream.cli import background, ingestor, tools, validate
from icat_stream.config.sample import render
from icat_stream.telemetry import METRICS

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
        "client": _members("The client library", client),
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


def _members(title: str, module: ModuleType) -> Iterator[str]:
    yield f"# {title}\n\n{_NOTE}"
    for name in module.__all__:
        thing = getattr(module, name)
        is_class = inspect.isclass(thing)
        kind = "autoclass" if is_class else "autofunction"
        yield f"```{{eval-rst}}\n.. {kind}:: {module.__name__}.{name}"
        yield "   :members:\n```\n" if is_class else "```\n"
