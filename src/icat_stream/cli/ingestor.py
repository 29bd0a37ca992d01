"""``icat_ingestor``: the daemon."""

import gc
from pathlib import Path
from typing import Annotated

import typer

from .command_line import CommandLine, VersionOption
from .terminal import Output

app = CommandLine()


ConfigOption = Annotated[
    Path,
    typer.Option(
        "-c", "--config", metavar="FILE", help="The configuration, a YAML file."
    ),
]
ConsumerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--consumer", metavar="NAME", help="Only this one; may be given again."
    ),
]
OutputOption = Annotated[
    Output, typer.Option("--output", help="For people, or a line of JSON a record.")
]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Log details.")]


@app.command()
def run(
    config: ConfigOption,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be written; move nothing."),
    ] = False,
    consumer: ConsumerOption = None,
    until_end: Annotated[
        bool,
        typer.Option(
            "--until-end",
            help="Stop at the ends that the partitions have now; print a summary.",
        ),
    ] = False,
    wait: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0.0,
            help="With --until-end or --dry-run: for what is down; then exit code 5.",
        ),
    ] = 60.0,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="Look first for users and investigations that were deleted in ICAT.",
        ),
    ] = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
    version: VersionOption = False,
) -> None:
    """Bring the catalogue to what is announced on Kafka, until told to stop.

    Exit codes: 0 done; 2 bad usage or configuration; 3 too many records rejected;
    5 a system is unavailable or refuses the login; 1 a bug.
    """
    from icat_stream.cli.exits import exit_codes

    with exit_codes():
        from icat_stream.app import run_daemon

        gc.enable()
        code = run_daemon(
            config,
            only=consumer,
            dry_run=dry_run,
            until_end=until_end,
            wait=wait,
            refresh=refresh,
            json_output=output is Output.JSON,
            verbose=verbose,
        )
        raise SystemExit(code)


def main() -> None:
    """Run the command."""
    # Imports make many objects and no garbage: until they are done, looking is in vain.
    gc.disable()
    app()
