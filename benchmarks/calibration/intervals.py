"""Do intervals hold the truth as often as they say, and miss evenly? The toolkit's own functions on many worlds.

Moments, regressions, skewness and the reasons for distrust are the toolkit's, run by run. Only the ends of the
intervals are computed for all runs at once (`ends`); a test holds them equal to the toolkit's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from benchmarks.calibration.worlds import Array, History, World, cap_of, histories, purchases
from toolkit.stats.adjust import ArmRegression, fit, outcome_of, usable
from toolkit.stats.estimate import Group
from toolkit.stats.moments import Moments
from toolkit.stats.skew import FEWEST_ABOVE, cap_for, distrust, skewness

Flags = NDArray[np.bool_]

__all__ = [
    "ALPHA",
    "KINDS",
    "SHOWN",
    "Result",
    "Run",
    "Way",
    "alike",
    "coverage",
    "ends",
    "far_out",
    "judged",
    "p_values",
    "shares",
    "shown",
]

ALPHA = 0.05
KINDS = ("conversion", "mean", "mean, adjusted", "mean, capped", "mean, capped and adjusted", "ratio")
SHOWN = {
    "conversion, as shown": ("conversion",),
    "mean, as shown": ("mean",),
    "mean, adjusted, as shown": ("mean, adjusted", "mean"),
}
"""What decides in the end: of these kinds in turn, as measured and then corrected, the first to be trusted."""


@dataclass(frozen=True, slots=True)
class Way:
    """How an interval is made: skew-corrected or not, from t or the normal, of numbers bounded or not."""

    skew_corrected: bool = False
    normal: bool = False
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One run's two groups and what was true of them."""

    treated: Group
    control: Group
    converters: Sequence[int]
    truth: float
    ratio: float = 0.0
    bounded: bool | None = None
    covariates: Sequence[tuple[Group, Group]] = ()
    unadjusted: tuple[Group, Group] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of the runs: how many were trusted, and of those how many missed.

    `high` counts intervals that lie above the truth (with no effect: a false win), `low` those below it;
    `relative` counts misses of the relative interval.
    """

    runs: int
    trusted: int
    high: int
    low: int
    relative: int = 0

    @property
    def share(self) -> float:
        """Return the share of runs that were trusted."""
        return self.trusted / self.runs

    @property
    def held(self) -> float:
        """Return how often a trusted interval held the truth."""
        return 1 - (self.high + self.low) / self.trusted

    @property
    def sides(self) -> tuple[float, float]:
        """Return how often a trusted interval lay above and below the truth."""
        return self.high / self.trusted, self.low / self.trusted


def ends(way: Way, runs: Sequence[Run], alpha: float) -> tuple[Array, Array, Array]:
    """Return low and high ends, shape (runs,), and T's limits (runs, 2): as `difference` and `corrected` do."""
    value, se, df, bend = _statistics(way, runs)
    reach = np.full(len(runs), -ndtri(alpha / 2)) if way.normal else -stdtrit(df, alpha / 2)
    limits = np.column_stack([-reach, reach])
    if way.skew_corrected:
        even = np.abs(bend) < 1e-9
        bent = np.where(even, 1.0, bend)[:, None]
        straight = 3 / bent * (np.cbrt(1 + bent * (limits - bent / 6)) - 1)
        limits = np.where(even[:, None], limits, straight)
    return value - limits[:, 1] * se, value - limits[:, 0] * se, limits


def p_values(way: Way, runs: Sequence[Run]) -> Array:
    """Return two-sided p-values of no difference, shape (runs,), as `difference` and `corrected` do."""
    value, se, df, bend = _statistics(way, runs)
    t = value / se
    if way.skew_corrected:
        t = t + bend / 6 + bend * t**2 / 3 + bend**2 * t**3 / 27
    return np.asarray(2 * stdtr(df, -np.abs(t)))


def judged(way: Way, runs: Sequence[Run], alpha: float = ALPHA, *, always: bool = False) -> Result:
    """Return what came of `runs`; with `always`, whether trusted or not."""
    trusted = np.array([always or _reason(way, run) is None for run in runs])
    return _result(trusted, *_missed(way, runs, alpha))


def shown(ways: Sequence[tuple[Way, Sequence[Run]]], alpha: float = ALPHA) -> Result:
    """Return what came of runs of which the first trusted of several intervals is shown."""
    count = len(ways[0][1])
    trusted = np.zeros(count, dtype=bool)
    missed = [np.zeros(count, dtype=bool) for _ in range(3)]
    for way, runs in ways:
        first = ~trusted & np.array([_reason(way, run) is None for run in runs])
        for into, each in zip(missed, _missed(way, runs, alpha), strict=True):
            into[first] = each[first]
        trusted |= first
    return _result(trusted, *missed)


