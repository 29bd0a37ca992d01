"""``icat_stream sandbox``: the embedded facility."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .command_line import CommandLine

app = CommandLine(no_args_is_help=True)

Dir = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="The facility's folder.")
]
KafkaOption = Annotated[
    str,
    typer.Option(
        "--kafka",
        metavar="embedded|java|HOST:PORT",
        help="Without Java and for trying only; a real broker; one that runs.",
    ),
]
_DIR = Path("sandbox")


@app.command()
def up(
    directory: Dir = _DIR,
    kafka: KafkaOption = "embedded",
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="NAME", help="Of the ICAT server.")
    ] = "UTC",
    two_level: Annotated[
        bool, typer.Option("--two-level", help="Give the data service an archive.")
    ] = False,
    triggers: Annotated[
        bool,
        typer.Option(
            "--triggers/--no-triggers",
            help="Have ICAT's database keep fileCount and fileSize.",
        ),
    ] = True,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave it running and return.")
    ] = False,
) -> None:
    """Start Kafka, ICAT and a data service on loopback.

    Writes config.yaml, env, icat.cfg and, once all is up, endpoints.json to DIR.
    Without --detach it runs until Ctrl-C.
    """
    with _failures():
        from icat_stream.sandbox import Facility, up_detached

        if detach:
            endpoints = up_detached(
                directory,
                kafka=kafka,
                timezone=timezone,
                two_level=two_level,
                triggers=triggers,
            )
            for name, where in endpoints.items():
                typer.echo(f"{name:8} {where}")
        else:
            Facility(
                directory,
                kafka=kafka,
                timezone=timezone,
                two_level=two_level,
                triggers=triggers,
            ).run(typer.echo)


@app.command()
def down(directory: Dir = _DIR) -> None:
    """End the facility in DIR; its files stay."""
    with _failures():
        from icat_stream.sandbox import down as end

        ended = end(directory)
        typer.echo("ended" if ended else f"nothing runs in {directory}")


@app.command()
def reset(
    directory: Dir = _DIR,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Empty the facility in DIR, and end it if it runs.

    Catalogue, data, topics and journal go; configuration, metadata schemas and
    passwords stay.  The next `up` begins anew.
    """
    with _failures():
        from icat_stream.sandbox import reset as empty

        if not yes:
            typer.confirm(f"Remove all that {directory} holds?", abort=True, err=True)
        running = empty(directory)
        typer.echo("ended and emptied" if running else "emptied")


@app.command()
def status(directory: Dir = _DIR) -> None:
    """Say where the services of the facility in DIR are.

    Exit codes: 0 it runs; 1 it does not.
    """
    with _failures():
        from icat_stream.sandbox import Folder

        folder = Folder(directory)
        endpoints = folder.read_endpoints()
        typer.echo(f"running in {folder.path}, pid {folder.holder()}")
        for name, where in endpoints.items():
            typer.echo(f"{name:8} {where}")


@app.command()
def announce(
    directory: Dir = _DIR,
    count: Annotated[
        int, typer.Option(metavar="N", min=1, help="Files to write.")
    ] = 10,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.001, help="Files a second; or at once."),
    ] = None,
    layout: Annotated[
        str, typer.Option(metavar="ess|isis|both", help="How the files look.")
    ] = "both",
    seed: Annotated[
        int, typer.Option(metavar="N", help="Decides on their content.")
    ] = 0,
) -> None:
    """Write NeXus files as a file writer would, and announce them."""
    with _failures():
        from icat_stream.sandbox import LAYOUTS, announce_files

        if layout not in LAYOUTS:
            raise typer.BadParameter(f"expected one of {', '.join(LAYOUTS)}")
        announce_files(directory, count=count, rate=rate, layout=layout, seed=seed)


@app.command()
def demo(
    kafka: KafkaOption = "embedded",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the facility's files.")
    ] = False,
) -> None:
    """Show the whole way from announcement to catalogue.

    It runs on a facility of its own, which ends with it: on a terminal at Enter or
    Ctrl-C, with a dashboard to look at until then.
    """
    with _failures():
        from icat_stream.sandbox import show

        raise SystemExit(show(kafka=kafka, keep=keep))


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what is foreseen into one line and an exit code."""
    from icat_stream.cli.extras import require_extra

    require_extra("sandbox", "icat_stream sandbox")
    from icat_stream.config import ConfigError
    from icat_stream.sandbox import SandboxError

    try:
        yield
    except (SandboxError, ConfigError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None
