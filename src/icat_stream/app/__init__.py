"""The running program: pipeline, daemon, one-shot, health, alerts."""

from typing import TYPE_CHECKING

from icat_stream import lazy_face

if TYPE_CHECKING:
    from .config_check import validate
    from .daemon import run_daemon
    from .handler_registry import UnknownHandler, load_handler, load_integration
    from .one_shot import only_consumer, run_one_shot
    from .pipeline import Pipeline

__getattr__ = lazy_face(
    __name__,
    {
        "Pipeline": ".pipeline",
        "UnknownHandler": ".handler_registry",
        "load_handler": ".handler_registry",
        "load_integration": ".handler_registry",
        "only_consumer": ".one_shot",
        "run_daemon": ".daemon",
        "run_one_shot": ".one_shot",
        "validate": ".config_check",
    },
)

__all__ = [
    "Pipeline",
    "UnknownHandler",
    "load_handler",
    "load_integration",
    "only_consumer",
    "run_daemon",
    "run_one_shot",
    "validate",
]
