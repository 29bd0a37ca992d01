"""The process that touches announced files, so that nobody else has to.

It is started by its parent with pipes for stdin and stdout and ends when they do.
"""

import errno
import hashlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import xxhash

from icat_stream.records import (
    DependencyMissing,
    Failure,
    NotReady,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)

from . import child_pipe, content, hdf5
from .folder_page import listing
from .folders import look
from .kept_message import keep
from .limits import Limits
from .other_files import OtherFiles, Targets
from .safe_open import Held, Rules, hold
from .values import Budget

# Larger blocks are no faster; much smaller ones are slower.
_BLOCK = 1024 * 1024
# More than tells any kind of picture.
_HEAD = 32
# Seconds between two signs of life while a large file is read.
_SIGN = 0.5
# The last is said where the process itself is limited.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main() -> None:
    """Serve requests until the parent closes the pipe."""
    # The terminal's Ctrl-C and the service manager's SIGTERM are for the parent,
    # which still needs answers while it finishes what it has begun.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    requests, answers = 0, os.dup(1)
    # Nothing that a library prints may get between the frames.
    os.dup2(os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else 2, 1)
    try:
        settings = child_pipe.receive(requests)
        limits = Limits(**settings["limits"])
        rules = Rules(**settings["rules"])
        hdf5.add_filters()
        _limit_memory(limits.memory)
        child_pipe.send(answers, child_pipe.pack({"ready": os.getpid()}))
        while True:
            request = child_pipe.receive(requests)
            # Should the parent be killed in the meantime, nobody else ends this.
            signal.setitimer(signal.ITIMER_REAL, request["lifetime"])
            answer = _serve(request, rules, limits, settings["path_map"], answers)
            signal.setitimer(signal.ITIMER_REAL, 0)
            child_pipe.send(answers, child_pipe.pack(answer))
    except child_pipe.PipeClosed:
        return


def _limit_memory(extra: int) -> None:
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[0])
    size = pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve(
    request: dict[str, Any],
    rules: Rules,
    limits: Limits,
    path_map: dict[str, str],
    answers: int,
) -> dict[str, Any]:
    try:
        match request["do"]:
            case "read":
                return _read(request, rules, limits, path_map)
            case "checksum":
                return {"checksum": _checksum(request, rules, answers)}
            case "stat":
                with hold(request["path"], rules, settled=False) as held:
                    return {"stat": _plain(held)}
            case "content":
                return _content(request, rules, answers)
            case "look":
                return look(request["path"], request["names"], request["most"], rules)
            case "heads":
                return {"heads": [_head(path, rules) for path in request["paths"]]}
            case "list":
                return listing(
                    request["path"], request["after"], request["most"], rules
                )
            case "keep":
                return {"size": _keep(request, rules)}
            case _:
                return {"missing": _missing_roots(rules)}
    except Failure as failure:
        return _failed(failure)
    except OSError as error:
        where = error.filename or request.get("path", "the allowed folders")
        return _failed(TransientFailure(f"{where}: {error.strerror or error}"))
    except MemoryError:
        reason = (
            f"{request.get('path')}: reading it takes more than"
            f" {limits.memory // 1024**2:,} MiB of memory"
        )
        return _failed(Rejection(reason)) | {"out_of_memory": True}
    except child_pipe.PipeClosed:
        raise
    except Exception:
        # A bug of ours: the parent raises it, with where it happened.
        return {"error_class": "bug", "reason": traceback.format_exc()}


def _failed(failure: Failure) -> dict[str, Any]:
    answer = {"error_class": failure.error_class, "reason": failure.reason}
    match failure:
        case NotReady():
            return answer | {"retry_in": failure.retry_in}
        case DependencyMissing():
            return answer | {"missing": list(failure.missing)}
        case SystemUnavailable():
            return answer | {"probe_tells": failure.probe_tells}
    return answer


def _keep(request: dict[str, Any], rules: Rules) -> int:
    try:
        return keep(request["path"], bytes.fromhex(request["content"]), rules)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        # So it is for every record: none of them is to blame.
        raise SystemUnavailable(
            f"{request['path']}: cannot be written: {error.strerror}; make room",
            system="files",
            probe_tells=False,
        ) from error


def _missing_roots(rules: Rules) -> list[str]:
    return [root for root in rules.roots if not os.path.isdir(root)]


def _read(
    request: dict[str, Any], rules: Rules, limits: Limits, path_map: dict[str, str]
) -> dict[str, Any]:
    readings, settled_when = request["readings"], request["settled_when"]
    targets = Targets(rules, path_map)
    found: list[content.Found] = []
    with hold(request["path"], rules) as held:
        if readings or settled_when is not None:
            with held.readable(rules) as name, hdf5.opened(name, held, rules) as file:
                found = _found(file, held, request, limits, targets)
        named = dict.fromkeys(target for one in found for target in one.targets)
        links = _links(list(named), held, targets) if request["links"] else []
        held.check_unchanged(rules)
    if found and not found[0].settled:
        raise rules.not_ready(f"{held.path}: has no {settled_when} yet")
    return {
        "stat": _plain(held),
        "readings": [
            {
                name: getattr(one, name)
                for name in ("entries", "values", "asked", "refused", "notes")
            }
            for one in found
        ],
        "links": links,
    }


