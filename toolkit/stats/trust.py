"""Which interval of a lift decides, and whether it is to be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Metric
from toolkit.stats.adjust import FEWEST_DF, degrees_of_freedom
from toolkit.stats.covariates import covariates_of
from toolkit.stats.estimate import Group
from toolkit.stats.readings import Readings
from toolkit.stats.results import Decision
from toolkit.stats.skew import FEWEST_ABOVE, FEWEST_CONVERTERS, distrust

__all__ = ["Judged", "judge"]


@dataclass(frozen=True, slots=True)
class Judged:
    """Which block decides, whether corrected for skewness, and whether it is to be trusted."""

    block: Decision
    corrected: bool
    trusted: bool
    notes: tuple[str, ...]


def judge(
    experiment: Experiment,
    readings: Readings,
    metric: Metric,
    names: tuple[str, str],
    planned: Decision,
    groups: Mapping[str, tuple[Group, Group]],
    converters: Mapping[str, int],
) -> Judged:
    """Return the block that decides: the planned one, or what of it can be trusted.

    What is asked depends on the numbers' shape over both arms, on covariates and on sizes, hardly on the
    difference: choosing does not select. Where the planned block is not to be trusted as it stands, a share or a
    mean is corrected for skewness; where it is the adjustment that cannot be trusted, the unadjusted one decides.
    Of a metric whose cap cannot be taken yet nothing is to be trusted.
    """
    if metric.name in readings.waiting:
        return Judged(planned, corrected=False, trusted=False, notes=(readings.waiting[metric.name],))
    plain: dict[str, Decision] = {"adjusted": "raw", "capped_adjusted": "capped"}
    first: str | None = None
    for block in (planned, plain.get(planned, planned)):
        if block not in groups:
            continue
        for mend in (False, True):
            if mend and (metric.kind == "ratio" or block.startswith("capped")):
                continue
            why = _distrust(
                experiment, readings, metric, names, block, groups[block], converters,
                mend=mend, unadjusted=groups.get(plain.get(block, "")),
            )  # fmt: skip
            if why is None:
                left = (f"the unadjusted numbers decide: {first}",) if block != planned and first else ()
                return Judged(block, mend, trusted=True, notes=left)
            first = first or why
    return Judged(planned, corrected=False, trusted=False, notes=(first,) if first else ())


def _distrust(
    experiment: Experiment,
    readings: Readings,
    metric: Metric,
    names: tuple[str, str],
    decision: str,
    groups: tuple[Group, Group],
    converters: Mapping[str, int],
    *,
    mend: bool,
    unadjusted: tuple[Group, Group] | None,
) -> str | None:
    """Return why the deciding interval is not to be trusted, None where it is; with `mend`, once corrected."""
    few = {arm: n for arm, n in converters.items() if n < FEWEST_CONVERTERS}
    if few:
        said = " and ".join(f"{n} customer{'' if n == 1 else 's'} in {arm}" for arm, n in few.items())
        return f"rests on {said} who did it; at least {FEWEST_CONVERTERS} are needed to trust it"
    capped = decision.startswith("capped")
    cap = readings.caps.get(metric.name)
    covariates: list[tuple[Group, Group]] = []
    if decision.endswith("adjusted"):
        terms = (f"c_{metric.name}",) if capped else readings.terms[metric.name]
        columns, kept, _ = covariates_of(experiment, readings, metric, terms)
        treated, control = groups
        if degrees_of_freedom(treated.n, control.n, len(kept)) < FEWEST_DF:
            return (
                f"adjusting by {len(kept)} covariate{'' if len(kept) == 1 else 's'} in arms of {treated.n:,} and "
                f"{control.n:,} customers makes the interval too narrow; read the unadjusted one, or name fewer covariates"
            )
        for place in kept:
            both = [readings.mean_of(name, columns[place]) for name in names]
            covariates.append((both[0], both[1]))
    return distrust(
        *groups,
        [converters[name] for name in names],
        skew_corrected=capped or mend,
        bounded=metric.kind == "conversion" or bool(capped and cap and cap.above >= FEWEST_ABOVE),
        covariates=covariates,
        unadjusted=unadjusted,
    )
