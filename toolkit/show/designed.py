"""What an experiment can find, in plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolkit.show.table import table_text

if TYPE_CHECKING:
    from toolkit.stats.planning import Weeks
    from toolkit.steps.detectable import Design

__all__ = ["design_text"]


def design_text(found: Design) -> str:
    """Return what an experiment can find, what it takes, and what to know before it starts."""
    rows, weeks, doubts = [], [], []
    for each in found.rows:
        rows.append(
            [
                each.metric + (f" (capped at {each.cap:,.6g})" if each.cap is not None else ""),
                each.arm,
                f"{each.treated:,}",
                f"{each.held:,}",
                _planned(each.kind, each.base, "%"),
                _planned(each.kind, each.effect, " pp") or "none",
                "" if each.relative is None else f"{each.relative:.1%}",
                f"{each.method or ''}" + (f", R² {each.explained:.0%}" if each.explained else ""),
            ]
        )
        if each.weeks:
            weeks.append([each.metric, each.arm, *(_weeks(how) for _, how in each.weeks)])
        name = f"{each.metric}, {each.arm}"
        if each.why:
            formula = _planned(each.kind, each.formula, " pp") if each.simulated is not None else ""
            doubts.append(f"{name}: {each.why}" + (f" (it says {formula})" if formula else ""))
        if each.doubt:
            doubts.append(f"{name}: will not be trusted: {each.doubt}")
    header = ["metric", "arm", "treated", "held out", "base", "smallest effect", "relative", "by"]
    looks = (
        f", {found.looks} weekly looks (×{found.inflation:.3f} customers)"
        if found.looks > 1
        else ", one look"
    )
    lines = [
        f"{found.title} ({found.experiment}), from {found.source}",
        table_text(header, rows, right=[2, 3, 4, 5, 6]),
        f"An effect of that size is found in {found.power * 10:.0f} of 10 such experiments: two-sided test, alpha "
        f"{found.alpha:g}{looks}.",
    ]
    if weeks:
        lifts = [f"customers for {lift:+.4g}%" for lift in (100 * lift for lift, _ in _longest(found))]
        lines += [
            "",
            table_text(["metric", "arm", *lifts], [[*row, "", ""][: 2 + len(lifts)] for row in weeks]),
        ]
        lines.append(_enrolment(found))
    if found.cost:
        lines += ["", found.cost.text]
    return "\n".join([*lines, *([""] if doubts else []), *doubts, *(f"note: {each}" for each in found.notes)])


def _enrolment(found: Design) -> str:
    if found.pace:
        how = "" if found.basis == "history" else "more "
        return f"Weeks of {how}enrolment at {found.pace:,.0f} customers a week, until the last one's window has closed."
    return "Weeks are until the window of those who are there has closed."


def _longest(found: Design) -> Sequence[tuple[float, Weeks]]:
    return max((each.weeks for each in found.rows), key=len)


def _weeks(how: Weeks) -> str:
    if how.customers is None:
        return how.text
    if how.total is None:
        return f"{how.customers:,}: more than there are"
    return f"{how.customers:,}: {how.total:,} week{'' if how.total == 1 else 's'}"


def _planned(kind: str, value: float | None, unit: str) -> str:
    if value is None:
        return ""
    shown = value * 100 if kind == "conversion" else value
    decimals = 2 if abs(shown) >= 0.1 else 4
    return f"{shown:,.{decimals}f}{unit if kind == 'conversion' else ''}"