def shares(control: int, treated: int, buyers: float, more: float, runs: int, seed: int) -> Result:
    """Return what came of the shown intervals of a conversion rate; the treatment multiplies it by `more`."""
    rng = np.random.default_rng(seed)
    counts = rng.binomial([treated, control], [buyers * more, buyers], (runs, 2))
    found = [
        Run(_share(treated, one), _share(control, other), (one, other), buyers * (more - 1), more - 1)
        for one, other in counts.tolist()
    ]
    return shown([(Way(bounded=True), found), (Way(skew_corrected=True, bounded=True), found)])


def _share(n: int, count: int) -> Group:
    p = count / n
    return Group(n, p, p * (1 - p) / (n - 1), p * (1 - p) * (1 - 2 * p) / n**2)


def _missed(way: Way, runs: Sequence[Run], alpha: float) -> tuple[Flags, Flags, Flags]:
    """Return which intervals lie above the truth, which below it, and which relative ones miss it."""
    low, high, limits = ends(way, runs, alpha)
    truth = np.array([run.truth for run in runs])
    m1, v1, m0, v0 = np.array(
        [(r.treated.mean, r.treated.variance, r.control.mean, r.control.variance) for r in runs]
    ).T
    theta = 1 + np.array([run.ratio for run in runs])
    with np.errstate(invalid="ignore"):  # of runs in which nobody buys nothing is shown
        t = (m1 - theta * m0) / np.sqrt(v1 + theta**2 * v0)
    return low > truth, high < truth, (t < limits[:, 0]) | (t > limits[:, 1])


def _result(trusted: Flags, high: Flags, low: Flags, relative: Flags) -> Result:
    return Result(
        len(trusted), int(trusted.sum()), *(int((trusted & each).sum()) for each in (high, low, relative))
    )


def coverage(world: World, runs: int, seed: int, quantiles: Mapping[str, float]) -> dict[str, Result]:
    """Return results of one world: raw (Welch), and corrected at each of `quantiles`.

    Keys are `raw`, `raw, as shown`, `raw, untrusted too`, and for each quantile its name and `<name>, Welch, untrusted too`.
    """
    raw: list[Run] = []
    capped: dict[str, list[Run]] = {name: [] for name in quantiles}
    nothing = float(world.truth()), float(world.ratio())
    for chunk in purchases(world, runs, seed):
        sums = chunk.sums()
        raw += [Run(*sums.groups(at), sums.converters(at), *nothing) for at in range(sums.runs)]
        for name, quantile in quantiles.items():
            sums = chunk.sums(quantile)
            truths, ratios = world.truth(sums.cap), world.ratio(sums.cap)
            capped[name] += [
                Run(
                    *sums.groups(at),
                    sums.converters(at),
                    float(truths[at]),
                    float(ratios[at]),
                    bool(sums.above[at] >= FEWEST_ABOVE),
                )
                for at in range(sums.runs)
            ]
    plain = Way()
    results = {
        "raw": judged(plain, raw),
        "raw, as shown": shown([(plain, raw), (Way(skew_corrected=True), raw)]),
        "raw, untrusted too": judged(plain, raw, always=True),
    }
    for name, each in capped.items():
        results[name] = judged(Way(skew_corrected=True), each)
        results[f"{name}, Welch, untrusted too"] = judged(plain, each, always=True)
    return results


def alike(world: World, runs: int, seed: int) -> dict[str, Result]:
    """Return results of every kind of metric in a world without effect, capped as `cap_for` says."""
    found: dict[str, list[Run]] = {kind: [] for kind in KINDS}
    quantile = cap_for(world.control, [world.treated])
    for control, treated in histories(world, runs, seed):
        for kind, run in _kinds(control, treated, quantile):
            found[kind].append(run)
    ways = {
        "conversion": Way(bounded=True),
        "mean": Way(),
        "mean, adjusted": Way(normal=True),
        "mean, capped": Way(skew_corrected=True),
        "mean, capped and adjusted": Way(skew_corrected=True),
        "ratio": Way(),
    }
    results = {kind: judged(ways[kind], each) for kind, each in found.items()}
    for name, kinds in SHOWN.items():
        turns = [(ways[kind], found[kind]) for kind in kinds]
        mended = [(replace(way, skew_corrected=True), each) for way, each in turns]
        results[name] = shown([each for both in zip(turns, mended, strict=True) for each in both])
    return results


def far_out(
    world: World, runs: int, seed: int, quantile: float, levels: Sequence[float]
) -> dict[float, tuple[float, ...]]:
    """Return how many times too often a side was called, per level: capped, no effect, trusted or not.

    Each tuple has Welch's rate of increases, of decreases, then the corrected one's, over half the level.
    """
    found: list[Run] = []
    for chunk in purchases(world, runs, seed):
        sums = chunk.sums(quantile)
        found += [Run(*sums.groups(at), sums.converters(at), 0.0) for at in range(sums.runs)]
    signs = np.sign([run.treated.mean - run.control.mean for run in found])
    values = [p_values(Way(skew_corrected=corrected), found) for corrected in (False, True)]
    return {
        level: tuple(
            float(np.mean((p < level) & (signs == sign)) / (level / 2)) for p in values for sign in (1, -1)
        )
        for level in levels
    }


