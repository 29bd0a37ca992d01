"""``icat_stream schemas``: from a file to a metadata schema in minutes."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .command_line import CommandLine
from .terminal import Output

if TYPE_CHECKING:
    from icat_stream.nexus import OutlineNode
    from icat_stream.schemas import Draft, SchemaSet

app = CommandLine(no_args_is_help=True)

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", exists=True, dir_okay=False, help="A file of the instrument."
    ),
]
SchemaOption = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE|FOLDER",
        exists=True,
        help="A metadata schema, or a folder of them. [default: the shipped ones]",
    ),
]
OutputOption = Annotated[
    Output, typer.Option("--output", help="For people, or JSON for programs.")
]


@app.command()
def inspect(file: FileArgument, output: OutputOption = Output.TEXT) -> None:
    """Show what is in a file: groups, values and units.

    Exit codes: 0 done; 2 bad usage; 3 the file cannot be read.
    """
    with _failures():
        from icat_stream.nexus import read_outline
        from icat_stream.records import printable

        for node in read_outline(file):
            if output is Output.JSON:
                from dataclasses import asdict

                line = json.dumps(asdict(node), ensure_ascii=True)
            else:
                line = printable(_outline_line(node))
            sys.stdout.write(f"{line}\n")


@app.command()
def draft(file: FileArgument) -> None:
    """Print a metadata schema, with comments, made of what is in a file.

    It is valid as it stands; what only people know is said in its comments.

    Exit codes: 0 done; 2 bad usage; 3 the file cannot be read.
    """
    with _failures():
        from icat_stream.nexus import read_outline
        from icat_stream.schemas import proposed_schema

        nodes = list(read_outline(file))
        units = {node.units for node in nodes if node.units}
        known = {unit: _is_known(unit) for unit in units}
        sys.stdout.write(proposed_schema(nodes, file_name=file.name, convertible=known))


@app.command("try")
def try_(
    file: FileArgument,
    schema: SchemaOption = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "-c",
            "--config",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Of a configuration, whose ICAT is asked what it lacks.",
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show the dataset or datasets that a file becomes, without any ICAT.

    With --config, also all that this ICAT lacks for them, as YAML for python-icat's
    icatingest, which makes it.

    Exit codes: 0 done; 2 the schema is wrong; 3 the file is rejected; 5 no ICAT.
    """
    with _failures():
        from datetime import UTC, datetime

        from icat_stream.nexus import NexusReader

        from .schema_expectations import as_json, made_of

        schemas = _schemas(schema)
        path = file.resolve()
        with NexusReader([path.parent], settle=0.0) as reader:
            made = made_of(reader, schemas, path, datetime.now(UTC))
        if output is Output.JSON:
            for draft in made:
                line = json.dumps(as_json(draft), ensure_ascii=True)
                sys.stdout.write(f"{line}\n")
        else:
            from icat_stream.records import printable

            for draft in made:
                for line in _draft_lines(draft):
                    sys.stdout.write(f"{printable(line)}\n")
        if config is not None:
            _show_lacking(config, made, output)


@app.command("test")
def compare(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="With files, and beside each FILE a FILE.expected.json.",
        ),
    ],
    schema: SchemaOption = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Let what is found now be what is expected."),
    ] = False,
) -> None:
    """Compare what files become with what is expected.

    What is expected is a list of datasets as `try --output json` prints them, with
    paths as from the folder, or {"rejected": "why"}. For schemas that take the
    record's time it is 2000-01-01T00:00:00Z.

    Exit codes: 0 all as expected; 2 the schema is wrong; 3 something differs, or
    nothing is expected of a file, or there is no file.
    """
    with _failures():
        from collections import Counter

        from icat_stream.records import ExitCode, printable

        from .schema_expectations import trials, write_expectation

        verdicts: Counter[str] = Counter()
        for trial in trials(folder, _schemas(schema)):
            verdict = trial.verdict
            if write and trial.found is not None:
                write_expectation(folder, trial)
                verdict = "written"
            verdicts[verdict] += 1
            sys.stdout.write(f"{printable(str(trial.file))}: {verdict}\n")
            if not write:
                for line in trial.differences:
                    sys.stdout.write(f"  {printable(line)}\n")
        said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        sys.stdout.write(f"{verdicts.total()} files: {said or 'none to try'}\n")
        if not verdicts or verdicts.keys() - {"as expected", "written"}:
            raise typer.Exit(ExitCode.REJECTED)


def _show_lacking(config: Path, made: "Sequence[Draft]", output: Output) -> None:
    from icat_stream.app import as_icatingest, lacking
    from icat_stream.config import load

    settings = load(config)
    found = lacking(settings, made)
    if output is Output.JSON:
        sys.stdout.write(json.dumps({"lacking": found}, ensure_ascii=True) + "\n")
    elif found:
        sys.stdout.write(
            f"\n# What {settings.facility} lacks in ICAT, for"
            f" `icatingest -f YAML -i FILE`:\n{as_icatingest(found)}"
        )
    else:
        sys.stdout.write("\nnothing is lacking in ICAT\n")


def _schemas(given: Path | None) -> "SchemaSet":
    from icat_stream.config import shipped
    from icat_stream.schemas import SchemaSet, load_schemas

    if given is None:
        return load_schemas(shipped("schemas"))
    if given.is_dir():
        return load_schemas(given)
    import shutil
    import tempfile

    # The others of its folder may be wrong, and are not meant.
    with tempfile.TemporaryDirectory(prefix="icat-stream-") as alone:
        shutil.copy(given, alone)
        return SchemaSet(load_schemas(Path(alone)).schemas)


def _is_known(unit: str) -> bool:
    from icat_stream.schemas import UnitError, conversion

    try:
        conversion(unit, unit)
    except UnitError:
        return False
    return True


def _outline_line(node: "OutlineNode") -> str:
    indent = "  " * node.depth
    name = node.path.rpartition("/")[2]
    if node.kind == "group":
        return f"{indent}{name}/" + (f"  {node.nx_class}" if node.nx_class else "")
    if node.kind == "link":
        return f"{indent}{name} -> {node.target}"
    units = f" {node.units}" if node.units else ""
    if node.kind == "array":
        shape = " x ".join(map(str, node.shape)) or "empty"
        return f"{indent}{name}  [{shape}]{units}"
    return f"{indent}{name} = {node.value}{units}"


def _draft_lines(draft: "Draft") -> Iterator[str]:
    from .schema_expectations import plain

    yield f"schema {draft.schema_id}"
    visit = draft.visit_id or "(the visit by its dates)"
    yield f"dataset {draft.name} of investigation {draft.investigation}, {visit}"
    for name in ("type", "description", "location", "start", "end", "sample"):
        value = getattr(draft, name)
        if value is not None:
            yield f"  {name}: {plain(value)}"
    for name in ("instruments", "techniques"):
        values: Sequence[str] = getattr(draft, name)
        if values:
            yield f"  {name}: {', '.join(values)}"
    for each in draft.parameters:
        yield f"  parameter {each.name} = {plain(each.value)} {each.units}".rstrip()
    yield f"  file {draft.file_name or '(its own name)'}"
    for note in draft.notes:
        yield f"note: {note}"


@contextmanager
def _failures() -> Iterator[None]:
    from icat_stream.cli.exits import exit_codes

    with exit_codes():
        yield
