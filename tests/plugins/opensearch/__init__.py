"""A real OpenSearch for the tests, one for all workers."""

from .fixtures import opensearch
from .server import OpenSearchServer

__all__ = ["OpenSearchServer", "opensearch"]
