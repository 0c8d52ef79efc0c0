"""Do 95 % intervals hold the truth 95 times in 100? The loop over HTTP, many small worlds, one seed each."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from toolkit.demo import live_weeks, specs_of_the_demo, truths, workspace_of
from toolkit.sandbox import Sandbox

SEEDS = 200
SCALE = 0.6
WEEKS = 2
KEYS = ("vip-early-access", "winback-dormant")
"""Snapshots: their holdouts are large enough in a small world for intervals to be trusted."""


def one(seed: int) -> list[tuple[str, str, str, bool | None]]:
    """Return (experiment, arm, metric, whether the interval held the truth) in the world of `seed`."""
    specs = [spec for spec in specs_of_the_demo() if spec.experiment.key in KEYS]
    with tempfile.TemporaryDirectory() as folder, Sandbox(seed=seed, scale=SCALE, limits=False) as box:
        home, reports = Path(folder) / "lake", Path(folder) / "reports"
        looks = live_weeks(box, specs, home, reports, weeks=WEEKS)
        workspace = workspace_of(box, home, reports)
        return [
            (each.experiment, each.arm, each.metric, each.covered)
            for spec in specs
            for each in truths(box, workspace, spec, looks[-1][spec.experiment.key])
        ]


def run(seeds: int = SEEDS) -> str:
    """Return a table of coverage per experiment, arm and metric."""
    held: Counter[tuple[str, str, str]] = Counter()
    seen: Counter[tuple[str, str, str]] = Counter()
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for at, found in enumerate(pool.map(one, range(1, seeds + 1)), 1):
            print(f"\rworlds: {at} of {seeds}", end="", file=sys.stderr, flush=True)
            for experiment, arm, metric, covered in found:
                if covered is not None:
                    seen[experiment, arm, metric] += 1
                    held[experiment, arm, metric] += covered
    print(file=sys.stderr)
    rows = [
        f"| {experiment} | {arm} | {metric} | {seen[experiment, arm, metric]} | "
        f"{held[experiment, arm, metric] / seen[experiment, arm, metric]:.1%} |"
        for experiment, arm, metric in sorted(seen)
    ]
    total = [key for key in seen if key[2] == "purchase_rate"]
    overall = sum(held[key] for key in total) / sum(seen[key] for key in total)
    head = [
        "| experiment | arm | metric | trusted intervals | hold the truth |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows.append(f"| all | all | purchase_rate | {sum(seen[key] for key in total)} | {overall:.1%} |")
    return "\n".join([f"{seeds} worlds, scale {SCALE}, {WEEKS} weeks, over HTTP.", "", *head, *rows])


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS))
