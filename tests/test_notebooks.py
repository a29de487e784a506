"""Notebooks are committed without outputs, and say how to install what they need."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted(Path(__file__).parent.parent.glob("notebooks/*.ipynb"))


def test_there_is_a_first_notebook():
    assert NOTEBOOKS[0].name.startswith("01_")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_installation_is_shown_as_markdown(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert any("pip install" in "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
