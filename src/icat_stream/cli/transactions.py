"""``icat_stream transactions``: those that hang in Kafka, and how to end them."""

from typing import TYPE_CHECKING, Annotated

import typer

from .command_line import CommandLine, configured
from .dead_letters import ConfigOption

if TYPE_CHECKING:
    from icat_stream.config import Settings

app = CommandLine(no_args_is_help=True)

ConsumerOption = Annotated[
    str | None,
    typer.Option("--consumer", metavar="NAME", help="That one; by default all."),
]


@app.command("list")
def list_(config: ConfigOption, consumer: ConsumerOption = None) -> None:
    """List what stays undecided of the consumers' offsets and topics.

    Takes half a minute where something is undecided: most of it ends by itself.

    Exit codes: 0 nothing hangs; 4 something does; 2 bad usage or configuration; 5 Kafka
    is unavailable.
    """
    with configured(config) as settings:
        from icat_stream.records import ExitCode
        from icat_stream.stream import find_hanging

        found = False
        for name in _names(settings, consumer):
            for each in find_hanging(settings, name):
                typer.echo(f"{name}: {each}")
                found = True
        if found:
            raise SystemExit(int(ExitCode.DEFERRED))
        typer.echo("no transaction hangs")


@app.command()
def free(
    config: ConfigOption,
    consumer: ConsumerOption = None,
    sender: Annotated[
        str | None,
        typer.Option(
            "--transactional-id",
            metavar="ID",
            help="Of who left it; by default that of kafka.instance_id.",
        ),
    ] = None,
) -> None:
    """End what an instance has left hanging; stop that instance first.

    What it had begun there is undone, and comes again when its records do.

    Exit codes: 0 nothing hangs any more; 4 it still does; 2 bad usage or
    configuration; 5 Kafka is unavailable.
    """
    with configured(config) as settings:
        from icat_stream.cli.exits import leave
        from icat_stream.records import ExitCode
        from icat_stream.stream import (
            find_hanging,
            free_hanging,
            transactional_id,
        )

        instance = settings.kafka.instance_id
        if sender is None and instance is None:
            leave(
                ExitCode.USAGE,
                "kafka.instance_id is not set: say who left it, with"
                " --transactional-id (kafka-transactions.sh list names them)",
            )
        for name in _names(settings, consumer):
            places = find_hanging(settings, name)
            if not places:
                typer.echo(f"{name}: no transaction hangs")
                continue
            by = sender or transactional_id(settings, name, instance or "")
            left = free_hanging(settings, name, by, places)
            for each in places:
                if each not in left:
                    typer.echo(f"{name}: freed {each}")
            if left:
                leave(
                    ExitCode.DEFERRED,
                    f"{name}: {', '.join(map(str, left))}: not left by {by}:"
                    " kafka-transactions.sh find-hanging names the producer",
                )


def _names(settings: "Settings", consumer: str | None) -> list[str]:
    from icat_stream.cli.exits import leave
    from icat_stream.records import ExitCode

    if consumer is None:
        return [name for name, each in settings.consumers.items() if each.enabled]
    if consumer not in settings.consumers:
        leave(
            ExitCode.USAGE,
            f"--consumer {consumer} is none of the consumers in the configuration:"
            f" {', '.join(settings.consumers)}",
        )
    return [consumer]
