"""The running program: pipeline, daemon, one-shot, health, alerts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config_check import validate
    from .daemon import run_daemon
    from .handler_registry import UnknownHandler, load_handler
    from .one_shot import only_consumer, run_one_shot
    from .pipeline import Pipeline

# A command imports the part that it runs.
_LAZY = {
    "Pipeline": ".pipeline",
    "UnknownHandler": ".handler_registry",
    "load_handler": ".handler_registry",
    "only_consumer": ".one_shot",
    "run_daemon": ".daemon",
    "run_one_shot": ".one_shot",
    "validate": ".config_check",
}

__all__ = [
    "Pipeline",
    "UnknownHandler",
    "load_handler",
    "only_consumer",
    "run_daemon",
    "run_one_shot",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
