"""The floor of a readout: papermill runs an empty notebook, nbconvert makes it HTML."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import nbformat
import papermill
from nbconvert import HTMLExporter

logging.getLogger("papermill").setLevel(logging.ERROR)
folder = Path(sys.argv[1])
source, target = folder / "empty.ipynb", folder / "empty.out.ipynb"
nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")]), source)
papermill.execute_notebook(
    str(source), str(target), kernel_name="python3", progress_bar=False, log_output=False
)
html, _ = HTMLExporter().from_filename(str(target))
(folder / "empty.html").write_text(html, encoding="utf-8")
