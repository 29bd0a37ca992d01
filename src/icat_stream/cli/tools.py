"""``icat_stream``: the operators' tools."""

from pathlib import Path
from typing import Annotated

import typer

from .bridge import bridge
from .command_line import CommandLine, VersionOption
from .dataservice import app as dataservice
from .dead_letters import app as dead_letters
from .docs import docs
from .forward import forward
from .health import health
from .integrations import app as integrations
from .journal import app as journal
from .reconcile import reconcile
from .retention import app as retention
from .sandbox import app as sandbox
from .schedule import app as schedule
from .schemas import app as schema_tools
from .search import search
from .transactions import app as transactions
from .web import web

app = CommandLine(no_args_is_help=True)
config = CommandLine(no_args_is_help=True)
app.add_typer(sandbox, name="sandbox", help="The embedded facility.")
app.add_typer(dataservice, name="dataservice", help="An ICAT Data Service.")
app.add_typer(dead_letters, name="dead-letters", help="What was rejected.")
app.add_typer(config, name="config", help="The configuration.")
app.add_typer(schema_tools, name="schemas", help="What a file becomes.")
app.add_typer(journal, name="journal", help="What became of each message.")
app.add_typer(integrations, name="integrations", help="What follows a dataset.")
app.add_typer(retention, name="retention", help="What may leave the disk.")
app.add_typer(schedule, name="schedule", help="What is asked for by time.")
app.add_typer(transactions, name="transactions", help="Those that hang in Kafka.")
app.command()(bridge)
app.command()(docs)
app.command()(forward)
app.command()(health)
app.command()(reconcile)
app.command()(search)
app.command()(web)


@app.callback()
def tools(version: VersionOption = False) -> None:
    """Tools for those who operate icat-stream, or try it."""


@config.command()
def sample() -> None:
    """Print a configuration with every setting, commented."""
    from icat_stream.config import render

    typer.echo(render(), nl=False)


@config.command()
def schemas(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A new one, such as schemas.")
    ],
) -> None:
    """Copy the metadata schemas that come with icat-stream."""
    import shutil

    from icat_stream.cli.exits import exit_codes
    from icat_stream.config import shipped

    with exit_codes():
        shutil.copytree(shipped("schemas"), folder)


def main() -> None:
    """Run the command."""
    app()
