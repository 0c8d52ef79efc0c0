"""Maturity: how complete a look is, from how late orders and refunds have been seen to come."""

from __future__ import annotations

from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.lake.engine import Engine
from toolkit.lake.lateness import lateness_of
from toolkit.lake.outcomes import Evidence
from toolkit.lake.tables import Lake
from toolkit.stats.maturity import EDGES, Maturity, lags_of, maturity_of, refund_rate

__all__ = ["maturity_at"]


def maturity_at(
    con: Engine, lake: Lake, experiment: Experiment, evidence: Evidence, *, as_of_end: datetime
) -> Maturity | None:
    """Return how complete a look is; None where nothing tells how late orders or refunds come.

    Refunds make it provisional only where a primary metric is of orders' amounts, which they lower.
    """
    if evidence.told is None or evidence.activity is None:
        return None
    lateness = lateness_of(
        con,
        lake,
        experiment,
        evidence.needs,
        evidence.told,
        evidence.ledger,
        EDGES,
        looked=evidence.activity.corrected,
        as_of_end=as_of_end,
        hours=evidence.advanced.hours if evidence.advanced else None,
    )
    if lateness is None:
        return None
    orders, refunds = lateness.orders, lateness.refunds
    arrivals = lags_of(*lateness.arrivals) if lateness.arrivals else None
    behind = lags_of(refunds.lags, refunds.ages, refunds.counts, refunds.amounts) if refunds else None
    rate = None
    if refunds and behind:
        rate = refund_rate(behind, orders.ages, orders.amounts, float(refunds.amounts.sum()))
    if arrivals is None and rate is None:
        return None
    found = maturity_of(
        orders.ages,
        orders.amounts,
        orders=arrivals,
        refunds=behind,
        rate=rate,
        counts=orders.counts,
        read_days=lateness.read_days,
    )
    return found if _is_of_amounts(experiment) else found.of_orders()


def _is_of_amounts(experiment: Experiment) -> bool:
    """Return whether any primary metric (of none, any metric) is of orders' amounts."""
    order = experiment.events.order.name if experiment.events else None
    return any(
        term.event == order and term.value == "amount" for each in experiment.deciding for term in each.terms
    )
