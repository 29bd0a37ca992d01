"""Failures that end a command before or beside its work become exit codes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from icat_stream.records import ExitCode


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
    except (BrokenPipeError, typer.BadParameter, typer.Exit, typer.Abort):
        # The command line's own: it says what is wrong with the usage, or ends quietly.
        raise
    except ConfigError as error:
        leave(ExitCode.USAGE, str(error))
    except OSError as error:
        leave(
            ExitCode.USAGE,
            f"{error.filename or 'the system'}: {error.strerror or error}",
        )
    except SystemUnavailable as error:
        leave(ExitCode.UNAVAILABLE, f"{error.system}: {error}")
    except Rejection as error:
        leave(ExitCode.REJECTED, f"rejected: {error}")
    except (DependencyMissing, NotReady, TransientFailure) as error:
        leave(ExitCode.DEFERRED, f"deferred: {error}")
    except Failure as error:
        # What is left: the configuration names what the catalogue does not have.
        leave(ExitCode.USAGE, str(error))
    except Exception as error:
        import traceback

        traceback.print_exc()
        leave(ExitCode.BUG, printable(bug_reason(error)))


def leave(code: ExitCode, message: str) -> NoReturn:
    """Say why on standard error, and exit."""
    sys.stderr.write(f"{message}\n")
    raise SystemExit(int(code))
