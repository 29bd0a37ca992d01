"""Exit codes, and the one place where failures become them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn


class Exit(IntEnum):
    """What the commands' exit codes mean."""

    DONE = 0
    BUG = 1
    USAGE = 2
    REJECTED = 3
    DEFERRED = 4
    UNAVAILABLE = 5


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn foreseen failures into one line on standard error and an exit code."""
    from icat_stream.config import ConfigError
    from icat_stream.records import (
        DependencyMissing,
        Failure,
        NotReady,
        Rejection,
        SystemUnavailable,
        TransientFailure,
        bug_reason,
        printable,
    )

    try:
        yield
    except BrokenPipeError:
        # No failure of ours: the command line ends quietly.
        raise
    except ConfigError as error:
        leave(Exit.USAGE, str(error))
    except OSError as error:
        leave(
            Exit.USAGE, f"{error.filename or 'the system'}: {error.strerror or error}"
        )
    except SystemUnavailable as error:
        leave(Exit.UNAVAILABLE, f"{error.system}: {error}")
    except Rejection as error:
        leave(Exit.REJECTED, f"rejected: {error}")
    except (DependencyMissing, NotReady, TransientFailure) as error:
        leave(Exit.DEFERRED, f"deferred: {error}")
    except Failure as error:
        # What is left: the configuration names what the catalogue does not have.
        leave(Exit.USAGE, str(error))
    except Exception as error:
        import traceback

        traceback.print_exc()
        leave(Exit.BUG, printable(bug_reason(error)))


def leave(code: Exit, message: str) -> NoReturn:
    """Say why on standard error, and exit."""
    sys.stderr.write(f"{message}\n")
    raise SystemExit(int(code))
