"""Who installed icat-stream without extras is told what a command needs."""

import re
import subprocess
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "base.txt"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has what the program requires, and nothing more."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    names = re.findall(r"^([\w.-]+)(?:\[.*\])?==", REQUIREMENTS.read_text(), re.M)
    for name in [*names, "icat-stream"]:
        found = distribution(name)
        tops = {each.parts[0] for each in found.files or ()} - {"..", "__pycache__"}
        for top in tops:
            link = site / top
            if not link.exists():
                link.symlink_to(str(found.locate_file(top)))
    return folder / "bin" / "python"


def _run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from icat_stream.cli.tools import main; main()"
    return subprocess.run(
        [python, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=python.parent,
    )


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["sandbox", "up"], "sandbox"),
        (["sandbox", "demo"], "sandbox"),
        (["sandbox", "announce"], "sandbox"),
        (["sandbox", "status"], "sandbox"),
        (["sandbox", "down"], "sandbox"),
        (["dataservice", "-c", "ids.yaml"], "dataservice"),
        (["dataservice", "check", "-c", "ids.yaml"], "dataservice"),
        (["bridge", "-c", "config.yaml"], "bridge"),
    ],
)
def test_a_command_says_in_one_line_which_extra_it_needs(python, arguments, extra):
    done = _run(python, *arguments)
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("icat_stream ")
    assert f"needs the extra {extra} (" in line
    assert ("stomp-py" if extra == "bridge" else "starlette") in line
    # With where it came from, so that the line works as it stands.
    assert re.search(rf"pip install 'icat-stream\[{extra}\]( @ file://.+)?'$", line)


def test_help_and_all_else_go_without(python):
    for arguments in (
        ["sandbox", "up", "-h"],
        ["dataservice", "check", "-h"],
        ["config", "sample"],
    ):
        done = _run(python, *arguments)
        assert done.returncode == 0, done.stderr


def test_the_sample_configuration_is_valid_without_extras(python, tmp_path):
    # With it go the metadata schemas and the handlers.
    sample = _run(python, "config", "sample").stdout
    (tmp_path / "config.yaml").write_text(sample)
    assert _run(python, "config", "schemas", str(tmp_path / "schemas")).returncode == 0
    done = subprocess.run(
        [
            python,
            "-c",
            "from icat_stream.cli.validate import main; main()",
            tmp_path / "config.yaml",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ": valid" in done.stdout
