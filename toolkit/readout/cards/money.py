"""The card on money: what the offer brought, what it cost, what came back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.readout import words
from toolkit.readout.charts import Row, intervals
from toolkit.readout.figures import DASH, Unit, count, total
from toolkit.readout.parts import Card, Column, Figure, Line, Table
from toolkit.readout.story import brought, paid

if TYPE_CHECKING:
    from toolkit.readout.readout import Readout

__all__ = ["worth"]

TOTALS = (("total_revenue", "Incremental revenue"), ("total_profit", "Incremental profit"))
VERDICTS = {
    "pays": "the offer paid for itself",
    "loses": "the offer cost more than it brought",
    "open": "whether the offer pays for itself is not settled",
}


def worth(readout: Readout) -> Card | None:
    """Return incremental orders, revenue and profit, and the return on the offer; none where a check failed."""
    found = [] if readout.failed else readout.record.get("worth") or []
    if not found:
        return None
    told = [each for each in found if paid(each)]
    notes = dict.fromkeys(
        words.sentence(f"{words.arm_name(each['arm'])}: {readout.prose(_reason(note))}")
        for each in found
        for note in each["notes"]
    )
    doubted = () if len(told) == len(found) else (words.uncapped(finished=readout.finished),)
    if not told:
        yet = "" if readout.finished else " yet"
        insight = f"Money cannot be told{yet}. {words.NO_SUM}"
        return Card("worth", "What did it bring?", insight, notes=(*notes, *doubted))
    unit = Unit("money", told[0]["currency"])
    many = len(found) > 1
    rows = [_row(each, name, said, unit, readout, many=many) for each in told for name, said in TOTALS]
    chart = intervals(
        "worth",
        f"Incremental revenue and profit, {readout.level} intervals",
        rows,
        unit,
        against=words.arm_name(readout.design["control"]),
    )
    columns = (
        Column("Arm"),
        *(
            Column(said, numeric=True)
            for said in ("Orders", "Revenue", "Cost of the offer", "Profit", "Return per 1 spent")
        ),
    )
    table = Table("Money, for all treated customers", columns, tuple(_line(each, unit) for each in found))
    each_customer = Table(
        "Money, per treated customer",
        (
            Column("Arm"),
            *(Column(said, numeric=True) for said in ("Orders", "Revenue", "Cost of the offer", "Profit")),
        ),
        tuple(_per_customer(each, unit) for each in told),
    )
    return Card(
        "worth",
        "What did it bring?",
        words.sentence("; ".join(_insight(each, unit) for each in told)),
        (Figure("For all treated customers together", chart, table),),
        folded=each_customer,
        notes=(
            f"Profit is the margin on incremental revenue, less what the offer cost. {words.NO_SUM}",
            *doubted,
        ),
        remarks=tuple(notes),
    )


def _reason(note: str) -> str:
    """Return why revenue is not to be trusted, without the advice to cap it: money cannot be."""
    return note.partition("; cap it")[0]


def _row(each: Mapping[str, Any], name: str, said: str, unit: Unit, readout: Readout, *, many: bool) -> Row:
    money = each[name]
    value, interval = total(money, unit)
    low, high = money["low"], money["high"]
    side = 0 if low is None or high is None else 1 if low > 0 else -1 if high < 0 else 0
    arm = words.arm_name(each["arm"])
    shape = "primary" if name == "total_profit" else "secondary"
    return Row(
        said,
        arm if many else "",
        money["value"],
        low,
        high,
        value,
        interval,
        shape,
        side,
        None,
        readout.provisional,
    )


def _line(each: Mapping[str, Any], unit: Unit) -> Line:
    arm = (words.arm_name(each["arm"]), f"{count(each['customers'])} customers")
    cost = unit.size(each["total_cost"], 0)
    if not paid(each):
        return Line.of(arm, words.NOT_TRUSTED, DASH, cost, DASH, DASH, kind="doubt")
    orders = total(each["total_orders"], Unit())
    return Line.of(
        arm,
        orders,
        total(each["total_revenue"], unit),
        cost,
        total(each["total_profit"], unit),
        _returned(each),
    )


def _returned(each: Mapping[str, Any]) -> str | tuple[str, str]:
    money = each["returned"]
    return total(money, Unit()) if money else DASH


def _per_customer(each: Mapping[str, Any], unit: Unit) -> Line:
    cost = unit.size(each["cost"], 2)
    shown = [total(each[name], of) for name, of in (("orders", Unit()), ("revenue", unit), ("profit", unit))]
    return Line.of(words.arm_name(each["arm"]), shown[0], shown[1], cost, shown[2])


def _insight(each: Mapping[str, Any], unit: Unit) -> str:
    profit, interval = total(each["total_profit"], unit)
    cost = unit.size(each["total_cost"], 0)
    verdict = str(paid(each))
    return f"{words.arm_name(each['arm'])} {brought(verdict, profit, interval)} after {cost} spent on the offer: {VERDICTS[verdict]}"
