"""Several questions asked of one experiment: adjusted p-values, and intervals that agree with them.

An interval at level 1 − `alpha` excludes zero exactly where the p-value is below that `alpha`. So each member
of a family gets, beside its adjusted p-value, the `alpha` at which its interval is to be computed, chosen so
that the interval excludes zero if and only if the adjusted p-value is below the family's level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Adjusted", "benjamini_hochberg", "holm"]


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What a family makes of one of its members.

    Attributes:
        p_value: adjusted; None for what has no p-value and so is no member of the family.
        alpha: the interval is to be computed at level 1 − alpha; None likewise.
        rejected: the adjusted p-value is below the family's level.
    """

    p_value: float | None
    alpha: float | None
    rejected: bool


def holm(p_values: Sequence[float | None], alpha: float) -> list[Adjusted]:
    """Return Holm's step-down adjustment (Holm 1979) in the order given.

    The chance of any false rejection is at most `alpha`, however the tests depend on each other. Of m members
    the i-th smallest p-value is held against alpha / (m − i + 1) until one is not below it. A rejected member's
    interval uses the bound of its own step (equal p-values share the stricter one), all others use the bound of
    the step that stopped. No interval is wider than Bonferroni's. The guarantee is about rejections: each
    interval covers with at least 1 − alpha, but not all of them at once (of five large independent effects, at
    alpha 5 %, some interval misses in 14 % of families). Who needs that takes alpha / m for every interval, and
    loses the agreement.

    Raises:
        ValueError: a p-value is not within 0 to 1, or `alpha` not between 0 and 1.
    """
    order = _ordered(p_values, alpha)
    found = [Adjusted(None, None, rejected=False)] * len(p_values)
    bound, running, before, stopped = 0.0, 0.0, -1.0, False
    for step, (p_value, place) in enumerate(order):
        left = len(order) - step
        running = min(1.0, max(running, left * p_value))
        if not stopped and p_value != before:
            bound = alpha / left
        stopped = stopped or p_value >= bound
        found[place] = _agreeing(running, bound, alpha, rejected=not stopped)
        before = p_value
    return found


def benjamini_hochberg(p_values: Sequence[float | None], level: float) -> list[Adjusted]:
    """Return Benjamini and Hochberg's step-up adjustment (Benjamini & Hochberg 1995) in the order given.

    Of what is rejected, at most the share `level` is expected to be false, for independent or positively
    dependent tests. With R of m rejected, their intervals are at level 1 − R · level / m, so that among the
    selected at most `level` are expected not to cover (Benjamini & Yekutieli 2005, false coverage rate). What is
    not rejected has no such promise: its interval is at 1 − (R + 1) · level / m, the level that it would
    have had as the next one selected, at which it includes zero.

    Raises:
        ValueError: a p-value is not within 0 to 1, or `level` not between 0 and 1.
    """
    order = _ordered(p_values, level)
    m = len(order)
    rejected = max((i for i, (p_value, _) in enumerate(order, 1) if p_value < i * level / m), default=0)
    found = [Adjusted(None, None, rejected=False)] * len(p_values)
    running = 1.0
    for i in range(m, 0, -1):
        p_value, place = order[i - 1]
        running = min(running, p_value * m / i)
        bound = min(rejected + (i > rejected), m) * level / m
        found[place] = _agreeing(running, bound, level, rejected=i <= rejected)
    return found


def _ordered(p_values: Sequence[float | None], level: float) -> list[tuple[float, int]]:
    """Return (p-value, place) of the family's members, smallest first."""
    if not 0 < level < 1:
        raise ValueError(f"{level} is no level; it must lie between 0 and 1")
    members = [(p_value, place) for place, p_value in enumerate(p_values) if p_value is not None]
    for p_value, _ in members:
        if not 0 <= p_value <= 1:
            raise ValueError(f"{p_value} is no p-value; give None for what was not tested")
    return sorted(members)


def _agreeing(p_value: float, bound: float, level: float, *, rejected: bool) -> Adjusted:
    """Return the result, with a p-value that rounding cannot put on the wrong side of the level."""
    p_value = min(p_value, math.nextafter(level, 0)) if rejected else max(p_value, level)
    return Adjusted(p_value, bound, rejected)
