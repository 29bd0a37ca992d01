"""``icat_stream dataservice``: an ICAT Data Service."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .command_line import CommandLine
from .terminal import Output

app = CommandLine(invoke_without_command=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="The service's configuration."),
]


@app.callback()
def serve(
    context: typer.Context,
    config: ConfigOption = None,
    ready: Annotated[
        Path | None,
        typer.Option("--ready", metavar="FILE", help="Written once it listens."),
    ] = None,
) -> None:
    """Run an ICAT Data Service until Ctrl-C or SIGTERM.

    Exit codes: 0 stopped; 2 bad usage or configuration.
    """
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    from icat_stream.cli.exits import leave
    from icat_stream.cli.extras import require_extra
    from icat_stream.records import ExitCode

    require_extra("dataservice", "icat_stream dataservice")
    from icat_stream.dataservice import SettingsError, end, load
    from icat_stream.dataservice import serve as run

    try:
        run(load(_given(config)), ready)
    except (OSError, SettingsError) as error:
        leave(ExitCode.USAGE, str(error))
    end(ExitCode.DONE)


@app.command()
def check(
    context: typer.Context,
    config: ConfigOption = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Remove orphans; have written what the archive lacks."
        ),
    ] = False,
    remove_entries: Annotated[
        bool,
        typer.Option(
            "--remove-entries",
            help="Remove entries from ICAT whose file is nowhere (as the reader).",
        ),
    ] = False,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="AGE", help="Spare what is younger, such as 1h."
        ),
    ] = "1h",
    at_most: Annotated[
        int,
        typer.Option(
            "--at-most", metavar="N", min=0, help="Removals, or do nothing at all."
        ),
    ] = 100,
    output: Annotated[Output, typer.Option("--output")] = Output.TEXT,
) -> None:
    """Compare what is stored with what is catalogued.

    May run beside the service.

    Exit codes: 0 all is well, or repaired; 2 bad usage or configuration; 3 something
    is left; 5 ICAT is unavailable.
    """
    import json

    from pydantic import TypeAdapter, ValidationError

    from icat_stream.cli.exits import leave
    from icat_stream.cli.extras import require_extra
    from icat_stream.records import ExitCode

    require_extra("dataservice", "icat_stream dataservice check")
    from icat_stream.config import Duration
    from icat_stream.dataservice import (
        Check,
        IdsError,
        Kind,
        Repairs,
        SettingsError,
        TooMany,
        load,
    )

    left = 0
    try:
        seconds = TypeAdapter(Duration).validate_python(older_than)
        repairs = Repairs(
            files=repair, entries=remove_entries, older_than=seconds, at_most=at_most
        )
        checking = Check(load(_given(config or context.obj)))
        try:
            for finding in checking.run(repairs):
                # What others put beside the service's files is their business.
                left += not finding.repaired and finding.kind is not Kind.UNKNOWN
                line = (
                    json.dumps(finding.fields())
                    if output is Output.JSON
                    else finding.text()
                )
                sys.stdout.write(f"{line}\n")
        finally:
            checking.close()
    except ValidationError:
        leave(
            ExitCode.USAGE, f"--older-than {older_than}: expected such as 30m, 1h or 7d"
        )
    except (OSError, SettingsError, TooMany) as error:
        leave(ExitCode.USAGE, str(error))
    except IdsError as error:
        leave(ExitCode.UNAVAILABLE, str(error))
    if left:
        leave(ExitCode.REJECTED, f"{left} left to look at")


def _given(config: Path | None) -> Path:
    if config is None:
        raise typer.BadParameter("give -c FILE, the data service's configuration")
    return config
