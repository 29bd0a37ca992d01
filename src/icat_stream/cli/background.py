"""``icat_background_ingestor``: one file or one message."""

from pathlib import Path
from typing import Annotated

import typer

from .command_line import CommandLine, VersionOption
from .ingestor import ConfigOption, OutputOption, VerboseOption
from .terminal import Output

app = CommandLine()


@app.command()
def run(
    config: ConfigOption,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="The file, on this host."),
    ] = None,
    message: Annotated[
        Path | None,
        typer.Option(
            "--message",
            metavar="FILE",
            help="A record's raw value, or the JSON kept beside a data file.",
        ),
    ] = None,
    consumer: Annotated[
        str | None,
        typer.Option(
            "--consumer",
            metavar="NAME",
            help="Whose handler to use; without it, the one of files, or the only one.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be written; write nothing."),
    ] = False,
    event: Annotated[
        bool, typer.Option("--event/--no-event", help="Tell the events topic.")
    ] = True,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
    version: VersionOption = False,
) -> None:
    """Do for one file or one message what the daemon does, at once.

    Exit codes: 0 done or unchanged; 2 bad usage or configuration; 3 rejected;
    4 deferred; 5 a system is unavailable or refuses the login; 1 a bug.
    """
    from icat_stream.cli.exits import exit_codes, leave
    from icat_stream.records import ExitCode

    if file is None and message is None:
        leave(ExitCode.USAGE, "give --file, --message, or both")
    with exit_codes():
        from icat_stream.app import run_one_shot

        code = run_one_shot(
            config,
            file=file,
            message=message,
            consumer=consumer,
            dry_run=dry_run,
            event=event,
            json_output=output is Output.JSON,
            verbose=verbose,
        )
        raise SystemExit(code)


def main() -> None:
    """Run the command."""
    app()
