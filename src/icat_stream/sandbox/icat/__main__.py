"""The ICAT server as a process: ``python -m icat_stream.sandbox.icat``."""

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from icat_stream.sandbox.icat.server import Server, listen
from icat_stream.sandbox.icat.service import DEFAULT_ROOTS, Settings


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop.

    Parameters
    ----------
    arguments
        The command line, by default the process's own.
    """
    parser = _options()
    options = parser.parse_args(arguments)
    try:
        accounts = _accounts(options.accounts)
        ZoneInfo(options.timezone)
        oidc = None
        if options.oidc is not None:
            from icat_stream.sandbox.icat.oidc import OidcSettings

            oidc = OidcSettings.read(options.oidc)
    except (OSError, ValueError, ZoneInfoNotFoundError) as error:
        parser.error(str(error))
    settings = Settings(
        accounts=accounts,
        roots=options.root or DEFAULT_ROOTS,
        database=str(options.database) if options.database else None,
        timezone=options.timezone,
        lifetime=options.lifetime,
        max_entities=options.max_entities,
        traps=not options.no_traps,
        match_case=options.match_case,
        file_totals=not options.no_triggers,
        max_body=options.max_body,
        oidc=oidc,
    )
    asyncio.run(_serve(settings, options))
    return 0


def _accounts(path: Path) -> dict[str, dict[str, str]]:
    try:
        accounts = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: no JSON: {error}") from error
    if not isinstance(accounts, dict):
        raise ValueError(f"{path}: expected an object of authenticators")
    for name, users in accounts.items():
        if not isinstance(users, dict):
            raise ValueError(f"{path}: {name}: expected an object of passwords by user")
        for user, password in users.items():
            if not isinstance(password, str):
                raise ValueError(
                    f"{path}: {name}/{user}: the password must be a string"
                )
    return accounts


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m icat_stream.sandbox.icat")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument(
        "--admin-port", type=int, help="where faults are ordered (0: any free port)"
    )
    parser.add_argument("--database", type=Path, help="the file; in memory without it")
    parser.add_argument(
        "--accounts",
        type=Path,
        required=True,
        help='JSON: {"simple": {"root": "password"}, "db": {...}, "anon": {}}',
    )
    parser.add_argument(
        "--oidc",
        type=Path,
        help='JSON of an authenticator "oidc": {"issuer": "http://…", "scope": null,'
        ' "claim": "…", "mechanism": "…"}',
    )
    parser.add_argument(
        "--root",
        action="append",
        metavar="AUTHENTICATOR/USER",
        help="a user who may do everything; may be repeated",
    )
    parser.add_argument("--timezone", default="UTC", help="the server's time zone")
    parser.add_argument(
        "--lifetime", type=float, default=120, help="minutes of a session"
    )
    parser.add_argument("--max-entities", type=int, default=10_000)
    parser.add_argument(
        "--match-case",
        action="store_true",
        help="tell a from A, as a database with a binary collation does",
    )
    parser.add_argument(
        "--no-triggers",
        action="store_true",
        help="leave fileCount and fileSize of a new database to its clients",
    )
    parser.add_argument(
        "--max-body", type=int, default=100_000_000, help="longest request in bytes"
    )
    parser.add_argument(
        "--no-traps",
        action="store_true",
        help="be stricter and clearer than a real ICAT",
    )
    parser.add_argument(
        "--ready", type=Path, help="write url and pid here once it serves"
    )
    return parser


async def _serve(settings: Settings, options: argparse.Namespace) -> None:
    public = listen(options.host, options.port)
    admin = None
    facts: dict[str, Any] = {"url": _url(public), "pid": os.getpid()}
    if options.admin_port is not None:
        # Whoever reaches this port can break the server: this machine only.
        admin = listen("127.0.0.1", options.admin_port)
        facts["admin"] = _url(admin)
    # In memory it would come back empty.
    restart = None if settings.database is None else _restarting(public, admin)
    server = Server(settings, public, admin, restart)
    await server.run(lambda: _announce(options.ready, facts))


def _restarting(
    public: socket.socket, admin: socket.socket | None
) -> Callable[[], None]:
    """Return what replaces this process by a new one at the same addresses."""
    command = [*sys.orig_argv, "--port", str(public.getsockname()[1])]
    if admin is not None:
        command += ["--admin-port", str(admin.getsockname()[1])]
    # Connections, locks and memory go at once, as if it were killed; its pid stays, so
    # that whoever watches it sees nothing.
    return lambda: os.execv(sys.executable, command)  # noqa: S606


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def _announce(ready: Path | None, facts: dict[str, Any]) -> None:
    text = json.dumps(facts)
    if ready is None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        return
    partial = ready.with_name(ready.name + ".partial")
    partial.write_text(text, "utf-8")
    partial.replace(ready)


if __name__ == "__main__":
    sys.exit(main())