def _reason(way: Way, run: Run) -> str | None:
    bounded = way.bounded if run.bounded is None else run.bounded
    return distrust(
        run.treated,
        run.control,
        run.converters,
        skew_corrected=way.skew_corrected,
        bounded=bounded,
        covariates=run.covariates,
        unadjusted=run.unadjusted,
    )


def _statistics(way: Way, runs: Sequence[Run]) -> tuple[Array, Array, Array, Array]:
    """Return values, standard errors, Welch's degrees of freedom and (where it matters) net skewness."""
    v = np.array([(run.treated.variance, run.control.variance) for run in runs])
    n = np.array([(run.treated.n, run.control.n) for run in runs])
    value = np.array([run.treated.mean - run.control.mean for run in runs])
    total = v.sum(axis=1)
    df = total**2 / (v**2 / (n - 1)).sum(axis=1)
    bend = (
        np.array([skewness(run.treated, run.control).net for run in runs])
        if way.skew_corrected
        else np.zeros(len(runs))
    )
    return value, np.sqrt(total), df, bend


def _kinds(control: History, treated: History, quantile: float) -> Iterator[tuple[str, Run]]:
    """Yield the run of every kind of metric, from one run's rows."""
    arms = (treated, control)
    # columns: those of a history, then revenue capped, and revenue before capped at its own quantile
    caps = [_pooled_cap(arms, place, quantile) for place in (1, 3)]
    bounded = sum(int((arm.rows[:, 1] > caps[0]).sum()) for arm in arms) >= FEWEST_ABOVE
    rows = [np.column_stack([arm.rows, np.minimum(arm.rows[:, [1, 3]], caps)]) for arm in arms]
    moments = [Moments.of(each).with_silent(arm.customers) for each, arm in zip(rows, arms, strict=True)]
    converters = [int(each[:, 0].sum()) for each in rows]

    def run(
        groups: Sequence[Group],
        *,
        capped: bool | None = None,
        covariate: int | None = None,
        unadjusted: tuple[Group, Group] | None = None,
    ) -> Run:
        by = [] if covariate is None else [plain(covariate)]
        return Run(*groups, converters, 0.0, bounded=capped, covariates=by, unadjusted=unadjusted)

    def plain(place: int) -> tuple[Group, Group]:
        return _mean(moments[0], place), _mean(moments[1], place)

    def regressed(places: list[int], terms: int, covariates: list[int]) -> list[Group]:
        return _regressed(rows, moments, places, terms, covariates)

    mean, capped = plain(1), plain(4)
    yield "conversion", run(plain(0))
    yield "mean", run(mean)
    yield "mean, adjusted", run(regressed([1, 3], 1, [1]), covariate=3, unadjusted=mean)
    yield "mean, capped", run(capped, capped=bounded)
    adjusted = regressed([4, 5], 1, [1])
    yield "mean, capped and adjusted", run(adjusted, capped=bounded, covariate=5, unadjusted=capped)
    yield "ratio", run(regressed([1, 2], 2, []))


def _pooled_cap(arms: Sequence[History], place: int, quantile: float) -> float:
    ordered = np.sort(np.concatenate([arm.rows[:, place] for arm in arms]))
    return float(cap_of(ordered[None], sum(arm.customers for arm in arms), quantile)[0])


def _mean(moments: Moments, place: int) -> Group:
    n = moments.n
    return Group(
        n,
        float(moments.mean[place]),
        float(moments.products[place, place]) / (n - 1) / n,
        float(moments.cubes[place]) / n**3,
    )


def _regressed(
    rows: list[Array], moments: list[Moments], places: list[int], terms: int, covariates: list[int]
) -> list[Group]:
    """Return both arms' groups as their regressions give them, residuals summed over every row."""
    chosen = [
        Moments(each.n, each.mean[places], each.products[np.ix_(places, places)], each.cubes[places])
        for each in moments
    ]
    pooled = chosen[0] + chosen[1]
    kept = usable(pooled, covariates)
    groups = []
    for part, each in zip(rows, chosen, strict=True):
        regression = _regression(each, terms, kept, pooled)
        active = part[:, places]
        silent = each.n - len(active)
        sums = zip(
            regression.residual_sums(active),
            regression.residual_sums(np.zeros((1, len(places)))),
            strict=True,
        )
        groups.append(regression.group(*(some + silent * one for some, one in sums)))
    return groups


def _regression(moments: Moments, terms: int, kept: list[int], pooled: Moments) -> ArmRegression:
    outcome = outcome_of(moments, terms)
    if outcome is None:
        raise ValueError("a world in which nobody buys says nothing of a ratio")
    if not kept:  # the outcome's linear form, without a regression
        none: NDArray[np.float64] = np.zeros(0)
        return ArmRegression(
            moments.n, outcome.value, moments.mean, outcome.weights, [], none, np.zeros((0, 0)), none
        )
    found = fit(moments, outcome, kept, pooled.mean[kept])
    if found is None:
        raise ValueError("an arm without earlier buyers cannot be adjusted")
    return found
