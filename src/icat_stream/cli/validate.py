"""``icat_validate_config``: checks a configuration."""

from pathlib import Path
from typing import Annotated

import typer

from .command_line import CommandLine, VersionOption

app = CommandLine()


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The configuration.")
    ] = None,
    config_option: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="The same.")
    ] = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Reach every system as well.")
    ] = False,
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help="Reach every system, and download one byte of the newest datafile.",
        ),
    ] = False,
    version: VersionOption = False,
) -> None:
    """Check a configuration, and the metadata schemas that it names.

    Exit codes: 0 it is right; 2 it is not; 5 with --connect or --download: a
    system cannot be reached, or refuses the login or the file.
    """
    from icat_stream.cli.exits import exit_codes, leave
    from icat_stream.records import ExitCode

    file = config or config_option
    if file is None:
        leave(ExitCode.USAGE, "give the configuration: icat_validate_config FILE")
        return
    with exit_codes():
        from icat_stream.app import validate

        code = validate(file, connect=connect, download=download)
        raise SystemExit(code)


def main() -> None:
    """Run the command."""
    app()
