"""The running program: pipeline, daemon, one-shot, health, alerts."""

from typing import TYPE_CHECKING

from icat_stream import lazy_face

if TYPE_CHECKING:
    from .config_check import validate
    from .daemon import run_daemon
    from .event_followers import EventFollower, followers_of, requested
    from .handler_registry import UnknownHandler, load_handler, load_integration
    from .health_report import page_about
    from .one_shot import only_consumer, run_one_shot
    from .pipeline import Pipeline
    from .schedule import Check, Schedule
    from .schema_needs import as_icatingest, lacking
    from .search_access import reindex, search_index

__getattr__ = lazy_face(
    __name__,
    {
        "EventFollower": ".event_followers",
        "Pipeline": ".pipeline",
        "Check": ".schedule",
        "Schedule": ".schedule",
        "UnknownHandler": ".handler_registry",
        "as_icatingest": ".schema_needs",
        "followers_of": ".event_followers",
        "lacking": ".schema_needs",
        "load_handler": ".handler_registry",
        "load_integration": ".handler_registry",
        "only_consumer": ".one_shot",
        "reindex": ".search_access",
        "requested": ".event_followers",
        "search_index": ".search_access",
        "page_about": ".health_report",
        "run_daemon": ".daemon",
        "run_one_shot": ".one_shot",
        "validate": ".config_check",
    },
)

__all__ = [
    "Check",
    "EventFollower",
    "Pipeline",
    "Schedule",
    "UnknownHandler",
    "as_icatingest",
    "followers_of",
    "lacking",
    "load_handler",
    "load_integration",
    "only_consumer",
    "page_about",
    "reindex",
    "requested",
    "run_daemon",
    "run_one_shot",
    "search_index",
    "validate",
]
