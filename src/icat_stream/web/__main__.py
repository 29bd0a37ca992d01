"""``python -m icat_stream.web --config FILE [--ready FILE]``."""

import argparse
import sys
from pathlib import Path

from icat_stream.config import ConfigError, load

from .server import serve


def main() -> int:
    """Run the dashboard; 2 if it cannot start as configured."""
    parser = argparse.ArgumentParser(prog="python -m icat_stream.web")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--ready", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    try:
        serve(load(arguments.config), ready=arguments.ready)
    except (OSError, ConfigError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
