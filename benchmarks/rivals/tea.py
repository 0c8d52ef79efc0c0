"""tea-tasting on a file with one row per customer: `python -m benchmarks.rivals.tea PATH`."""

from __future__ import annotations

import json
import sys

import ibis
import tea_tasting as tt


def answer(path: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return metric → raw or adjusted → value."""
    experiment = tt.Experiment(
        {
            "conversion": tt.Mean("converted"),
            "revenue": tt.Mean("revenue", covariate="history"),
            "visits": tt.Mean("visits", covariate="history"),
            "orders": tt.Mean("orders"),
            "revenue_per_session": tt.RatioOfMeans("revenue", "sessions"),
            "sample_ratio": tt.SampleRatio({"holdout": 0.1, "treatment": 0.9}),
        },
        variant="arm",
    )
    found = experiment.analyze(ibis.duckdb.connect().read_parquet(path), control="holdout")
    return {
        name: {"adjusted" if name in {"revenue", "visits"} else "raw": {"value": float(each.effect_size)}}
        for name, each in found.items()
        if name != "sample_ratio"
    }


if __name__ == "__main__":
    print(json.dumps(answer(sys.argv[1])))
