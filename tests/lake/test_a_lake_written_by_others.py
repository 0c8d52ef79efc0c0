"""The lake's first two tables are a contract: whoever writes them with those columns can be measured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from toolkit.errors import LedgerError
from toolkit.lake.tables import Lake
from toolkit.settings import Settings
from toolkit.steps.assign import assign
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace

SPEC = """\
key: theirs
start: 2026-01-01
end: 2026-02-01
cohort: {source: files, entry: rolling, layer: any}
arms: {holdout: 0.5, treatment: 0.5}
control: holdout
events: {source: customerio, order: {amount: total}}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, role: primary, window: 14d}
  - {name: revenue, kind: mean, event: Order Completed, value: amount, window: 14d}
"""


@pytest.mark.parametrize("unit", [pa.timestamp("us", tz="UTC"), pa.timestamp("us")])
def test_assignments_and_events_with_the_contracts_columns_are_measured(tmp_path, unit):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [f"c{n}" for n in range(200)]
    arms = ["holdout" if n % 2 else "treatment" for n in range(200)]
    home = tmp_path / "lake"
    write_deltalake(
        home / "assignments",
        pa.table(
            {
                "experiment": ["theirs"] * 200,
                "id": ids,
                "arm": arms,
                "assigned_at": pa.array([at] * 200, unit),
            }
        ),
    )
    buyers = ids[:60]
    write_deltalake(
        home / "events",
        pa.table(
            {
                "event_id": [f"e{n}" for n in range(60)],
                "id": buyers,
                "name": ["Order Completed"] * 60,
                "timestamp": pa.array([at + timedelta(days=1 + n % 14) for n in range(60)], unit),
                "amount": [10.0] * 60,
                "currency": ["usd"] * 30 + ["USD"] * 30,
                "order_id": [f"o{n}" for n in range(60)],
            }
        ),
    )
    path = tmp_path / "experiment.yml"
    path.write_text(SPEC)
    workspace = Workspace(
        Settings(lift_home=str(home), lift_now=datetime(2026, 1, 20, tzinfo=UTC)), Lake(str(home))
    )
    found = measure(workspace, Spec.read(path))
    assert found.customers == {"holdout": 100, "treatment": 100}
    assert found.lifts[0].converters == {"treatment": 30, "holdout": 26}
    assert found.lifts[1].means["treatment"] == pytest.approx(3.0)
    (tmp_path / "people.parquet").write_bytes(b"")
    import pandas as pd

    pd.DataFrame({"id": [*ids, "new"]}).to_parquet(tmp_path / "people.parquet")
    enrolment = assign(workspace, Spec.read(path)).enrolment
    assert enrolment.known == 200
    assert sum(enrolment.assigned.values()) == 1


def test_a_changed_share_is_refused_in_the_universal_holdout_too(tmp_path):
    import pandas as pd

    pd.DataFrame({"id": [f"c{n}" for n in range(100)]}).to_parquet(tmp_path / "people.parquet")
    path = tmp_path / "experiment.yml"
    text = SPEC.replace("layer: any", "universal_holdout: {key: always, share: 0.1}")
    path.write_text(text)
    settings = Settings(lift_home=str(tmp_path / "lake"), lift_now=datetime(2026, 1, 20, tzinfo=UTC))
    workspace = Workspace(settings, Lake(settings.lift_home))
    assign(workspace, Spec.read(path))
    path.write_text(text.replace("share: 0.1", "share: 0.2"))
    with pytest.raises(LedgerError, match="universal_holdout changed"):
        assign(workspace, Spec.read(path))
