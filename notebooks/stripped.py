"""Check that the notebooks carry no outputs; prints the ones that do and exits with 1."""

import json
import sys
from pathlib import Path


def leftovers(notebook):
    """Numbers of the code cells of a notebook that hold an output or an execution count.

    Examples
    --------
    >>> leftovers({"cells": [{"cell_type": "code", "outputs": [], "execution_count": 3}]})
    [0]
    """
    return [
        number
        for number, cell in enumerate(notebook["cells"])
        if cell["cell_type"] == "code" and (cell["outputs"] or cell["execution_count"] is not None)
    ]


if __name__ == "__main__":
    found = {path: leftovers(json.loads(path.read_text("utf-8"))) for path in Path(__file__).parent.glob("*.ipynb")}
    for path, cells in found.items():
        if cells:
            print(
                f"{path}: cells {cells} have outputs; strip them with jupyter nbconvert --clear-output --inplace {path}"
            )
    sys.exit(any(found.values()))
