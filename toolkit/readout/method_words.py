"""How the numbers were made, in words: the paragraphs of the method card."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.readout.words import arm_name

__all__ = [
    "adjusted",
    "capped",
    "family",
    "fieller",
    "intention_to_treat",
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
        groups.setdefault(window, []).append(metric)
    parts = [
        f"{', '.join(metrics)}: {f'{window} from each customer’s own assignment' if window else 'from assignment on'}"
        for window, metrics in groups.items()
    ]
    return f"Outcomes count until the end of the readout’s date, within a window. {'; '.join(parts)}."


def welch(level: str) -> str:
    """Return how absolute differences get their interval."""
    return (
        f"A difference is the arm’s mean minus the control’s. Its {level} interval and p-value are Welch’s, "
        "which let the two arms vary differently (Student’s t distribution). The p-value is two-sided, of no difference."
    )


def fieller(level: str) -> str:
    """Return how relative lifts get their interval."""
    return (
        f"A relative lift divides that difference by the control’s mean. Its {level} interval is Fieller’s, which "
        "allows for the control’s mean being uncertain too. Where that mean is hardly above zero, an end has no "
        "bound; it is then drawn as an arrow. Where it is not above zero, there is no relative lift."
    )


def adjusted(names: Sequence[str], reductions: Sequence[tuple[str, str]]) -> str:
    """Return what was adjusted by, and what that was worth."""
    gains = "; ".join(f"{metric}: {share}" for metric, share in reductions)
    tail = f" Variance removed: {gains}." if gains else ""
    return (
        f"Where it says adjusted, chance differences between the arms in {', '.join(names)} (known before "
        "assignment) are taken out by Lin’s regression, fitted in each arm, with HC2 standard errors. "
        f"It sharpens the interval and does not favour any arm.{tail}"
    )


def capped(caps: Sequence[tuple[str, str, str]]) -> str:
    """Return at which value customers were capped."""
    parts = "; ".join(f"{metric} at {cap} ({many} customers were above)" for metric, cap, many in caps)
    return (
        "Where it says capped, a customer above the cap counts as the cap, so that a few very large orders do "
        f"not decide: {parts}. The cap is a quantile over all arms together, chosen before the data. What is left "
        "of the numbers’ skewness is corrected for (Hall’s transformation)."
    )


def looks(kind: str) -> str:
    """Return what the plan says about looking."""
    if kind == "weekly":
        return (
            "The readout is made every week. Its intervals and p-values hold at all weekly looks together (a plan "
            "of the O’Brien-Fleming type): they are wide in early weeks, and hardly wider than a single look’s at "
            "the end. Until enrolment has ended and the last window has closed the verdict is provisional, unless "
            "an interval already lies to one side of zero."
        )
    return (
        "The intervals hold for one look at a date fixed beforehand. Looking often and stopping at the first good "
        "week finds wins that are none."
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
