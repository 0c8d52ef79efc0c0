"""Who was enrolled: arms' sizes against the plan, and how many came at each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from toolkit.design.experiment import Experiment
from toolkit.errors import NotEnoughData
from toolkit.notebook.panel import Grid, Panel
from toolkit.notebook.picture import standalone
from toolkit.readout.bars import sizes
from toolkit.readout.figures import count, instant, percent
from toolkit.steps.workspace import Workspace

__all__ = ["enrolment"]


def enrolment(workspace: Workspace, experiment: Experiment) -> Panel:
    """Return what the ledger holds of an experiment: arms beside their planned sizes, and every run.

    Raises:
        NotEnoughData: nobody is assigned yet.
        StorageError: the lake cannot be read.
    """
    rows = workspace.lake.read("assignments", ["id", "arm", "assigned_at"], experiment=experiment.key)
    first: dict[str, tuple[str, str]] = {}
    for row in rows.sort_by("assigned_at").to_pylist():
        first.setdefault(row["id"], (row["assigned_at"].isoformat(), row["arm"]))
    if not first:
        raise NotEnoughData(f"{experiment.key}: nobody is assigned yet; run `assign(workspace, spec)`")
    arms = Counter(arm for _, arm in first.values())
    runs = Counter(first.values())
    total = len(first)
    bars = [
        (arm, arms[arm] / total, share, _said(arms, arm, total, share))
        for arm, share in experiment.arms.items()
    ]
    grid = Grid(
        "Customers enrolled at each run",
        ("run", *experiment.arms),
        tuple(
            (instant(at), *(count(runs[at, arm]) for arm in experiment.arms))
            for at in sorted({at for at, _ in runs})
        ),
        right=tuple(range(1, len(experiment.arms) + 1)),
    )
    picture = standalone(sizes("arms", "Customers per arm beside the sizes planned", bars), "arms")
    told = f"{count(total)} customers are enrolled. A customer's first assignment holds for ever."
    return Panel("Who is enrolled", told, (grid,), (picture,))


def _said(arms: Mapping[str, int], arm: str, total: int, planned: float) -> str:
    return f"{count(arms[arm])}, {percent(arms[arm] / total)} (planned {percent(planned)})"
