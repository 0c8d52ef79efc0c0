"""A measurement as JSON: the record that every other reader (HTML, CSV, other programs) is made from."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from toolkit import __version__
from toolkit.design.experiment import Experiment
from toolkit.readout.record_design import design_of
from toolkit.stats.compliance import Exposed, Refused
from toolkit.stats.curve import Schedule
from toolkit.stats.estimate import Estimate, Relative
from toolkit.stats.maturity import Maturity
from toolkit.stats.results import Block, Check, Correction, Lift, Measurement, Verdict
from toolkit.stats.value import Money, Worth

__all__ = ["as_json", "record_of"]

SCHEMA = 1


def record_of(
    experiment: Experiment,
    measurement: Measurement,
    *,
    spec_digest: str,
    simulated: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the readout's record: JSON-ready, numbers unrounded, None where there is no number.

    With a failed check every lift is marked as not to be trusted; pages hide them. `simulated` are the variables
    that lead back to a simulated world, where the rows are of one.
    """
    return {
        "schema": SCHEMA,
        "experiment": experiment.key,
        "as_of": measurement.as_of.isoformat(),
        "data_through": _instant(measurement.data_through),
        "arms": [
            {
                "arm": arm,
                "customers": measurement.customers[arm],
                "share": share,
                "control": arm == experiment.control,
            }
            for arm, share in measurement.shares.items()
        ],
        "checks": [_check(check) for check in measurement.checks],
        "lifts": [_lift(lift, believed=not measurement.failed) for lift in measurement.lifts],
        "verdict": _verdict(measurement.verdict),
        "looks": _looks(measurement.schedule),
        "curve": _curve(experiment, measurement.schedule),
        "sizes": _sizes(experiment, measurement.schedule),
        "worth": [_worth(experiment, arm, each) for arm, each in measurement.worth.items()],
        "maturity": _maturity(measurement.maturity),
        "reach": list(measurement.reach),
        "notes": list(measurement.notes),
        "design": design_of(experiment),
        "provenance": {
            "spec": f"sha256:{spec_digest}",
            "tables": measurement.tables,
            "versions": {"toolkit": __version__, "python": platform.python_version()},
            **({"simulated": True, "environment": dict(simulated)} if simulated else {}),
        },
    }


def as_json(record: dict[str, Any]) -> str:
    """Return `record` as text: UTF-8, indented, the same for the same record."""
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _verdict(verdict: Verdict) -> dict[str, str]:
    said = {"status": verdict.status, "text": verdict.text}
    return said | {"caution": verdict.caution} if verdict.caution else said


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "status": check.status,
        "p_value": _number(check.p_value),
        "detail": check.detail,
    }


def _maturity(maturity: Maturity | None) -> dict[str, Any] | None:
    if maturity is None:
        return None
    return {
        "share": _number(maturity.share),
        "arrived": _number(maturity.arrived),
        "settled": _number(maturity.settled),
        "provisional": maturity.provisional,
        "text": maturity.text,
    }


def _lift(lift: Lift, *, believed: bool) -> dict[str, Any]:
    return {
        "metric": lift.metric,
        "kind": lift.kind,
        "role": lift.role,
        "arm": lift.arm,
        "control": lift.control,
        "breakdown": lift.breakdown,
        "level": lift.level,
        "customers": {"treatment": lift.customers[lift.arm], "control": lift.customers[lift.control]},
        "converters": {"treatment": lift.converters[lift.arm], "control": lift.converters[lift.control]},
        "means": {
            "treatment": _number(lift.means[lift.arm]),
            "control": _number(lift.means[lift.control]),
        },
        "raw": _block(lift.raw),
        "adjusted": _block(lift.adjusted),
        "capped": _block(lift.capped),
        "capped_adjusted": _block(lift.capped_adjusted),
        "skew_corrected": _block(lift.skew_corrected),
        "decision": lift.decision,
        "corrects": lift.corrects,
        "alpha": lift.alpha,
        "corrected": _correction(lift.corrected),
        "exposed": _exposed(lift.exposed),
        "detectable": _number(lift.detectable),
        "trusted": lift.trusted and believed,
        "answer": lift.answer,
        "harm": lift.harm,
        "margin": lift.margin,
        "notes": list(lift.notes),
    }


def _correction(correction: Correction | None) -> dict[str, Any] | None:
    if correction is None:
        return None
    return {
        "method": correction.method,
        "members": correction.members,
        "exploratory": correction.method == "benjamini_hochberg",
        "p_value": _number(correction.p_value),
        "alpha": correction.alpha,
        "absolute": _estimate(correction.absolute),
        "relative": _relative(correction.relative),
    }


