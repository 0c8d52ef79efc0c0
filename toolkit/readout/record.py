"""A measurement as JSON: the record that every other reader (HTML, CSV, other programs) is made from."""

from __future__ import annotations

import json
import math
import platform
from datetime import UTC, datetime
from typing import Any

from toolkit import __version__
from toolkit.design.durations import in_words
from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Ratio
from toolkit.stats.estimate import Estimate, Relative
from toolkit.stats.results import Block, Check, Lift, Measurement

__all__ = ["as_json", "record_of"]

SCHEMA = 1


def record_of(experiment: Experiment, measurement: Measurement, *, spec_digest: str) -> dict[str, Any]:
    """Return the readout's record: JSON-ready, numbers unrounded, None where there is no number.

    With a failed check every lift is marked as not to be trusted; pages hide them.
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
        "verdict": {"status": measurement.verdict.status, "text": measurement.verdict.text},
        "notes": list(measurement.notes),
        "design": _design(experiment),
        "provenance": {
            "spec": f"sha256:{spec_digest}",
            "tables": measurement.tables,
            "versions": {"toolkit": __version__, "python": platform.python_version()},
        },
    }


def as_json(record: dict[str, Any]) -> str:
    """Return `record` as text: UTF-8, indented, the same for the same record."""
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "status": check.status,
        "p_value": _number(check.p_value),
        "detail": check.detail,
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
        "decision": lift.decision,
        "trusted": lift.trusted and believed,
        "answer": lift.answer,
        "harm": lift.harm,
        "margin": lift.margin,
        "notes": list(lift.notes),
    }


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


def _design(experiment: Experiment) -> dict[str, Any]:
    return {
        "name": experiment.title,
        "hypothesis": experiment.hypothesis,
        "owners": experiment.owners,
        "start": experiment.start.isoformat(),
        "end": experiment.end.isoformat(),
        "timezone": experiment.timezone,
        "control": experiment.control,
        "identity": experiment.identity.key,
        "alpha": experiment.analysis.alpha,
        "looks": experiment.analysis.looks,
        "metrics": [
            {
                "name": metric.name,
                "kind": metric.kind,
                "role": metric.role,
                "window": in_words(metric.window) if metric.window else None,
                "definition": _definition(metric),
            }
            for metric in experiment.metrics
        ],
        "traits": [
            {
                "name": trait.name,
                "type": trait.type,
                "default": trait.default,
                "meaning": trait.meaning,
                "flag": trait.flag,
                "owner": trait.owner,
                "max_age": in_words(trait.max_age) if trait.max_age else None,
                "segments": list(trait.segments()),
            }
            for trait in experiment.traits
        ],
        "value": experiment.value.model_dump() if experiment.value else None,
        "decisions": [{"on": each.on.isoformat(), "text": each.text} for each in experiment.decisions],
    }


def _definition(metric: Any) -> str:
    """Return what the metric counts, in words."""
    if metric.description:
        return str(metric.description)
    named = [_term(term.how, term.event, term.value or term.column) for term in metric.terms]
    if isinstance(metric, Ratio):
        return f"{named[0]} divided by {named[1]}, {metric.window_in_words()}"
    share = "share of customers with " if metric.kind == "conversion" else "mean per customer of "
    return f"{share}{named[0]}, {metric.window_in_words()}"


def _term(how: str, event: str | None, value: str | None) -> str:
    if event is None:
        return f"{value}" if how == "sum" else f"{value} other than zero"
    return {"any": f"“{event}”", "count": f"the number of “{event}”", "sum": f"{value} of “{event}”"}[how]
