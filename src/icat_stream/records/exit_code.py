"""What the exit codes of all commands mean."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Why a command ended."""

    DONE = 0
    BUG = 1
    USAGE = 2
    """Bad usage, or a configuration that is wrong."""
    REJECTED = 3
    """A record is wrong; of the daemon: too many were."""
    DEFERRED = 4
    UNAVAILABLE = 5
    """A system is down, or refuses the login."""
