"""Prometheus' text format."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Sample(NamedTuple):
    """One measured value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float
    part: str = ""
    """Of a histogram: ``_bucket``, ``_sum`` or ``_count``."""


def prometheus_text(
    metrics: Mapping[str, tuple[str, str]], samples: Iterable[Sample], prefix: str = ""
) -> str:
    """Return samples as Prometheus reads them.

    Parameters
    ----------
    metrics
        Kind and help by name, in the order in which they are told.
    samples
        Of these metrics, in any order.
    prefix
        Of all names.
    """
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_name[sample.name].append(sample)
    lines = []
    for name, (kind, text) in metrics.items():
        if found := by_name.get(name):
            full = prefix + name
            lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
            lines += [
                f"{full}{s.part}{_braces(s.labels)} {s.value:.15g}" for s in found
            ]
    return "\n".join(lines) + "\n"


def _braces(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
