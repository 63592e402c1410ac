"""Sphinx: the pages of this folder and the reference from docstrings. `make docs` builds it."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

import qpolicy_ros

project = "QPolicy ROS"
author = "QPolicy ROS maintainers"
release = version = qpolicy_ros.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "index"
# The index includes the README, which is how GitHub shows the folder.
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = f"QPolicy ROS {release}"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_use_ivar = True
nitpicky = False


def add_the_rest(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace MORE in the index by the pages that it does not name, so that none is lost."""
    if name != root_doc:
        return
    folder = Path(app.srcdir)
    pages = sorted(path.relative_to(folder).with_suffix("") for path in folder.rglob("*.md"))
    named = set(source[0].split())
    rest = [page.as_posix() for page in pages if page.as_posix() not in {*named, "README", "index"}]
    source[0] = source[0].replace("MORE", "\n".join(rest))


def setup(app: Sphinx) -> None:
    """Register the hook."""
    app.connect("source-read", add_the_rest)
