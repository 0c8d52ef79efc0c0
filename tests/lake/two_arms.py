"""Experiments of two equal arms whose outcomes stand ready, column by column."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["two_arms"]

SPEC = """\
key: said
start: 2026-01-01
end: 2026-02-01
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
assignment: {source: files, path: outcomes.parquet}
outcomes: {source: files, path: outcomes.parquet}
metrics:
"""


def two_arms(folder, *metrics, **columns):
    """Measure `metrics` on `columns`, each the holdout's numbers and then as many of the treated arm."""
    customers = len(next(iter(columns.values())))
    pd.DataFrame(
        {
            "id": [f"c{n}" for n in range(customers)],
            "arm": np.repeat(["holdout", "treatment"], customers // 2),
            "assigned_at": pd.Timestamp("2026-01-02", tz="UTC"),
            **columns,
        }
    ).to_parquet(folder / "outcomes.parquet")
    path = folder / "said.yml"
    path.write_text(SPEC + "".join(f"  - {{{each}}}\n" for each in metrics))
    home = str(folder / "lake")
    return measure(Workspace(Settings(lift_home=home), Lake(home)), Spec.read(path), as_of=date(2026, 3, 1))
