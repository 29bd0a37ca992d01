"""``icat_stream search``: datasets and investigations by words."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command_line import configured
from .dead_letters import ConfigOption, OutputOption
from .terminal import is_text

if TYPE_CHECKING:
    from collections.abc import Mapping


def search(
    config: ConfigOption,
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY",
            help='Words that are all in it; "a phrase", begin*, a | b. After --, -not.',
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="KIND", help="dataset or investigation."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most.")
    ] = 20,
    consumer: Annotated[
        str | None,
        typer.Option("--consumer", metavar="NAME", help="Whose index, of several."),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Search the index of the consumer search_index.

    It knows nothing of who may see what in ICAT: who can read the configuration's
    password sees all of it.

    Exit codes: 0; 1 nothing was found; 2 bad usage or configuration; 5 the index does
    not answer.
    """
    from icat_stream.cli.extras import require_extra

    require_extra("search", "icat_stream search")
    if kind not in (None, "dataset", "investigation"):
        raise typer.BadParameter("dataset or investigation", param_hint="--kind")
    with configured(config) as settings:
        from icat_stream.app import search_index
        from icat_stream.records import json_line

        with search_index(settings, consumer) as index:
            total, found = index.search(" ".join(query), kind, limit)  # type: ignore[arg-type]
        if not is_text(output):
            for each in found:
                typer.echo(json_line(each))
        else:
            for each in found:
                typer.echo(_line(each))
            shown = "" if total <= len(found) else f"; the best {len(found)} are shown"
            typer.echo(f"{total} found{shown}")
    if not found:
        raise typer.Exit(1)


def _line(found: "Mapping[str, Any]") -> str:
    from icat_stream.records import printable

    visit = found["investigation"]
    parts = [f"{found['kind']} {found['id']}", f"{visit['name']}/{visit['visit_id']}"]
    parts.append(found["title"] if "title" in found else found["name"])
    parts += [found[each][:10] for each in ("start",) if each in found]
    parts += [", ".join(found.get(each, ())) for each in ("instruments", "samples")]
    parts.append(found.get("location", found.get("doi", "")))
    return printable("  ".join(each for each in parts if each))