def _exposed(exposed: Exposed | Refused | None) -> dict[str, Any] | None:
    if exposed is None:
        return None
    if isinstance(exposed, Refused):
        return {"value": None, "low": None, "high": None, "refused": exposed.why}
    return {
        "value": _number(exposed.value),
        "low": _number(exposed.low),
        "high": _number(exposed.high),
        "exposed_share": _number(exposed.exposed_share),
        "p_value": _number(exposed.p_value),
        "method": "anderson-rubin",
        "note": exposed.note,
        "block": exposed.block,
        "trusted": exposed.trusted,
        "assigned": _estimate(exposed.assigned) if exposed.assigned else None,
    }


def _looks(schedule: Schedule) -> dict[str, Any]:
    """Return which look this is, of how many, and how much of the plan has passed."""
    number = max(len(schedule.looks), 1)
    fraction = schedule.looks[-1].fraction if schedule.looks else 1.0
    boundary = None if not schedule.looks else "always_on" if schedule.always_on else "planned"
    ended = schedule.ended_on
    return {
        "number": number,
        "of": schedule.total,
        "fraction": fraction,
        "boundary": boundary,
        "ended_on": ended.isoformat() if ended else None,
        "note": _after(schedule) if ended else None,
    }


def _after(schedule: Schedule) -> str:
    """Return what a look after the plan's end is."""
    said = f"the plan ended with look {len(schedule.looks)} of {schedule.total} on {schedule.ended_on}"
    if not schedule.growing:
        return f"{said}; what came later restates that look"
    return (
        f"{said}; {', '.join(schedule.growing)} went on growing, and since then their intervals and p-values are those "
        "of looks without an end; what came later of anything else restates that look"
    )


def _curve(experiment: Experiment, schedule: Schedule) -> list[dict[str, Any]]:
    """Return every look at every metric and arm; raw, or capped where the file caps, never adjusted."""
    return [
        {
            "as_of": point.on.isoformat(),
            "metric": metric,
            "arm": arm,
            "customers": {"treatment": point.customers[arm], "control": point.customers[experiment.control]},
            "means": {
                "treatment": _number(point.means[arm]),
                "control": _number(point.means[experiment.control]),
            },
            "absolute": _estimate(point.estimate),
            "sequential": _estimate(point.sequential) if point.sequential else None,
            "boundary": _number(point.boundary),
        }
        for (metric, arm), trace in schedule.traces.items()
        for point in trace.points
    ]


def _sizes(experiment: Experiment, schedule: Schedule) -> list[dict[str, Any]]:
    """Return every look's share of each arm, and within what 19 of 20 fair draws of the planned share lie."""
    counts: dict[str, dict[str, int]] = {}
    for trace in schedule.traces.values():
        for point in trace.points:
            counts.setdefault(point.on.isoformat(), {}).update(point.customers)
    rows = []
    for on, customers in sorted(counts.items()):
        total = sum(customers.values())
        if set(customers) != set(experiment.arms) or not total:
            continue
        for arm, planned in experiment.arms.items():
            spread = 1.96 * math.sqrt(planned * (1 - planned) / total)
            rows.append(
                {
                    "as_of": on,
                    "arm": arm,
                    "customers": customers[arm],
                    "share": customers[arm] / total,
                    "low": max(0.0, planned - spread),
                    "high": min(1.0, planned + spread),
                }
            )
    return rows


def _worth(experiment: Experiment, arm: str, worth: Worth) -> dict[str, Any]:
    """Return what the offer brought in money and orders, per treated customer and in all."""
    currency = experiment.value.currency.upper() if experiment.value else None
    amounts = (
        "revenue",
        "orders",
        "profit",
        "total_revenue",
        "total_orders",
        "total_profit",
        "returned",
        "net_returned",
    )
    return {
        "arm": arm,
        "currency": currency,
        "customers": worth.customers,
        **{name: _money(getattr(worth, name)) for name in amounts},
        "cost": _number(worth.cost),
        "total_cost": _number(worth.total_cost),
        "trusted": worth.trusted,
        "notes": list(worth.notes),
    }


def _money(money: Money | None) -> dict[str, float | None] | None:
    return (
        None if money is None else {name: _number(getattr(money, name)) for name in ("value", "low", "high")}
    )


def _block(block: Block | None) -> dict[str, Any] | None:
    if block is None:
        return None
    said: dict[str, Any] = {
        "absolute": _estimate(block.absolute),
        "relative": _relative(block.relative),
        "p_value": _number(block.p_value),
    }
    if block.variance_reduction is not None or block.covariates:
        said |= {
            "variance_reduction": _number(block.variance_reduction),
            "covariates": list(block.covariates),
        }
    if block.cap is not None:
        said |= {"cap": _number(block.cap), "capped_customers": block.capped_customers}
    return said


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {name: _number(getattr(estimate, name)) for name in ("value", "se", "low", "high")} | {
        "df": _number(estimate.df)
    }


def _relative(relative: Relative) -> dict[str, Any]:
    return {name: _number(getattr(relative, name)) for name in ("value", "low", "high")} | {
        "method": "fieller"
    }


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
