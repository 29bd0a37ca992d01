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
    package = Path(icat_stream.__file__).parent
    # Installed: inside the package.  In a checkout: beside src/.
    for folder in (package / "resources", package.parents[1] / "resources"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(
        f"resources/{name} is neither in {package} nor in the checkout around it:"
        " install icat-stream again"
    )
