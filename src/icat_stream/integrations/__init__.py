"""Consumers of the events topic: what follows once something is in the catalogue."""

from .checksums import Checksums

__all__ = ["Checksums"]
