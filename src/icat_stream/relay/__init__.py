"""From topics of this Kafka cluster to another one, each record once.

The target's own transactions hold the records and the source positions that they take
it to, so nothing is lost and nothing comes twice, whatever dies.
"""

from .forwarder import Forwarder
from .positions import Source
from .rules import Forwarded, Rules

__all__ = ["Forwarded", "Forwarder", "Rules", "Source"]
