"""How the numbers were made, in words: the paragraphs of the method card."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.readout.figures import window as written
from toolkit.readout.words import arm_name, metric_name

__all__ = [
    "adjusted",
    "capped",
    "difference",
    "family",
    "fieller",
    "hall",
    "intention_to_treat",
    "lin",
    "looks",
    "margins",
    "welch",
    "windows",
]


def intention_to_treat(control: str, identity: str) -> str:
    """Return who is counted, and against whom."""
    return (
        f"Intention to treat: every assigned customer counts in the arm they were assigned to (by {identity}), "
        f"whether or not they were sent, opened or saw anything. Each arm is compared with {arm_name(control)}, "
        "whose customers were held out by chance. So a difference is caused by the treatment, not by who they are."
    )


def windows(named: Sequence[tuple[str, str | None]]) -> str:
    """Return over which span each metric counts."""
    groups: dict[str | None, list[str]] = {}
    for metric, window in named:
        groups.setdefault(window, []).append(metric_name(metric))
    parts = [
        f"{', '.join(metrics)}: {f'{written(window)} from each customer’s own assignment' if window else 'from assignment on'}"
        for window, metrics in groups.items()
    ]
    return f"Outcomes count until the end of the readout’s date, within a window: {'; '.join(parts)}."


def difference() -> str:
    """Return what is compared."""
    return "A difference is the arm’s mean minus the control’s. A p-value is two-sided, of no difference."


def welch(level: str, named: Sequence[str]) -> str:
    """Return how differences as measured get their interval; `named` are the comparisons that they decide."""
    return (
        f"As measured ({', '.join(named)}): the {level} interval and the p-value are Welch’s, which let the two arms "
        "vary differently (Student’s t distribution)."
    )


def lin(level: str, named: Sequence[str]) -> str:
    """Return how adjusted differences get their interval; `named` are the comparisons that they decide."""
    return (
        f"Adjusted ({', '.join(named)}): the {level} interval and the p-value are of the normal distribution, with the "
        "standard error of the adjustment."
    )


def hall(level: str, named: Sequence[str]) -> str:
    """Return how skewed numbers get their interval; `named` are the comparisons that they decide."""
    return (
        f"Corrected for skewness ({', '.join(named)}): where most customers count for nothing and a few for much, "
        f"Welch’s interval would miss more often on one side than on the other. The {level} interval and the p-value "
        "come from Welch’s statistic after Hall’s transformation, which takes that away; so the difference is not in "
        "the interval’s middle."
    )


def fieller(level: str, *, skewed: bool) -> str:
    """Return how relative lifts get their interval; `skewed` where some differences are corrected for skewness."""
    also = " (with a quantile for each side where skewness is corrected for)" if skewed else ""
    return (
        f"A relative lift divides that difference by the control’s mean. Its {level} interval is Fieller’s{also}, "
        "which allows for the control’s mean being uncertain too. Where that mean is hardly above zero, an end has no "
        "bound; it is then drawn as an arrow. Where it is not above zero, there is no relative lift."
    )


def adjusted(names: Sequence[str], reductions: Sequence[tuple[str, str]], widened: Sequence[str]) -> str:
    """Return what was adjusted by, what that was worth, and for which comparisons it was worth nothing."""
    gains = "; ".join(f"{metric}: {share}" for metric, share in reductions)
    tail = f" Variance removed: {gains}." if gains else ""
    if widened:
        tail += (
            f" It widened the interval of {'; '.join(widened)}: planned beforehand, it stands all the same."
        )
    return (
        f"Where it says adjusted, chance differences between the arms in {', '.join(names)} (known before "
        "assignment) are taken out by Lin’s regression, fitted in each arm, with HC2 standard errors. "
        f"It favours no arm.{tail}"
    )


def capped(caps: Sequence[tuple[str, str, str]]) -> str:
    """Return at which value customers were capped."""
    parts = "; ".join(f"{metric} at {cap} ({many} customers were above)" for metric, cap, many in caps)
    return (
        "Where it says capped, a customer above the cap counts as the cap, so that a few very large orders do "
        f"not decide: {parts}. The cap is a quantile over all arms together; which one was chosen before the data. "
        "What is left of the numbers’ skewness is corrected for."
    )


def looks(boundary: str | None, *, correlated: bool) -> str:
    """Return what looking every week costs under a `planned` or `always_on` boundary, or that there is one look.

    `correlated` says that it is known how looks depend on each other.
    """
    if boundary is None:
        return (
            "The intervals hold for one look at a date fixed beforehand. Looking often and stopping at the first good "
            "week finds wins that are none."
        )
    if boundary == "always_on":
        kind = (
            "looks without a planned end: an asymptotic confidence sequence), however long it goes on. At their "
            "narrowest they are about one and a half times as wide as a single look’s."
        )
    elif correlated:
        kind = (
            "a plan of the O’Brien-Fleming type): they are wide in early weeks, and hardly wider than a single look’s "
            "at the end. Numbers that go on growing after the plan’s end are read with the wider intervals of looks "
            "without an end."
        )
    else:
        kind = (
            "a plan of the O’Brien-Fleming type): they are wide in early weeks, and wider than a single look’s at the "
            "end too, since results that stand ready per customer do not tell how looks depend on each other."
        )
    return (
        f"The readout is made every week. Its intervals and p-values hold at all weekly looks together ({kind} Until "
        "enrolment has ended and the last window has closed the verdict is provisional, unless an interval already "
        "lies to one side of zero."
    )


def family() -> str:
    """Return what was done about several comparisons."""
    return (
        "The primary metric is read as it stands. Secondary metrics are corrected together (Holm), so that the chance "
        "of any false finding among them stays at the level planned. Breakdowns are exploratory: of what stands out "
        "among them, at most that share is expected to be false (Benjamini and Hochberg)."
    )


def margins(named: Sequence[tuple[str, str, str]]) -> str:
    """Return what guardrails tolerate."""
    parts = "; ".join(f"{metric} may {way} by less than {margin}" for metric, way, margin in named)
    return f"A guardrail is safe when its whole interval stays inside its margin, set beforehand: {parts}."
