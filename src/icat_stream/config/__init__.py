"""The configuration: strict models, loading with errors that name the line, a sample.

Precedence: ``ICAT_STREAM_*`` in the environment, then the file, then what python-icat's
own ``ICAT_*`` and ``icat.cfg`` say.
"""

from .loading import ConfigError, Problem, load
from .settings import (
    AlertSettings,
    ConsumerSettings,
    DeadLetterSettings,
    EventSettings,
    FileSettings,
    FormatSettings,
    HealthSettings,
    IcatSettings,
    IdsSettings,
    JournalSettings,
    KafkaSettings,
    KeepMessageSettings,
    LimitSettings,
    LocationSettings,
    MessageSettings,
    PolicySettings,
    RejectLimit,
    RetrySettings,
    Settings,
    TelemetrySettings,
)

__all__ = [
    "AlertSettings",
    "ConfigError",
    "ConsumerSettings",
    "DeadLetterSettings",
    "EventSettings",
    "FileSettings",
    "FormatSettings",
    "HealthSettings",
    "IcatSettings",
    "IdsSettings",
    "JournalSettings",
    "KafkaSettings",
    "KeepMessageSettings",
    "LimitSettings",
    "LocationSettings",
    "MessageSettings",
    "PolicySettings",
    "Problem",
    "RejectLimit",
    "RetrySettings",
    "Settings",
    "TelemetrySettings",
    "load",
]
