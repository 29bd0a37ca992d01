"""How the documentation is built: Markdown, by Sphinx; references from the program."""

import sys
from pathlib import Path

import icat_stream

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from references import write_references  # noqa: E402

project = "icat-stream"
author = "the icat-stream developers"
release = icat_stream.__version__
version = release.partition("+")[0]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_show_copyright = False
html_title = f"icat-stream {version}"
myst_heading_anchors = 3
exclude_patterns = ["_build"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False

write_references(HERE / "reference")
