"""``icat_stream web``: the dashboard."""

from pathlib import Path
from typing import Annotated

import typer


def web(
    config: Annotated[
        Path, typer.Option("-c", "--config", metavar="FILE", help="The daemon's.")
    ],
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="HOST:PORT", help="Instead of web.listen."),
    ] = None,
) -> None:
    """Run the dashboard until Ctrl-C or SIGTERM.

    Exit codes: 0 stopped; 2 bad usage or configuration.
    """
    from icat_stream.cli.exits import exit_codes
    from icat_stream.cli.extras import require_extra

    require_extra("web", "icat_stream web")
    from icat_stream.config import load
    from icat_stream.web import serve

    with exit_codes():
        serve(load(config), listen=listen)
