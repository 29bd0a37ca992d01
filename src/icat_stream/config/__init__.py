"""The configuration: strict models, loading with errors that name the line, a sample.

Precedence: ``ICAT_STREAM_*`` in the environment, then the file, then what python-icat's
own ``ICAT_*`` and ``icat.cfg`` say.
"""

from typing import TYPE_CHECKING

from icat_stream import lazy_face

from .config_file import ConfigError, Problem, load
from .paths import anchored
from .settings import (
    DISABLED_MARK,
    DISABLED_SUFFIX,
    AgeSettings,
    AlertSettings,
    BridgeSettings,
    CheckSettings,
    ConsumerSettings,
    DeadLetterSettings,
    EventSettings,
    FileSettings,
    FormatSettings,
    ForwardRule,
    ForwardSettings,
    HealthSettings,
    IcatSettings,
    IdsSettings,
    JournalSettings,
    KafkaSettings,
    KeepMessageSettings,
    LimitSettings,
    LocationSettings,
    MessageSettings,
    OidcSettings,
    PasswordSection,
    PolicySettings,
    RejectLimit,
    RetrySettings,
    Section,
    Settings,
    TelemetrySettings,
    TopicName,
    Url,
    WebSettings,
)
from .value_types import Duration, Size, is_loopback, read_secret, template_fields
from .yaml_lines import BadYaml, Lines, line_of, read_yaml

if TYPE_CHECKING:
    from .resources import documentation, shipped
    from .sample import render

__getattr__ = lazy_face(
    __name__,
    {
        "render": ".sample",
        "documentation": ".resources",
        "shipped": ".resources",
    },
)

__all__ = [
    "DISABLED_MARK",
    "DISABLED_SUFFIX",
    "AgeSettings",
    "AlertSettings",
    "BadYaml",
    "BridgeSettings",
    "CheckSettings",
    "ConfigError",
    "ConsumerSettings",
    "DeadLetterSettings",
    "Duration",
    "EventSettings",
    "FileSettings",
    "FormatSettings",
    "ForwardRule",
    "ForwardSettings",
    "HealthSettings",
    "IcatSettings",
    "IdsSettings",
    "JournalSettings",
    "KafkaSettings",
    "KeepMessageSettings",
    "LimitSettings",
    "Lines",
    "LocationSettings",
    "MessageSettings",
    "OidcSettings",
    "PasswordSection",
    "PolicySettings",
    "Problem",
    "RejectLimit",
    "RetrySettings",
    "Section",
    "Settings",
    "Size",
    "TelemetrySettings",
    "TopicName",
    "Url",
    "WebSettings",
    "anchored",
    "documentation",
    "is_loopback",
    "line_of",
    "load",
    "read_secret",
    "read_yaml",
    "render",
    "shipped",
    "template_fields",
]
