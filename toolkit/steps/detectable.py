"""What a design found, as values: smallest effects, weeks, curves and what the holdout costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from toolkit.stats.planning import Weeks

__all__ = ["Cost", "Curves", "Design", "Detectable", "Picture"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing that shows itself in a notebook; `svg` is the file."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest effect of `arm` on `metric` that the planned customers can show.

    Attributes:
        treated, held: customers compared.
        base: the mean (share, ratio) without the offer, capped where the metric is; None where not known.
        effect: smallest absolute effect found in 8 of 10 such experiments; None where not known.
        method: whether `effect` is the `formula`'s or the `simulation`'s.
        formula, simulated: both, where there are both.
        explained: share of the variance that the covariates explain.
        cap: the value that the metric is capped at, and None where it is not.
        weeks: (relative effect, weeks that it takes) for each effect asked for.
        doubt: why the interval will not be trusted at this size, None where it will.
        why: why there is no effect, or why the simulation's is shown.
    """

    metric: str
    kind: str
    role: str
    arm: str
    treated: int
    held: int
    base: float | None = None
    effect: float | None = None
    method: str | None = None
    formula: float | None = None
    simulated: float | None = None
    explained: float = 0.0
    cap: float | None = None
    weeks: tuple[tuple[float, Weeks], ...] = ()
    doubt: str | None = None
    why: str | None = None

    @property
    def relative(self) -> float | None:
        """Return the effect as a fraction of the base."""
        return self.effect / self.base if self.effect is not None and self.base else None


@dataclass(frozen=True, slots=True)
class Curves:
    """Smallest relative effects of one metric and arm: against the share held out, and against weeks of enrolment."""

    metric: str
    arm: str
    by_share: tuple[tuple[float, float], ...]
    by_week: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """What holding customers out forgoes, if the lift assumed is true.

    Attributes:
        revenue, profit: per week; profit is margin on the revenue less the offer's cost, and may be below zero.
        text: the same as a sentence, with what it rests on.
    """

    currency: str
    lift: float
    revenue: float
    profit: float
    text: str


@dataclass(frozen=True, slots=True)
class Design:
    """What an experiment can find.

    Attributes:
        basis: `history` or `control`: whose numbers these are; `source` says it in words.
        customers: customers of all arms, planned or assigned.
        pace: customers who enrol per week; None where not known, or all at once.
        weeks: of enrolment planned; None where all enrol at once, or nothing tells the pace.
        looks: planned looks; `inflation`: how many times the customers of one look they need.
        rows: per metric and arm.
        curves: per metric and arm of which an effect is known.
        cost: None where the file says nothing of value or no lift is assumed.
    """

    experiment: str
    title: str
    basis: str
    source: str
    arms: Mapping[str, float]
    control: str
    customers: int
    pace: float | None
    weeks: float | None
    alpha: float
    power: float
    looks: int
    inflation: float
    rows: tuple[Detectable, ...]
    curves: tuple[Curves, ...]
    cost: Cost | None
    notes: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return all of it as JSON-ready values."""
        found = {"schema": 1} | asdict(self)
        for row, each in zip(found["rows"], self.rows, strict=True):
            row["relative"] = each.relative
            row["weeks"] = [{"lift": lift} | asdict(weeks) for lift, weeks in each.weeks]
        return found

    def picture(self) -> Picture:
        """Return the smallest effects against the share held out and weeks, as a picture for a page or a file."""
        from toolkit.readout.power import PowerSeries, power_picture

        several = len({each.arm for each in self.rows}) > 1
        planned = {(each.metric, each.arm): each.relative for each in self.rows}
        series = [
            PowerSeries(
                f"{each.metric}, {each.arm}" if several else each.metric,
                each.by_share,
                each.by_week,
                planned[each.metric, each.arm],
            )
            for each in self.curves
        ]
        share = self.arms[self.control]
        return Picture(
            power_picture(
                self.title,
                series,
                share=share,
                weeks=self.weeks,
                customers=self.customers,
                power=self.power,
                alpha=self.alpha,
            )
        )