def _found(
    file: Any, held: Held, request: dict[str, Any], limits: Limits, targets: Targets
) -> list[content.Found]:
    """Read a file in each of the ways that are asked for."""
    found: list[content.Found] = []
    budget = Budget(limits)
    when = request["settled_when"]
    with ExitStack() as stack:
        others = OtherFiles(targets, limits.other_files, stack)
        for reading in request["readings"] or [{"asked": [], "follow": False}]:
            follow = reading.pop("follow")
            found.append(
                content.read(
                    file,
                    held.path,
                    budget=budget,
                    settled_when=when,
                    others=others if follow else None,
                    **reading,
                )
            )
            if not found[0].settled:
                break
            when = None
        others.check_unchanged()
    return found


def _head(path: str, rules: Rules) -> dict[str, Any]:
    """Return how a file begins, or why it is none of ours; it may be missing."""
    try:
        with (
            hold(path, rules) as held,
            held.readable(rules) as name,
            open(name, "rb", buffering=0) as file,
        ):
            return {"stat": _plain(held), "begin": file.read(_HEAD).hex()}
    except Rejection as failure:
        return {"failure": failure.reason}
    except NotReady as failure:
        if isinstance(failure.__cause__, FileNotFoundError | NotADirectoryError):
            return {"failure": failure.reason}
        raise


def _content(request: dict[str, Any], rules: Rules, answers: int) -> dict[str, Any]:
    try:
        with _looked_at(request, rules, settled=False) as held:
            block, left = memoryview(bytearray(_BLOCK)), request["size"]
            with held.readable(rules) as path, open(path, "rb", buffering=0) as file:
                while left and (size := file.readinto(block[: min(_BLOCK, left)])):
                    left -= size
                    if not left:
                        # Nobody shall have all of a file that has changed.
                        held.check_unchanged(rules)
                    # Whoever takes it may take his time; he is noticed if he goes.
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    child_pipe.send(answers, child_pipe.pack_bytes(block[:size]))
                    signal.setitimer(signal.ITIMER_REAL, request["lifetime"])
            if left:
                raise rules.not_ready(f"{held.path}: got shorter while it was read")
    finally:
        child_pipe.send(answers, child_pipe.pack_bytes(b""))
    return {}


@contextmanager
def _looked_at(
    request: dict[str, Any], rules: Rules, *, settled: bool = True
) -> Iterator[Held]:
    """Hold a file that was looked at before, and is the same."""
    with hold(request["path"], rules, settled=settled) as held:
        expected = request["size"], request["mtime_ns"]
        if (held.found.st_size, held.found.st_mtime_ns) != expected:
            raise rules.not_ready(f"{held.path}: changed since it was looked at")
        yield held


def _checksum(request: dict[str, Any], rules: Rules, answers: int) -> str:
    name = request["algorithm"]
    makes: dict[str, Callable[[], Any]] = {
        "xxh3_64": xxhash.xxh3_64,
        "xxh3_128": xxhash.xxh3_128,
        "sha256": hashlib.sha256,
        "blake2b": hashlib.blake2b,
    }
    digest = makes[name]()
    with _looked_at(request, rules) as held:
        block = memoryview(bytearray(_BLOCK))
        said = time.monotonic()
        with held.readable(rules) as path, open(path, "rb", buffering=0) as file:
            while size := file.readinto(block):
                digest.update(block[:size])
                if time.monotonic() - said > _SIGN:
                    # It may take hours: as long as it gets on, nobody gives it up.
                    child_pipe.send(answers, child_pipe.pack({"alive": True}))
                    signal.setitimer(signal.ITIMER_REAL, request["lifetime"])
                    said = time.monotonic()
        held.check_unchanged(rules)
    return f"{name}:{digest.hexdigest()}"


def _links(
    named: list[tuple[str, str]], held: Held, targets: Targets
) -> list[dict[str, Any]]:
    """Look at the files that the file at hand refers to, never into them.

    What is wrong with one matters only to those who want it.
    """
    folder = os.path.dirname(held.path)
    links = []
    for at, name in named:
        try:
            with hold(targets.path(name, folder), targets.rules) as other:
                links.append({"at": at, "stat": _plain(other)})
        except Failure as failure:
            failed = _failed(failure)
            failed["reason"] = f"{held.path}: {at} refers to {failure.reason}"
            links.append({"at": at, **failed})
    return links


def _plain(held: Held) -> dict[str, Any]:
    stat = held.stat()
    return {name: getattr(stat, name) for name in type(stat).__slots__}


if __name__ == "__main__":
    main()
