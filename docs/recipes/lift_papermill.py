"""A DAG that runs an analyst's notebook every week, after the week was measured, and keeps what it showed."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.papermill.operators.papermill import PapermillOperator
from airflow.sdk import DAG

HOME = "/srv/lift"

with DAG(
    "lift_notebooks",
    schedule="0 8 * * 1",
    start_date=datetime(2026, 9, 28, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "growth-analytics", "retries": 1},
):
    PapermillOperator(
        task_id="weekly_readout",
        input_nb=f"{HOME}/notebooks/weekly_readout.ipynb",
        output_nb=f"{HOME}/reports/notebooks/{{{{ data_interval_end | ds }}}}.ipynb",
        parameters={
            "record": f"{HOME}/reports/cart-free-shipping/{{{{ data_interval_end | ds }}}}/readout.json"
        },
        kernel_name="lift",
    )
