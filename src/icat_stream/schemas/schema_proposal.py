"""A metadata schema to start from, proposed from what is in a file."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import yaml

from icat_stream.records import printable, shortened

# The first of these that the file has, below its entry.
_WANTED = {
    "title": ("title",),
    "proposal": ("experiment_identifier", "proposal", "proposal_id"),
    "run": ("run_number", "entry_identifier", "scan_number"),
    "start": ("start_time",),
    "end": ("end_time",),
    "instrument": ("instrument/name", "name", "beamline", "instrument/short_name"),
    "sample": ("sample/name",),
}
_FIELDS = {
    "description": "title",
    "sample": "sample",
    "instruments": "instrument",
    "start": "start",
    "end": "end",
}
_MOST_PARAMETERS = 40
# Names of a path that say nothing of the quantity, and values beside its average.
_UNTOLD = ("value", "value_log", "average_value", "instrument")
_BESIDE = ("minimum_value", "maximum_value")


class Node(Protocol):
    """Something in a file."""

    @property
    def path(self) -> str:
        """From the root."""
        ...

    @property
    def kind(self) -> str:
        """A ``group``, ``value``, ``array`` or ``link``."""
        ...

    @property
    def nx_class(self) -> str | None:
        """Of a group."""
        ...

    @property
    def value(self) -> int | float | str | None:
        """Of a value."""
        ...

    @property
    def units(self) -> str | None:
        """Of a value."""
        ...


def proposed_schema(
    nodes: Sequence[Node], *, file_name: str, convertible: Mapping[str, bool]
) -> str:
    """Return YAML with comments.

    Parameters
    ----------
    nodes
        What is in the file.
    file_name
        Its name.
    convertible
        Whether units are known, by their text.
    """
    entry = next((n.path for n in nodes if n.nx_class == "NXentry"), "")
    values = {n.path: n for n in nodes if n.kind == "value"}
    found: dict[str, Node] = {}
    for name, places in _WANTED.items():
        for place in places:
            if f"{entry}/{place}" in values:
                found[name] = values[f"{entry}/{place}"]
                break
    quantities, unknown = _quantities(values.values(), entry, found, convertible)
    return "\n".join(
        [
            *_head(file_name),
            *_selector(file_name, entry, found, values),
            *_times(found),
            *_variables(found, quantities, unknown),
            *_dataset(found),
            *_parameters(quantities),
            "",
        ]
    )


def _head(file_name: str) -> Iterator[str]:
    shown = printable(file_name)
    name = re.sub(r"\W+", "-", file_name.partition(".")[0].lower()).strip("-")
    yield f"# Proposed from {shown} by `icat_stream schemas draft`: every line is"
    yield "# yours to change. Try it: icat_stream schemas try FILE --schema THIS"
    yield f"id: {re.sub(r'[0-9_-]+$', '', name) or 'mine'}"
    yield f"description: {_quoted(f'files such as {shown}')}"


def _selector(
    file_name: str, entry: str, found: Mapping[str, Node], values: Mapping[str, Node]
) -> Iterator[str]:
    suffix = f".{file_name.rpartition('.')[2]}" if "." in file_name else file_name
    yield "\n# Which files it is for: by their names, and by what only they have."
    yield "selector:"
    yield "  all:"
    yield f"    - {{path: name, ends_with: {_quoted(suffix)}}}"
    mark = found["start"].path if "start" in found else None
    mark = mark or next((path for path in values if path.startswith(entry)), None)
    if mark is not None:
        yield f"    - {{nexus: {_quoted(mark)}, exists: true}}"


def _times(found: Mapping[str, Node]) -> Iterator[str]:
    start = str(found["start"].value).strip() if "start" in found else "Z"
    if not re.search(r"(Z|[+-]\d\d:?\d\d)$", start):
        yield "\n# Its times name no zone: the one of the instrument."
        yield "timezone: UTC"


def _quantities(
    nodes: Iterable[Node],
    entry: str,
    found: Mapping[str, Node],
    convertible: Mapping[str, bool],
) -> tuple[dict[str, Node], list[Node]]:
    """Return numbers with units by a name for each, and those of unknown units."""
    used = {node.path for node in found.values()}
    quantities: dict[str, Node] = {}
    unknown = []
    for node in nodes:
        if node.path in used or node.path.rpartition("/")[2] in _BESIDE:
            continue
        if not node.units or not isinstance(node.value, int | float):
            continue
        if not convertible.get(node.units, False):
            unknown.append(node)
        elif len(quantities) < _MOST_PARAMETERS:
            quantities[_variable(node.path, entry, {*_WANTED, *quantities})] = node
    return quantities, unknown


def _variables(
    found: Mapping[str, Node], quantities: Mapping[str, Node], unknown: Iterable[Node]
) -> Iterator[str]:
    yield "\n# What is read of the file; the comment is what this one has."
    yield "variables:"
    for name, node in found.items():
        more = ", type: datetime" if name in ("start", "end") else ""
        more += ", required: true" if name in ("proposal", "start") else ""
        yield f"  {name}: {{nexus: {_quoted(node.path)}{more}}}{_comment(node)}"
    for name, node in quantities.items():
        reading = f"nexus: {_quoted(node.path)}, type: float"
        unit = _quoted(node.units or "")
        yield f"  {name}: {{{reading}, unit: {unit}}}{_comment(node)}"
    for node in unknown:
        yield f"  # {printable(node.path)}: units that are not known: {node.units!r}"


def _dataset(found: Mapping[str, Node]) -> Iterator[str]:
    yield "\n# The dataset: <name> is the value of a variable."
    yield "dataset:"
    if "proposal" in found:
        yield "  investigation: <proposal>"
    else:
        yield "  # Nothing in the file names the proposal; a part of its path may:"
        yield "  # docs/metadata-schemas.md says how to take one."
        yield "  investigation: <file.folder>"
    yield "  name: <file.stem>"
    yield "  type: raw"
    for field, name in _FIELDS.items():
        if name in found:
            yield f"  {field}: <{name}>"
    yield "\ndatafiles:"
    yield "  name: <file.name>"


def _parameters(quantities: Mapping[str, Node]) -> Iterator[str]:
    if not quantities:
        return
    yield "\n# Parameters: units are those of the ParameterType in ICAT; values are"
    yield "# converted to them."
    yield "parameters:"
    for name, node in quantities.items():
        units = _quoted(node.units or "")
        yield f"  - {{name: {name}, units: {units}, value: <{name}>}}"


def _variable(path: str, entry: str, taken: set[str]) -> str:
    """Return a name for a value: its last names, as many as make it the only one."""
    names = [
        re.sub(r"\W+", "_", name).strip("_").lower()
        for name in path.removeprefix(entry).strip("/").split("/")
    ]
    names = [name for name in names if name and name not in _UNTOLD] or names
    for length in range(min(2, len(names)), len(names) + 1):
        name = "_".join(names[-length:])
        name = name if name[:1].isalpha() else f"v_{name}"
        if name not in taken:
            return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def _quoted(text: str) -> str:
    """Return a text as YAML has it between braces, in quotes if need be."""
    inside = str(
        yaml.safe_dump([text], default_flow_style=True, allow_unicode=True, width=10**6)
    )
    return inside.strip()[1:-1]


def _comment(node: Node) -> str:
    return f"  # {shortened(printable(' '.join(str(node.value).split())), 40)}"
