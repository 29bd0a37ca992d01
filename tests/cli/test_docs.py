"""The pages that are read at night, where the daemon runs."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icat_stream.cli.tools import app

from .conftest import BIN
from .terminal import on_a_terminal, seen

PAGES = sorted((Path(__file__).parents[2] / "docs" / "night").glob("[!i]*.md"))


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["docs", *words])
    assert done.exit_code == code, done.output
    return done.output


def test_all_pages_are_listed_with_their_titles_at_80_columns():
    text = run()
    assert max(map(len, text.splitlines())) <= 80
    for page in PAGES:
        title = page.read_text().partition("\n")[0].removeprefix("# ")
        assert re.search(rf"^  {page.stem} +{re.escape(title)}$", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["icat-down", "night/icat-down", "icat-down.md"])
def test_a_page_by_any_name_that_is_told(name):
    assert run(name) == (PAGES[0].parent / "icat-down.md").read_text()


def test_at_a_terminal_it_is_laid_out():
    lines = seen(on_a_terminal(80, BIN / "icat_stream", "docs", "icat-down"))
    assert max(map(len, lines)) <= 80
    assert "```" not in "\n".join(lines)


def test_no_such_page():
    assert "did you mean icat-down?" in run("icat-dwn", code=2)
