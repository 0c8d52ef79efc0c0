"""The universal holdout as an experiment of its own: what all offers together brought, against those in none."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Metric
from toolkit.errors import SpecError

__all__ = ["OPEN_ARM", "universal_of"]

OPEN_ARM = "open"
"""The universal holdout's other arm in the ledger: customers who may be in experiments."""
HELD_ARM = "holdout"


def universal_of(experiments: Sequence[Experiment]) -> Experiment:
    """Return the experiment that compares the universal holdout with everybody else whom these experiments looked at.

    Its assignments stand in the ledger already, since the first of them enrolled. It has the first one's events,
    analysis and metrics; of covariates the look-backs, since no attributes are kept of whoever is in nothing. It has
    no traits, and no value: money is asked for experiment by experiment. It lasts as long as any of them.

    Raises:
        SpecError: they do not share one universal holdout.
    """
    named = {
        each.cohort.universal_holdout.key: each.cohort.universal_holdout
        for each in experiments
        if each.cohort and each.cohort.universal_holdout
    }
    whole = len(named) == 1 and all(each.cohort and each.cohort.universal_holdout for each in experiments)
    if not whole:
        said = ", ".join(f"{each.key}: {_key(each)}" for each in experiments) or "no experiment"
        raise SpecError(
            f"cohort.universal_holdout: experiments have to share one to be asked together ({said})"
        )
    ((key, held),) = named.items()
    first = experiments[0]
    return first.model_copy(
        update={
            "key": key,
            "name": f"All experiments together ({key})",
            "hypothesis": "Customers who may be in experiments buy more than those who are in none.",
            "start": min(each.start for each in experiments),
            "end": max(each.end for each in experiments),
            "seed": None,  # its own key is what was drawn with
            "arms": {HELD_ARM: held.share, OPEN_ARM: 1 - held.share},
            "control": HELD_ARM,
            "cohort": first.cohort.model_copy(update={"universal_holdout": None, "layer": None})
            if first.cohort
            else None,
            "traits": (),
            "metrics": tuple(_without_attributes(each) for each in first.metrics),
            "analysis": first.analysis.model_copy(update={"breakdowns": ()}),
            "deliveries": None,
            "exposures": None,
            "value": None,
            "decisions": (),
        }
    )


def _without_attributes(metric: Metric) -> Metric:
    return metric.model_copy(update={"covariates": metric.lookbacks})


def _key(experiment: Experiment) -> str:
    held = experiment.cohort.universal_holdout if experiment.cohort else None
    return held.key if held else "none"
