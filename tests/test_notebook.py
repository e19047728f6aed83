"""The researcher's notebook runs from the first cell to the last."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "researcher.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names = {"__name__": "notebook"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["findings"].status == "scored"
    assert names["losses"][-1] < names["losses"][0]
    assert len(names["result"].cases) == len(names["evaluated"].cases) == 6
    assert names["evaluated"].copies.known
    assert names["sheet"].width > 300
