"""``icat_stream forward``: from this Kafka cluster to another one."""

import signal
from typing import Annotated

import typer

from .command_line import configured
from .dead_letters import ConfigOption


def forward(
    config: ConfigOption,
    until_end: Annotated[
        bool,
        typer.Option("--until-end", help="Stop where the topics end now."),
    ] = False,
    begin: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="TOPIC[PARTITION]@OFFSET",
            help="Go on from there, whatever was forwarded; repeatable.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be; write nothing."),
    ] = False,
) -> None:
    """Forward records to another Kafka cluster, by rules.

    Each once, with its key, headers and time, until Ctrl-C or SIGTERM. One works at a
    time: a second one takes over from the first.

    Exit codes: 0 stopped, or the end was reached; 2 bad usage or configuration; 5 a
    cluster refuses us or lacks a topic, or another one has taken over.
    """
    with configured(config) as settings:
        from icat_stream.cli.search_options import coordinates
        from icat_stream.records import json_line
        from icat_stream.relay import Forwarder, Source
        from icat_stream.telemetry import configure_logging

        stopped: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda signum, _: stopped.append(signum))
        telemetry = settings.telemetry
        configure_logging(
            telemetry.log_level,
            telemetry.log_file,
            as_json=telemetry.log_format == "json",
        )
        places = [coordinates(each) for each in begin or ()]
        forwarder = Forwarder(settings, lambda: bool(stopped))
        if dry_run:
            for at, made in forwarder.look():
                line = {"from": str(at), "rule": made.rule, "to": made.topic}
                text = made.value and made.value.decode(errors="backslashreplace")
                typer.echo(json_line({**line, "value": text}))
            return
        forwarder.run(
            until_end=until_end,
            begin={Source(each.topic, each.partition): each.offset for each in places},
        )
        for rule, count in sorted(forwarder.counts.items()):
            typer.echo(f"{rule}: {count} forwarded")
