"""All benchmarks, one after the other; prints the table and keeps it in RESULTS.md."""

import argparse
import importlib
import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from measuring import Result, show

RESULTS = Path(__file__).with_name("RESULTS.md")
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"
MODULES = (
    *("the_whole_line", "dataset_of_10000_files", "stream_core", "catch_up"),
    *("nexus_reading", "starting", "journal", "unchanged_snapshots"),
    *("data_service", "names_in_any_letters"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="an hour, not minutes")
    parser.add_argument("only", nargs="*", choices=[*MODULES, []], help="which")
    options = parser.parse_args()
    for name in options.only or MODULES:
        print(f"{name} ...", flush=True)
        results = importlib.import_module(name).measure(not options.long)
        show(results)
        keep(name, results)


def keep(name: str, results: Sequence[Result]) -> None:
    """Write a benchmark's rows into the table, in the place of its old ones."""
    text = RESULTS.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    table, _, tail = rest.partition(END)
    rows = [
        line
        for line in table.splitlines()
        if re.match(r"\| P\d", line) and not line.endswith(f"| {name} |")
    ]
    rows += [_row(name, each) for each in results]
    rows.sort(key=lambda line: line.split("|")[1])
    lines = [
        "",
        "| # | what | ours | baseline | ratio | wanted | reached | remarks | module |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]
    RESULTS.write_text(head + BEGIN + "\n".join(lines) + END + tail, "utf-8")


def _row(name: str, each: Result) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime())
    load = f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
    where = f"{day}, Python {platform.python_version()}, {load}"
    cells = (
        *(each.number, each.what, each.ours, each.baseline, f"{each.ratio:.3g}"),
        *(each.wanted, each.reached, "; ".join(filter(None, (each.note, where))), name),
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
