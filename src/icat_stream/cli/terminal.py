"""Tables of what others wrote, none of which can take over a terminal."""

import os
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Rows of which the widths of columns are made; a table is printed in such pieces, so
# that a long one takes no memory.
_PIECE = 200
# A pipe has no width: what is longer than this is no table any more.
_UNBOUNDED = 100_000


class Output(StrEnum):
    """How a command prints: for people, or a line of JSON for each."""

    TEXT = "text"
    JSON = "json"


def console(*, stderr: bool = False) -> "Console":
    """Return where tables go: as wide as the terminal, and unbounded in a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    bounded = stream.isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, width=None if bounded else _UNBOUNDED)


def printable_bytes(value: bytes | None) -> str:
    """Return bytes as text, escaped where they are none."""
    from icat_stream.records import printable

    return printable((value or b"").decode(errors="backslashreplace"))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, wide: str
) -> int:
    """Print a table; return how many rows it had.

    Parameters
    ----------
    columns
        Headings.
    rows
        Cells; what is not printable in them is escaped.
    wide
        The column that has what is left of the line, folded.
    """
    from rich.table import Table
    from rich.text import Text

    from icat_stream.records import printable

    target = console()
    left = iter(rows)
    count = 0
    while piece := list(islice(left, _PIECE)):
        table = Table(box=None, show_header=count == 0, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold", no_wrap=column != wide)
        for row in piece:
            table.add_row(*(Text(printable(cell)) for cell in row))
        target.print(table)
        count += len(piece)
    return count


def is_text(output: Output | None) -> bool:
    """Whether to print for people; if nobody said, where a person reads."""
    return sys.stdout.isatty() if output is None else output is Output.TEXT
