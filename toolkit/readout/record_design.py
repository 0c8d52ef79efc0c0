"""The experiment file's part of the record: names, dates, metrics and traits in words."""

from __future__ import annotations

from typing import Any

from toolkit.design.durations import in_words
from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Ratio

__all__ = ["design_of"]


def design_of(experiment: Experiment) -> dict[str, Any]:
    """Return what a page needs of the experiment file, JSON-ready."""
    return {
        "name": experiment.title,
        "hypothesis": experiment.hypothesis,
        "owners": experiment.owners,
        "start": experiment.start.isoformat(),
        "end": experiment.end.isoformat(),
        "complete_on": experiment.complete_at.astimezone(experiment.zone).date().isoformat(),
        "timezone": experiment.timezone,
        "control": experiment.control,
        "identity": experiment.identity.key,
        "alpha": experiment.analysis.alpha,
        "looks": experiment.analysis.looks,
        "breakdowns": list(experiment.analysis.breakdowns),
        "universal": experiment.cohort.universal_holdout.key
        if experiment.cohort and experiment.cohort.universal_holdout
        else None,
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
        "decisions": [
            {"on": each.on.isoformat(), "decision": each.decision, "by": each.by}
            for each in experiment.decisions
        ],
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
