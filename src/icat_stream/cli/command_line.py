"""What all commands share: ``-h``, ``--version``, completion, the look of help."""

import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

if TYPE_CHECKING:
    from icat_stream.config import Settings

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _without_types(params: list[Any]) -> list[Any]:
    """Have help show ``--yes``, not ``--yes <bool>``, and no Python types."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
        elif isinstance(param, TyperArgument):
            # Its name says it.
            param.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
    return params


def _paragraphs(text: str | None) -> str | None:
    """Have help wrap paragraphs where the terminal ends, not where the source does."""
    if text is None:
        return None
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in parts)


@contextmanager
def _ending_with_its_reader() -> Iterator[None]:
    """End as other programs do when nobody reads their output: silently, with 141."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None


class _Command(TyperCommand):
    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.help = _paragraphs(self.help)

    def invoke(self, ctx: Any) -> Any:
        with _ending_with_its_reader():
            return super().invoke(ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class _Group(TyperGroup):
    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.help = _paragraphs(self.help)

    def invoke(self, ctx: Any) -> Any:
        with _ending_with_its_reader():
            return super().invoke(ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class CommandLine(typer.Typer):
    """A command, or a group of them.

    Parameters
    ----------
    given
        As for :class:`typer.Typer`.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(
            cls=_Group,
            context_settings=dict(_CONTEXT),
            pretty_exceptions_enable=False,
            # Plain lines have room for words at 80 columns, keep [VISIT] as it stands,
            # and are there before rich is imported.
            rich_markup_mode=None,
            **given,
        )

    def command(self, name: str | None = None, **given: Any) -> Callable[[Any], Any]:
        """Return a decorator for a function that is a command of this group."""
        given.setdefault("context_settings", dict(_CONTEXT))
        return super().command(name, cls=_Command, **given)


def _print_version(wanted: bool) -> None:
    if wanted:
        import icat_stream

        typer.echo(f"icat-stream {icat_stream.__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Print it and exit."
    ),
]


@contextmanager
def configured(config: Path) -> Iterator["Settings"]:
    """Load a configuration; turn foreseen failures into exit codes."""
    from icat_stream.cli.exits import exit_codes, leave
    from icat_stream.records import ExitCode

    with exit_codes():
        from icat_stream.config import load
        from icat_stream.stream import Halt

        try:
            yield load(config)
        except Halt as halt:
            leave(ExitCode(halt.code), halt.reason)
