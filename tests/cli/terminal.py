"""A terminal of some width, and what a command shows on it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from typing import Any


def on_a_terminal(columns: int, *command: Any, code: int = 0) -> bytes:
    """Return what a command shows on a terminal of that many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    size = {"COLUMNS", "LINES", "NO_COLOR"}
    done = subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env={k: v for k, v in os.environ.items() if k not in size} | {"TERM": "xterm"},
    )
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:
        # Nobody has the other end any more.
        pass
    os.close(master)
    assert done.wait(240) == code, shown.decode()
    return shown


def seen(shown: bytes) -> list[str]:
    """Return the lines that a person sees: colours and ends of lines aside."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    return [line.rstrip() for line in text.splitlines()]
