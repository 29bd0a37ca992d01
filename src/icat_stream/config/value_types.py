"""Types of single configuration values: durations, sizes, secrets, templates."""

import ipaddress
import re
import string
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, SecretStr

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _duration(value: Any) -> Any:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", value.strip())
        if match is None:
            raise ValueError("expected a duration such as 500ms, 30s, 5m, 1h or 7d")
        value = float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError("expected a duration such as 500ms, 30s, 5m, 1h or 7d")
    return float(value)


def _duration_text(value: float) -> str:
    for unit in ("d", "h", "m", "s"):
        if value >= _SECONDS[unit] and value % _SECONDS[unit] == 0:
            return f"{value / _SECONDS[unit]:.0f}{unit}"
    return f"{value * 1000:g}ms"


def _size(value: Any) -> Any:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]i?B|KiB|)", value.strip())
        if match is None or match[2] not in _BYTES:
            raise ValueError("expected a size such as 500kB, 64MiB or 2GiB")
        value = int(float(match[1]) * _BYTES[match[2]])
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("expected a size such as 500kB, 64MiB or 2GiB")
    return value


def _size_text(value: int) -> str | int:
    for unit in ("GiB", "MiB", "KiB"):
        if value >= _BYTES[unit] and value % _BYTES[unit] == 0:
            return f"{value // _BYTES[unit]}{unit}"
    return value


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(_duration_text, return_type=str, when_used="json"),
]
"""Seconds, written as ``30s``, ``5m``, ``1h``, ``7d`` or as a number of seconds."""

Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(_size_text, when_used="json"),
]
"""Bytes, written as ``64MiB``, ``2GB`` or as a number of bytes."""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def read_secret(value: SecretStr | None, file: Path | None) -> str | None:
    """Return a secret given directly or by the file that holds it.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    if value is not None:
        return value.get_secret_value()
    if file is not None:
        return file.read_text(encoding="utf-8").strip()
    return None


def template_fields(template: str) -> list[str]:
    """Return the names used in a ``{name}`` template.

    Raises
    ------
    ValueError
        The template is malformed, or uses more than plain names.
    """
    names = []
    for _, name, spec, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"{{{name}}} is no plain placeholder")
        names.append(name)
    return names
