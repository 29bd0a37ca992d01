"""``icat_stream``: the operators' tools."""

from pathlib import Path
from typing import Annotated

import typer

from .dataservice import app as dataservice
from .dead_letters import app as dead_letters
from .health import health
from .journal import app as journal
from .reconcile import reconcile
from .sandbox import app as sandbox

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True
)
config = typer.Typer(no_args_is_help=True)
app.add_typer(sandbox, name="sandbox", help="The embedded facility.")
app.add_typer(dataservice, name="dataservice", help="An ICAT Data Service.")
app.add_typer(dead_letters, name="dead-letters", help="What was rejected.")
app.add_typer(config, name="config", help="The configuration.")
app.add_typer(journal, name="journal", help="What became of each message.")
app.command()(health)
app.command()(reconcile)


def _version(wanted: bool) -> None:
    if wanted:
        import icat_stream

        typer.echo(icat_stream.__version__)
        raise typer.Exit


@app.callback()
def tools(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say it."),
    ] = False,
) -> None:
    """Tools for those who operate icat-stream, or try it."""


@config.command()
def sample() -> None:
    """Print a configuration with every setting, commented."""
    from icat_stream.config.sample import render

    typer.echo(render(), nl=False)


@config.command()
def schemas(
    folder: Annotated[Path, typer.Argument(help="A new folder, such as schemas.")],
) -> None:
    """Copy the metadata schemas that come with icat-stream, to start from."""
    import shutil

    from icat_stream.cli.exits import exit_codes
    from icat_stream.config.resources import shipped

    with exit_codes():
        shutil.copytree(shipped("schemas"), folder)


def main() -> None:
    """Run the command."""
    app()
