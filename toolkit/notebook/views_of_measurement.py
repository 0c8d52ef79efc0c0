"""What a measurement looks like in a notebook: checks first, and no lift where one of them failed."""

from __future__ import annotations

from toolkit.notebook.panel import Grid, Panel
from toolkit.notebook.picture import standalone
from toolkit.readout import words
from toolkit.readout.bars import sizes
from toolkit.readout.figures import DASH, Unit, count, percent
from toolkit.stats.results import Check, Lift, Measurement

__all__ = ["of_checks", "of_measurement"]

WORST = {"pass": "good", "warn": "warn", "fail": "bad", "skip": ""}


def of_checks(checks: tuple[Check, ...]) -> Panel:
    """Return checks with their answers, and what to do where one did not pass."""
    order = ("fail", "warn", "pass", "skip")
    rows = tuple(
        (
            words.check_question(each.name),
            words.CHECK_STATUS[each.status],
            each.detail,
            words.check_mend(each.name) if each.status in {"fail", "warn"} else "",
        )
        for each in sorted(checks, key=lambda each: order.index(each.status))
    )
    failed = [each for each in checks if each.status == "fail"]
    said = (
        words.withheld(len(failed))
        if failed
        else words.capital(words.tally(each.status for each in checks)) + "."
    )
    worst = next((status for status in order if any(each.status == status for each in checks)), "skip")
    return Panel(
        "Can the numbers be believed?",
        said,
        (Grid("Checks", ("question", "answer", "what was found", "what to do"), rows),),
        status=WORST[worst],
    )


def of_measurement(found: Measurement) -> Panel:
    """Return a measurement: verdict, arms, and the lift of every metric; none where a check failed.

    Lifts are differences in the metric's own unit: what money and percent are is the readout's to say.
    """
    total = sum(found.customers.values()) or 1
    arms = standalone(
        sizes(
            "arms",
            "Customers per arm",
            [
                (
                    arm,
                    n / total,
                    found.shares[arm],
                    f"{count(n)} customers, {percent(n / total)} (planned {percent(found.shares[arm])})",
                )
                for arm, n in found.customers.items()
            ],
        ),
        "arms",
    )
    checks = of_checks(found.checks)
    lifts: tuple[Grid, ...] = ()
    if not found.failed:
        lifts = (
            Grid(
                "Lifts",
                ("metric", "arm", "difference", "low", "high", "by"),
                tuple(_lift(each) for each in found.lifts if each.breakdown is None),
                right=(2, 3, 4),
            ),
        )
    return Panel(
        f"{found.experiment}, as of {found.as_of}",
        found.verdict.text,
        (*lifts, *checks.grids),
        (arms,),
        found.notes,
        "bad" if found.failed else "good" if found.verdict.status == "incremental" else "",
    )


def _lift(lift: Lift) -> tuple[str, ...]:
    block = lift.decided
    if block is None or not lift.trusted:
        why = "; ".join(lift.notes) or words.NO_NUMBER
        return lift.metric, lift.arm, DASH, DASH, DASH, f"{words.NOT_TRUSTED}: {why}"
    unit = Unit("points") if lift.kind == "conversion" else Unit()
    at = block.absolute
    digits = unit.decimals(at.low, at.high, at.value)
    said = (unit.change(each, digits) for each in (at.value, at.low, at.high))
    return lift.metric, lift.arm, *said, words.ESTIMATES[lift.decision]
