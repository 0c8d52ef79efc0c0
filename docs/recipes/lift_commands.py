"""Two DAGs of commands: enrol and push often, measure and publish once a week."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

LIFT = "cd /srv/lift && .venv/bin/"
SPEC = "experiments/cart-free-shipping.yml"
ALWAYS = {"owner": "growth-analytics", "retries": 2, "retry_delay": timedelta(minutes=5)}
START = datetime(2026, 9, 28, tzinfo=UTC)

with DAG(
    "lift_push",
    schedule="*/15 * * * *",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=ALWAYS,
):
    assign = BashOperator(task_id="assign", bash_command=LIFT + f"lift assign {SPEC}")
    audit = BashOperator(task_id="audit", bash_command=LIFT + f"lift audit {SPEC}")
    push = BashOperator(task_id="push", bash_command=LIFT + f"lift push {SPEC} --apply")
    assign >> audit >> push

with DAG(
    "lift_weekly",
    schedule="0 6 * * 1",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=ALWAYS,
):
    BashOperator(task_id="weekly", bash_command=LIFT + "lift weekly experiments --digest digest.md")
