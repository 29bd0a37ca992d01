"""Where the files are that travel with the program."""

from pathlib import Path

import icat_stream


def shipped(name: str) -> Path:
    """Return the path of something in ``resources/``.

    Parameters
    ----------
    name
        Such as ``schemas`` or ``config.sample.yaml``.

    Raises
    ------
    FileNotFoundError
        It is not there: the installation is damaged.
    """
    return _found("resources", name) / name


def documentation() -> Path:
    """Return the folder of the documentation's pages.

    Raises
    ------
    FileNotFoundError
        It is not there: the installation is damaged.
    """
    return _found("docs", "night")


def _found(folder: str, inside: str) -> Path:
    package = Path(icat_stream.__file__).parent
    # Installed: inside the package.  In a checkout: beside src/.
    for found in (package / folder, package.parents[1] / folder):
        if (found / inside).exists():
            return found
    raise FileNotFoundError(
        f"{folder}/{inside} is neither in {package} nor in the checkout around it:"
        " install icat-stream again"
    )
