"""The process that stays behind `icat_stream sandbox up --detach`."""

import argparse
import sys
from pathlib import Path

from icat_stream.config import ConfigError

from .facility import Facility
from .folder import SandboxError


def main() -> int:
    """Run a facility until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m icat_stream.sandbox")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--kafka", default="embedded")
    parser.add_argument("--timezone", default="UTC")
    parser.add_argument("--two-level", action="store_true")
    parser.add_argument("--no-triggers", action="store_true")
    options = parser.parse_args()

    def tell(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    try:
        Facility(
            options.dir,
            kafka=options.kafka,
            timezone=options.timezone,
            two_level=options.two_level,
            triggers=not options.no_triggers,
        ).run(tell)
    except (ConfigError, SandboxError) as error:
        tell(str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
