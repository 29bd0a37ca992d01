"""How the documentation is built: Markdown, by Sphinx."""

project = "icat-stream"
author = "the icat-stream developers"
extensions = ["myst_parser"]
html_theme = "furo"
myst_heading_anchors = 3
exclude_patterns = ["_build"]
