"""Reading YAML with the line of every key, and every mistake that YAML itself has."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# What people write is far from both; aliases can make much, or no end, of little.
_DEPTH = 100
_PLACES = 100_000
_TEXT = "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
# One of 50,000 digits, or parts such as in 1:30, takes its time to be made.
_DIGITS = 100

# But for a single letter, and for the names that YAML gives to parts of a file.
_QUOTED = re.compile(r"'(?!<)[^']{2,}'|\"[^\"]{2,}\"")

Lines = dict[tuple[str, ...], int]
"""Line by the keys that lead to a place; members of a list have their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong with a file before it is known what it is to say.

    Parameters
    ----------
    field
        Dotted, ``-`` for the whole file.
    expected
        What is wrong, or would be right.
    line
        From 1.
    """

    field: str = "-"
    expected: str
    line: int | None = None


class BadYaml(Exception):
    """A file cannot be used.

    Parameters
    ----------
    mistakes
        All that were found.
    """

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(mistake.expected for mistake in mistakes))
        self.mistakes = mistakes


def read_yaml(
    file: Path,
    loader: type[yaml.SafeLoader] = yaml.SafeLoader,
    *,
    text_keys: bool = False,
) -> tuple[Any, Lines]:
    """Read a YAML file.

    Parameters
    ----------
    file
        In UTF-8.
    loader
        Which makes values of it.
    text_keys
        Whether a key that is no text, such as ``on`` or ``<<``, is a mistake.

    Returns
    -------
    :
        What it holds (``None`` if nothing), and the lines of all keys.

    Raises
    ------
    BadYaml
        It cannot be read, is no YAML, is nested without end, or gives a key twice.
    """
    mistakes: list[Mistake] = []
    lines: Lines = {}
    try:
        if file.exists() and not file.is_file():
            # A pipe would be waited for, for ever.
            raise OSError("is no regular file")
        reading = loader(file.read_text(encoding="utf-8"))
        node = reading.get_single_node()
        if node is None:
            return None, lines
        _walk(node, (), lines, mistakes, text_keys=text_keys)
        data = None if mistakes else reading.construct_document(node)
    except RecursionError:
        mistakes = [Mistake(expected="is nested too deeply, or in itself")]
    except (OSError, UnicodeDecodeError) as error:
        mistakes = [Mistake(expected=f"cannot be read: {error}")]
    except ValueError:
        # Its words may quote the value, and that may be a secret.
        mistakes = [Mistake(expected="a value is none, such as the date 2026-13-01")]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        mistakes = [
            Mistake(
                line=None if mark is None else mark.line + 1,
                expected=f"is no YAML: {_explained(error)}",
            )
        ]
    if mistakes:
        raise BadYaml(mistakes)
    return data, lines


def _explained(error: yaml.YAMLError) -> str:
    """Return what is wrong with YAML, and what it comes from most of the time.

    Without the words of the file that the parser quotes: they may be a secret's.
    """
    problem = str(getattr(error, "problem", None) or error).partition("\n")[0]
    if "\\t" in problem:
        return f"{problem}: indent with spaces, not with tabs"
    if "mapping values" in problem or "expected <block end>" in problem:
        return f"{problem}: is this line indented as its neighbours are?"
    quoted = _QUOTED.search(problem) is not None
    problem = _QUOTED.sub("(not shown)", problem)
    if quoted and ("alias" in problem or "tag" in problem):
        return f"{problem}: a value that begins with * or ! needs quotes"
    return problem


def line_of(lines: Lines, path: tuple[str, ...]) -> int | None:
    """Return the line of a place, or of the nearest one around it that is there.

    Parameters
    ----------
    lines
        Of :func:`read_yaml`.
    path
        The keys that lead there.
    """
    for length in range(len(path), -1, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _walk(
    node: yaml.Node,
    path: tuple[str, ...],
    lines: Lines,
    mistakes: list[Mistake],
    *,
    text_keys: bool,
) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > _DEPTH or len(lines) > _PLACES:
        raise RecursionError
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if text_keys and key.tag != _TEXT:
                mistakes.append(
                    Mistake(
                        line=line,
                        field=".".join(path) or "-",
                        expected="expected a key that is text, in quotes if need be"
                        f" (found: {key.value})",
                    )
                )
                continue
            inner = (*path, str(key.value))
            if inner in lines and key.tag != "tag:yaml.org,2002:merge":
                mistakes.append(
                    Mistake(
                        line=line,
                        field=".".join(inner),
                        expected=f"is given twice, first in line {lines[inner]}",
                    )
                )
            lines[inner] = line
            _walk(value, inner, lines, mistakes, text_keys=text_keys)
    elif isinstance(node, yaml.ScalarNode):
        if node.tag in _NUMBERS and len(node.value) > _DIGITS:
            mistakes.append(
                Mistake(
                    line=node.start_mark.line + 1,
                    field=".".join(path) or "-",
                    expected=f"is a number of more than {_DIGITS} digits",
                )
            )
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            inner = (*path, str(index))
            _walk(value, inner, lines, mistakes, text_keys=text_keys)
