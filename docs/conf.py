"""Sphinx: MyST pages, docstrings in NumPy style, warnings are errors."""

import os
import re
from importlib import metadata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

project = "keras-attn-xai"
author = "The keras-attn-xai authors"
copyright = author
try:
    release = metadata.version("keras-attn-xai")
except metadata.PackageNotFoundError:  # built from a checkout that was never installed
    release = "0.1.0"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
default_role = "code"
nb_execution_mode = "off"  # `make notebooks` has executed the copies in tutorials/
nb_output_stderr = "remove"  # progress bars
nb_merge_streams = True
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Call arguments", "params_style"), ("Yields", "returns_style")]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
add_module_names = False

html_theme = "furo"
html_title = "keras-attn-xai"
html_show_sphinx = False
html_copy_source = False


def setup(app):
    """Links between pages and notebooks of the repository become links between pages and tutorials."""

    def linked(app, name, text):
        text[0] = text[0].replace("(../../notebooks/", "(../tutorials/")
        if name.startswith("tutorials/"):
            text[0] = re.sub(r"`docs/([\w/-]+\.md)`", r"[](../\1)", text[0])  # by the page's title

    app.connect("source-read", linked)
