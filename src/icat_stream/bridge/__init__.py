"""From a STOMP broker's queues to Kafka's topics, for senders as they are.

A :class:`Bridge` acknowledges a message once Kafka has it, so nothing is lost on the
way; what comes twice ends as ``unchanged``.
"""

from .bridge import Bridge

__all__ = ["Bridge"]
