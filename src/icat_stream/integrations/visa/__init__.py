"""People, experiments and teams in VISA's database."""

from .visa import Visa

__all__ = ["Visa"]
