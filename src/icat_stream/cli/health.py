"""``icat_stream health``: ask a running daemon how it is."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .terminal import Output

# What takes longer is worth a line.
_LONG_S = 5.0


def health(
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", metavar="FILE", help="The daemon's."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="http://host:port instead of health.listen."
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0.1, help="How long to wait for it."
        ),
    ] = 5.0,
    output: Annotated[Output, typer.Option("--output")] = Output.TEXT,
) -> None:
    """Say how a running daemon is.

    Its loops, lanes, systems, lag and dead letters.

    Exit codes: 0 healthy; 2 bad usage or configuration; 5 unhealthy, or no answer.
    """
    import http.client

    from icat_stream.cli.exits import exit_codes, leave
    from icat_stream.records import ExitCode, printable

    with exit_codes():
        base = url or _listens(config)
        try:
            report = _asked(f"{base.rstrip('/')}/health", timeout)
        except TimeoutError:
            leave(
                ExitCode.UNAVAILABLE,
                f"{base} does not answer within {timeout:g} s: the daemon is stopped"
                " (SIGSTOP), hangs, or its machine is overloaded; see"
                " `icat_stream docs stuck-daemon`",
            )
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            leave(
                ExitCode.UNAVAILABLE,
                f"no daemon answers at {base} ({reason}): does it run?",
            )
        if output is Output.JSON:
            sys.stdout.write(json.dumps(report) + "\n")
        else:
            # Reasons and names came over the network, from whatever answers there.
            sys.stdout.write("".join(f"{printable(x)}\n" for x in _lines(report)))
        if not report["healthy"]:
            raise SystemExit(int(ExitCode.UNAVAILABLE))


def _listens(config: Path | None) -> str:
    from icat_stream.config import ConfigError, Problem, load

    if config is None:
        raise typer.BadParameter("give -c FILE, the daemon's configuration, or --url")
    listen = load(config).health.listen
    if listen is None or listen.endswith(":0"):
        raise ConfigError(
            [
                Problem(
                    source=str(config),
                    field="health.listen",
                    expected="expected host:port, such as 127.0.0.1:8081, where the"
                    " daemon can be asked; or give --url",
                    found=listen or "nothing",
                )
            ]
        )
    return f"http://{listen}"


def _asked(url: str, timeout: float) -> dict[str, Any]:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310
            content = answer.read()
    except urllib.error.HTTPError as error:
        # 503 with a reason is an answer.
        content = error.read()
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise error.reason from error
        raise
    found = json.loads(content)
    if not isinstance(found, dict) or "healthy" not in found:
        raise ValueError("something else answers there")
    return found


def _lines(report: dict[str, Any]) -> list[str]:
    verdict = "healthy" if report["healthy"] else "UNHEALTHY"
    if not report["started"]:
        verdict += ", starting"
    elif report["problems"] and report["healthy"]:
        verdict += ", but"
    lines = [f"{verdict} (icat-stream {report['version']})"]
    for problem in report["problems"]:
        lines += [f"  ! {problem['text']}", f"    see {problem['page']}"]
    for name, loop in report["loops"].items():
        busy = [lane for lane in loop["lanes"] if lane["record"] is not None]
        lag = ", ".join(f"{topic} {n}" for topic, n in loop["lag"].items()) or "?"
        counts = ", ".join(f"{n} {kind}" for kind, n in loop["outcomes"].items())
        lines += [
            f"  {name}: {loop['partitions']} partitions,"
            f" turned {loop['turned']:.1f} s ago,"
            f" {len(busy)} of {len(loop['lanes'])} lanes at work",
            f"    lag: {lag}; in flight {loop['in_flight']}, waiting {loop['waiting']}",
            f"    since its start: {counts or 'no outcome yet'}",
        ]
        if loop["down"]:
            lines.append(f"    paused: {'; '.join(loop['down'].values())}")
        if busy:
            slowest = max(busy, key=lambda lane: lane["seconds"])
            lines.append(
                f"    slowest: {slowest['name']} is at {slowest['record']}"
                f" for {slowest['seconds']:.1f} s"
                + (f" (at {slowest['place']})" if slowest["place"] else "")
            )
        if loop["committing"] is not None and loop["committing"] >= _LONG_S:
            lines.append(
                f"    nothing was committed for {loop['committing']:.0f} s:"
                f" the committer {loop['committer']}"
            )
    for name, system in report["systems"].items():
        state = {True: "up", False: "DOWN", None: "not asked yet"}[system["up"]]
        detail = f": {system['reason']}" if system["reason"] else ""
        lines.append(f"  {name}: {state}, asked {system['age']:.0f} s ago{detail}")
    lines.append(f"  dead letters waiting: {report['dead_letters']}")
    for name, free in report["disk_free"].items():
        lines.append(f"  disk of the {name}: {free:.0%} free")
    return lines
