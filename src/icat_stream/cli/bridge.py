"""``icat_stream bridge``: from a STOMP broker to Kafka."""

import signal

from .command_line import configured
from .dead_letters import ConfigOption


def bridge(config: ConfigOption) -> None:
    """Bring a STOMP broker's messages to Kafka.

    Until Ctrl-C or SIGTERM. Each is acknowledged once Kafka has it. Several bridges may
    share the queues.

    Exit codes: 0 stopped; 2 bad usage or configuration; 5 Kafka is unavailable, or the
    broker refuses the login.
    """
    from icat_stream.cli.extras import require_extra

    require_extra("bridge", "icat_stream bridge")
    with configured(config) as settings:
        from icat_stream.bridge import Bridge
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
        Bridge(settings, lambda: bool(stopped)).run()
