"""The sample that a run start (``pl72``) tells of.

The file writer's own messages do not say which sample a file belongs to; the run
start does, in its metadata or in the structure of the file it asks for.
"""

import json
from typing import Any

from icat_stream.messages import RunStart


def sample_of(message: RunStart) -> str | None:
    """Return the sample's name, or ``None`` if the message has none.

    Parameters
    ----------
    message
        The metadata is looked at first (``sample_name``, ``sample`` as a string or
        an object with a ``name``), then the group of class NXsample in the structure.
    """
    hints = message.hints
    named = hints.get("sample_name") or hints.get("sample")
    if isinstance(named, dict):
        named = named.get("name")
    if isinstance(named, str) and named.strip():
        return named.strip()
    if message.nexus_structure is None:
        return None
    try:
        structure = json.loads(bytes(message.nexus_structure))
    except (ValueError, RecursionError):
        return None
    # The structure is a tree of groups; samples stand in the second level.
    groups = [structure]
    for _ in range(3):
        groups = [child for group in groups for child in _children(group)]
        for group in groups:
            if _is_sample(group):
                return _name_in(group)
    return None


def _children(node: Any) -> list[Any]:
    children = node.get("children") if isinstance(node, dict) else None
    return children if isinstance(children, list) else []


def _is_sample(node: Any) -> bool:
    attributes = node.get("attributes") if isinstance(node, dict) else None
    if isinstance(attributes, dict):
        return attributes.get("NX_class") == "NXsample"
    if isinstance(attributes, list):
        return any(
            isinstance(a, dict)
            and a.get("name") == "NX_class"
            and "NXsample" in (a.get("values"), a.get("value"))
            for a in attributes
        )
    return False


def _name_in(sample: Any) -> str | None:
    for child in _children(sample):
        config = child.get("config") if isinstance(child, dict) else None
        if isinstance(config, dict) and config.get("name") == "name":
            value = config.get("values", config.get("value"))
            if isinstance(value, str) and value.strip():
                return value.strip()
    return None
