"""What the README and the pages name is there, and can be typed as it stands."""

import importlib.util
import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import typer

from icat_stream.cli import background, ingestor, tools, validate
from icat_stream.telemetry import METRICS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = {
    "icat_ingestor": ingestor.app,
    "icat_background_ingestor": background.app,
    "icat_validate_config": validate.app,
    "icat_stream": tools.app,
}
# Written when the documentation is built.
REFERENCES = {
    f"{name}.md"
    for name in (
        *("configuration", "commands", "metrics", "client", "schemas", "events"),
        *("handlers", "integrations", "storage"),
    )
}
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```(?:\w+)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(icat_\w+ [^`]+)`")


def _lines(page: Path) -> list[str]:
    """Return the commands of ours that a page shows."""
    text = page.read_text()
    blocks = "\n".join(_BLOCK.findall(text)).replace("\\\n", " ")
    lines = [line.removeprefix("$ ").strip() for line in blocks.splitlines()]
    lines += [" ".join(found.split()) for found in _INLINE.findall(text)]
    return [line for line in lines if line.partition(" ")[0] in COMMANDS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in _LINK.findall(page.read_text()):
        if not re.match(r"[a-z]+:|#", target):
            name = target.partition("#")[0]
            # A label of the documentation has no suffix.
            if name.partition("/")[0] == "reference":
                assert Path(name).name in REFERENCES, target
            elif "." in name or name.endswith("/"):
                assert (page.parent / name).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist_with_the_options_that_are_shown(page):
    for line in _lines(page):
        name, *words = shlex.split(line, comments=True)
        command: Any = typer.main.get_command(COMMANDS[name])
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {"-h", "--help"}
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
        for word in words:
            if word in ("|", ">", "&&", ";"):
                break
            if re.fullmatch("--?[a-z][a-z-]*", word):
                assert word in known, line


def test_pictures_are_well_formed_and_say_what_they_show():
    for picture in (ROOT / "docs").rglob("*.svg"):
        drawn = ElementTree.parse(picture).getroot()
        for part in ("title", "desc"):
            assert drawn.find(f"{{http://www.w3.org/2000/svg}}{part}") is not None


def test_references_are_written_from_the_program(tmp_path):
    spec = importlib.util.spec_from_file_location(
        "references", ROOT / "docs" / "references.py"
    )
    assert spec is not None
    assert spec.loader is not None
    references = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(references)
    references.write_references(tmp_path)
    assert {page.name for page in tmp_path.iterdir()} == REFERENCES
    assert "bootstrap_servers:" in (tmp_path / "configuration.md").read_text()
    commands = (tmp_path / "commands.md").read_text()
    for name in COMMANDS:
        assert f"## {name}\n" in commands
    assert "## icat_stream dead-letters replay\n" in commands
    metrics = (tmp_path / "metrics.md").read_text()
    assert all(f"`icat_stream_{name}`" in metrics for name in METRICS)
