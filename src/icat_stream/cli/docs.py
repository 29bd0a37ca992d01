"""``icat_stream docs``: the pages that travel with the program, for the night."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def docs(
    name: Annotated[
        str | None,
        typer.Argument(metavar="PAGE", help="Such as icat-down; without it, a list."),
    ] = None,
) -> None:
    """Show a page of the documentation; without a name, list them.

    Exit codes: 0 done; 2 there is no such page.
    """
    from icat_stream.cli.exits import leave
    from icat_stream.config import documentation
    from icat_stream.records import ExitCode

    folder = documentation()
    night = sorted((folder / "night").glob("*.md"))
    others = sorted(folder.glob("*.md"))
    pages = {page.stem: page for page in (*others, *night) if page.stem != "index"}
    if name is None:
        for title, group in (("At night:", night), ("By day:", others)):
            sys.stdout.write(f"{title}\n")
            for page in group:
                if page.stem in pages:
                    sys.stdout.write(f"  {page.stem:21} {_title(page)}\n")
        sys.stdout.write("\nicat_stream docs PAGE shows one.\n")
        return
    # As alerts and links name it: with its folder or suffix.
    found = pages.get(name.rpartition("/")[2].removesuffix(".md").removesuffix(".html"))
    if found is None:
        import difflib

        near = difflib.get_close_matches(name, list(pages), n=1)
        hint = f"did you mean {near[0]}?" if near else "`icat_stream docs` lists them"
        leave(ExitCode.USAGE, f"there is no page {name!r}: {hint}")
    text = found.read_text(encoding="utf-8")
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(text, hyperlinks=False))
    else:
        sys.stdout.write(text)


def _title(page: Path) -> str:
    with page.open(encoding="utf-8") as lines:
        return next((line[2:].strip() for line in lines if line.startswith("# ")), "")
