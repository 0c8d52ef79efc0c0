"""Notebooks are kept so that a difference between two versions is a difference in what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").rglob("*.ipynb"))
NOTEBOOKS = [path for path in NOTEBOOKS if ".ipynb_checkpoints" not in path.parts]
MEND = (
    "clear it: jupyter nbconvert --clear-output --ClearMetadataPreprocessor.enabled=True "
    "--ClearMetadataPreprocessor.preserve_cell_metadata_mask=tags --inplace"
)
TAGS = {"parameters", "notebook-only", "nbval-check-output"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_jupyter_itself_would_write_it(path):
    text = path.read_text(encoding="utf-8")
    read = nbformat.reads(text, as_version=4)
    nbformat.validate(read)
    assert json.loads(nbformat.writes(read)) == json.loads(text)
    assert json.dumps(json.loads(text), indent=1, ensure_ascii=False) == text.rstrip("\n")
    assert read.nbformat_minor >= 5
    assert read.metadata == {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }, MEND


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_have_names_that_stay_and_no_traces_of_a_run(path):
    cells = json.loads(path.read_text())["cells"]
    names = [cell["id"] for cell in cells]
    assert len(set(names)) == len(names)
    runs = 0
    for cell in cells:
        runs += cell["cell_type"] == "code"
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", cell["id"]), f"{path.name}: {cell['id']} is a random name"
        assert set(cell["metadata"]) <= {"tags"}, MEND
        assert set(cell["metadata"].get("tags", ())) <= TAGS
        if cell["cell_type"] == "code":
            kept = "nbval-check-output" in cell["metadata"].get("tags", ())
            assert cell["execution_count"] == (runs if kept else None), MEND
            assert bool(cell["outputs"]) == kept, f"{path.name}, {cell['id']}: {MEND}"


def test_one_notebook_is_compared_with_the_outputs_it_is_kept_with():
    strict = [path for path in NOTEBOOKS if "nbval-check-output" in path.read_text()]
    assert [path.name for path in strict] == ["by_hand.ipynb"]


def test_a_link_from_a_notebook_leads_to_a_notebook():
    for path in NOTEBOOKS:
        for linked in re.findall(r"\]\(([\w./-]+\.ipynb)\)", path.read_text()):
            assert (path.parent / linked).exists(), f"{path.name} links {linked}"
