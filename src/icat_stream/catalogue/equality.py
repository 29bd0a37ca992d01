"""When what the catalogue holds counts as what was planned."""

import math
from datetime import datetime
from typing import Any

from icat_stream.records import same_time


def same_number(planned: float, found: float) -> bool:
    """Whether two numbers are equal but for a conversion to text and back."""
    planned = float(planned)
    return abs(planned - found) <= math.ulp(planned)


def same(planned: Any, found: Any) -> bool:
    """Whether a planned value counts as there.

    Parameters
    ----------
    planned
        Never ``None``: what is not planned is not compared.
    found
        As a search returned it: times are text, null is ``None``.
    """
    if found is None:
        # Some databases hold an empty string as null.
        return bool(planned == "")
    if isinstance(planned, datetime):
        return same_time(planned, datetime.fromisoformat(found))
    if isinstance(planned, bool) or isinstance(found, bool):
        return planned is found
    if isinstance(planned, int | float):
        return isinstance(found, int | float) and same_number(planned, found)
    return bool(planned == found)
