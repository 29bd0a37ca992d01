"""Becomes one command after the other: `python -P forking.py SOCKET MODULE...`.

Importing is most of what a command costs, and the same each time: this process has done
it, and forks for each command that it is asked for.  Nothing is imported here that a
command does not import itself.
"""

import gc
import json
import os
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points


def serve(channel: socket.socket, modules: list[str]) -> Callable[[], object]:
    """Return only in children, with what each of them is to do."""
    commands = {
        each.name: each.load()
        for each in entry_points(group="console_scripts")
        if each.value.startswith("icat_stream.")
    }
    for name in modules:
        module = import_module(name)
        if hasattr(module, "__path__"):
            commands[name] = import_module(f"{name}.__main__").main
    gc.freeze()
    while True:
        asked, outputs, _, _ = socket.recv_fds(channel, 1 << 20, 2)
        if not asked:
            sys.exit()
        pid = os.fork()
        if not pid:
            channel.close()
            return _become(commands, json.loads(asked), outputs)
        for output in outputs:
            os.close(output)
        channel.send(str(pid).encode())
        status = os.waitpid(pid, 0)[1]
        channel.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(
    commands: dict[str, Callable[[], object]],
    asked: dict[str, object],
    outputs: list[int],
) -> Callable[[], object]:
    for output, place in zip(outputs, (1, 2), strict=True):
        os.dup2(output, place)
        os.close(output)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = asked["command"]
    return commands[os.path.basename(sys.argv[0])]


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])())
