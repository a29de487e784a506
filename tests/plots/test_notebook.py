"""In a notebook the last value of a cell is seen as a picture, once, whether or not pyplot is set up for it."""

from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="pip install nbclient ipykernel")
nbformat = pytest.importorskip("nbformat")

START = "from tests.made import explanation; from keras_attn_xai import plots; shown = explanation(3)"
LAST = {
    "a figure": "plots.plot_side_by_side(shown)",
    "axes": "plots.plot_tokens(shown.attribution)",
    "a figure of heads": "plots.plot_heads(shown.attention)",
    "axes of a heat map": "plots.plot_heatmap(shown.attention[0]);",
    "nothing": "plots.plot_tokens(shown.attribution); None",
}
PICTURES = [1, 1, 1, 0, 0]  # a semicolon keeps a cell quiet
OWN = "import matplotlib.pyplot as plt; figure, ax = plt.subplots(); plots.plot_tokens(shown.attribution, ax=ax)"


def pictures_of(cells):
    """Run cells; for each, how many pictures are seen below it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    home = {"metadata": {"path": str(Path(__file__).parents[2])}}
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources=home).execute()
    return [sum("image/png" in one.get("data", {}) for one in cell.outputs) for cell in notebook.cells]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's client
def test_a_picture_is_seen_once(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    seen = pictures_of([START, *LAST.values(), "%matplotlib inline", *LAST.values(), OWN])
    assert seen == [0, *PICTURES, 0, *PICTURES, 1]
