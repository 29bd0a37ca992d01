"""What a command says of itself, and what it does not need to know for that."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from icat_stream import __version__
from icat_stream.cli import background, ingestor, tools, validate

APPS = {
    "icat_ingestor": ingestor.app,
    "icat_background_ingestor": background.app,
    "icat_validate_config": validate.app,
    "icat_stream": tools.app,
}


def _paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from _paths(inner, (*path, name))


COMMANDS = [
    (name, path)
    for name, app in APPS.items()
    for path in _paths(typer.main.get_command(app))
]


def _run(name: str, *arguments: str) -> str:
    # `script` and tmux set COLUMNS to the terminal's width.
    result = CliRunner().invoke(APPS[name], arguments, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("name", "path"), COMMANDS)
def test_help_reads_at_80_columns_and_is_free_of_python(name, path):
    text = _run(name, *path, "-h")
    assert text == _run(name, *path, "--help")
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"<[^>]*\b(bool|str|list|int|float|path|range)\b", text)
    # A summary that is cut says less than a short one.
    summaries = text.partition("\nCommands:")[2]
    assert "..." not in summaries


@pytest.mark.parametrize("name", APPS)
def test_version_and_completion(name):
    assert _run(name, "--version") == f"icat-stream {__version__}\n"
    assert "--install-completion" in _run(name, "-h")


@pytest.mark.parametrize("name", APPS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_proposes_the_options(name, shell):
    variable = f"_{name.upper()}_COMPLETE"
    words = {"COMP_WORDS": f"{name} --ver", "COMP_CWORD": "1"}
    words |= {"_TYPER_COMPLETE_ARGS": f"{name} --ver"}
    words |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = CliRunner().invoke(
        APPS[name],
        env={variable: f"complete_{shell}", **words},
        prog_name=name,
    )
    assert "--version" in result.output


@pytest.mark.parametrize("name", APPS)
def test_help_imports_nothing_but_typer(name):
    found = _imported(
        f"from {_module(name)} import main; sys.argv = [{name!r}, '--help']; main()"
    )
    own = {each for each in found if each.startswith("icat_stream.")}
    assert {each for each in own if not each.startswith("icat_stream.cli")} == set()
    assert found - own - {"icat_stream"} <= _imported("import typer.completion")


def test_the_client_library_needs_no_part_of_the_daemon():
    found = _imported("import icat_stream.client")
    own = {each for each in found if each.startswith("icat_stream.")}
    assert {each.split(".")[1] for each in own} <= {"client"}
    for heavy in ("confluent_kafka", "pydantic", "sqlalchemy", "h5py", "typer"):
        assert heavy not in found


def _module(name: str) -> str:
    return next(
        m.__name__
        for m in (ingestor, background, validate, tools)
        if m.app is APPS[name]
    )


def _imported(code: str) -> set[str]:
    """Return what a fresh interpreter has imported after it ran the code.

    Of packages that are neither Python's nor ours, only the name of the package.
    """
    script = (
        "import atexit, sys\n"
        "def tell():\n"
        "    mine = {m for m in sys.modules if m.split('.')[0] == 'icat_stream'}\n"
        "    tops = {m.split('.')[0] for m in sys.modules}\n"
        "    tops -= sys.stdlib_module_names | {'__main__', '__mp_main__'}\n"
        "    print(*(mine | tops), file=sys.stderr)\n"
        "atexit.register(tell)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script + code],
        capture_output=True,
        text=True,
        check=True,
    )
    return {m for m in done.stderr.split() if not m.startswith(("_", "sitecustom"))}
