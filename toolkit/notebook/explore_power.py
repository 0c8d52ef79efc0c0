"""Choosing the split: sliders over the share held out, the number of customers and the lift that is hoped for."""

from __future__ import annotations

from itertools import product

from toolkit.design.experiment import Value
from toolkit.errors import NotEnoughData
from toolkit.notebook.chart import HEIGHT_TOKEN, PLACE_TOKEN, across, curves, up
from toolkit.notebook.explorer import Answer, Explorer, Slider
from toolkit.readout import words
from toolkit.readout.figures import DASH, Unit, count, percent
from toolkit.stats.trade_offs import Planned, chance_at, smallest_at
from toolkit.steps.detectable import Design, Detectable

__all__ = ["explore_power", "planned_of"]

SHARES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50)
TIMES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
LIFTS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50)
STEEPEST = 2.0
"""The axis ends at so many times the largest effect at the plan."""
SHARE, SIZE, LIFT = 0, 1, 2


def explore_power(found: Design, value: Value | None = None) -> Explorer:
    """Return sliders over a design: what another share held out, size or lift would mean.

    With the experiment's `value` and a design for a lift (`design(…, lift=0.1)`), what holding out forgoes in money.

    Raises:
        NotEnoughData: no metric's effect is known.
    """
    rows = [each for each in found.rows if planned_of(found, each)]
    if not rows:
        raise NotEnoughData(f"{found.experiment}: no metric's smallest effect is known: {found.rows[0].why}")
    share_planned = found.arms[found.control]
    shares = sorted({*SHARES, share_planned})
    lifts = sorted({*LIFTS, *([found.cost.lift] if found.cost and found.cost.lift > 0 else [])})
    sizes = [round(found.customers * times) for times in TIMES]
    lift = found.cost.lift if found.cost and found.cost.lift > 0 else 0.1
    sliders = (
        Slider("held out", tuple(percent(each) for each in shares), shares.index(share_planned)),
        Slider("customers", tuple(_size(found, size) for size in sizes), TIMES.index(1.0)),
        Slider("true lift", tuple(f"+{percent(each)}" for each in lifts), lifts.index(lift)),
    )
    answers, lines = [], []
    for each in rows:
        plan = planned_of(found, each)
        if plan is None:
            continue
        arms = {(share, size): _arms(found, each, share, size) for share, size in product(shares, sizes)}
        smallest = {at: smallest_at(plan, *sides) if sides else None for at, sides in arms.items()}
        chance = [
            chance_at(plan, *sides, relative) if sides else None
            for sides in arms.values()
            for relative in lifts
        ]
        cells = (
            Answer((SHARE, SIZE), tuple(percent(effect) for effect in smallest.values())),
            Answer((SHARE, SIZE, LIFT), tuple(percent(_of(at), 0) for at in chance)),
        )
        answers.append((_name(found, each), cells))
        lines.append(smallest)
    top = STEEPEST * max(each.relative or 0.0 for each in rows)
    names = [_name(found, each) for each in rows]
    pictures = tuple(
        str(
            curves(
                "Smallest effect by share held out",
                names,
                [
                    [
                        (share / max(shares), found_)
                        for share in shares
                        if (found_ := line[share, size]) is not None
                    ]
                    for line in lines
                ],
                [(share / max(shares), percent(share, 0)) for share in (0.1, 0.2, 0.3, 0.4, 0.5)],
                "share of customers held out",
                top,
                upright="share chosen",
                level="true lift",
            )
        )
        for size in sizes
    )
    money = _money(found, value, shares, lifts) if value and found.cost else None
    return Explorer(
        f"{found.title}: choose the split",
        f"The smallest effect is found in {found.power:.0%} of such experiments at alpha {found.alpha:g}. Fewer held "
        f"out cost less and show less.{' Sizes are as the shares plan them, not as they were drawn.' if found.basis == 'control' else ''}",
        sliders,
        ("smallest effect", "chance to find the lift"),
        tuple(answers),
        (money,) if money else (),
        pictures,
        (SIZE,),
        (
            (PLACE_TOKEN, Answer((SHARE,), tuple(f"{across(each / max(shares)):.1f}" for each in shares))),
            (HEIGHT_TOKEN, Answer((LIFT,), tuple(f"{up(each, top):.1f}" for each in lifts))),
        ),
        "Smallest relative effect against the share held out; upright the share chosen, level the lift chosen.",
        "split",
    )


def planned_of(found: Design, row: Detectable) -> Planned | None:
    """Return what trade-offs of a design's row rest on, None where its effect is not known."""
    if row.base is None or row.effect is None or row.formula is None or not row.base:
        return None
    return Planned(
        row.kind, row.base, row.effect, row.formula, row.treated, row.held, row.explained, found.inflation,
        found.alpha, found.power,
    )  # fmt: skip


def _arms(found: Design, row: Detectable, share: float, size: float) -> tuple[float, float] | None:
    """Return the customers treated and held out; None where there are too few to compare."""
    treated = size * (1 - share) * found.arms[row.arm] / (1 - found.arms[found.control])
    return (treated, size * share) if min(treated, size * share) >= 2 else None


def _size(found: Design, size: float) -> str:
    said = f"{count(size)} ({size / found.customers:.3g} × {'the plan' if found.basis == 'history' else 'those so far'})"
    if not found.pace or size == found.customers:
        return said
    weeks = abs(size - found.customers) / found.pace
    return f"{said}, {weeks:.0f} weeks {'more' if size > found.customers else 'less'}"


def _name(found: Design, row: Detectable) -> str:
    name = words.metric_name(row.metric)
    return f"{name}, {words.arm_name(row.arm)}" if len(found.arms) > 2 else name


def _of(chance: float | None) -> float | None:
    """Return a chance as it is said: never as certain."""
    return None if chance is None else min(chance, 0.99)


def _money(found: Design, value: Value, shares: list[float], lifts: list[float]) -> Answer:
    """Return what holding out forgoes a week, from what the design said of one share and lift.

    Revenue forgone is in proportion to share and lift. The offer's cost per order falls on orders with the offer,
    base and lift alike, and is saved for those held out.
    """
    cost, unit = found.cost, Unit("money", value.currency)
    if cost is None:
        return Answer((), (DASH,))
    gained = value.margin * cost.revenue / cost.lift
    spent = (value.margin * cost.revenue - cost.profit) / (1 + cost.lift)
    planned = found.arms[found.control]
    said = []
    for share, lift in product(shares, lifts):
        part = share / planned
        revenue, profit = part * cost.revenue * lift / cost.lift, part * (gained * lift - spent * (1 + lift))
        profit_said = f"forgoes {unit.size(profit, 0)}" if profit >= 0 else f"saves {unit.size(-profit, 0)}"
        said.append(
            f"If the lift were {percent(lift)}, holding out {percent(share)} would forgo {unit.size(revenue, 0)} of revenue "
            f"a week; at a margin of {value.margin:.0%} and {unit.size(value.offer_cost, 2)} per order it {profit_said} of profit."
        )
    return Answer((SHARE, LIFT), tuple(said))
