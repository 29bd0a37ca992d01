"""``python -m icat_stream.dataservice --config FILE [--ready FILE]``."""

import argparse
import logging
import os
import sys
import threading
from pathlib import Path

from .server import serve
from .settings import SettingsError, load


def main() -> int:
    """Run the data service; 2 if it cannot start as configured."""
    parser = argparse.ArgumentParser(prog="python -m icat_stream.dataservice")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--ready", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    try:
        serve(load(arguments.config), arguments.ready)
    except (OSError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def end(code: int) -> None:
    """End the process, even if a storage hangs in one of its threads."""
    logging.shutdown()
    if threading.active_count() > 1:
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


if __name__ == "__main__":
    end(main())
