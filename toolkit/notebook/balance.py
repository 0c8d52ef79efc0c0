"""Were the arms alike before? A picture of covariates' differences, which no outcome is in."""

from __future__ import annotations

from toolkit.notebook.panel import Grid, Panel
from toolkit.notebook.picture import standalone
from toolkit.readout import words
from toolkit.readout.charts import Row, intervals
from toolkit.readout.figures import Unit
from toolkit.stats.standardised import Difference, standardised_differences
from toolkit.steps.measure import Found

__all__ = ["balance"]

SPREADS = Unit()


def balance(found: Found, control: str) -> Panel:
    """Return how far the arms' covariates lie apart, in standard deviations, and what the check says of it."""
    said = next(each for each in found.checks if each.name == "balance")
    differences = standardised_differences(found.readings, control)
    if not differences:
        return Panel(
            words.check_question("balance"),
            "No covariate is known that arms could differ in.",
            notes=(said.detail,),
        )
    rows = [
        Row(
            words.capital(words.metric_name(each.covariate)),
            words.arm_name(each.arm),
            each.value,
            each.low,
            each.high,
            SPREADS.change(each.value, 3),
            SPREADS.interval(each.low, each.high, 3),
        )
        for each in differences
    ]
    drawn = intervals(
        "balance",
        "Covariates before assignment, in standard deviations",
        rows,
        SPREADS,
        against=words.arm_name(control),
    )
    outside = sum(_apart(each) for each in differences)
    told = (
        f"{outside} of {words.plural(len(differences), 'difference')} leave out zero; by chance 1 in 20 does. "
        f"The check over all of them: {words.CHECK_STATUS[said.status]}."
    )
    grid = Grid(
        "Differences before assignment, in standard deviations",
        ("covariate", "arm", "difference", "interval"),
        tuple((each.label, each.detail, each.said, each.interval) for each in rows),
        right=(2, 3),
    )
    status = {"pass": "good", "warn": "warn", "fail": "bad"}.get(said.status, "")
    return Panel(
        words.check_question("balance"),
        told,
        (grid,),
        (standalone(drawn, "balance"),),
        (said.detail,),
        status,
    )


def _apart(difference: Difference) -> bool:
    return difference.low > 0 or difference.high < 0
