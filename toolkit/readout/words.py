"""Every sentence that a readout says of its own; templates and charts only place them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__: list[str] = []

STATUS = {
    "incremental": ("Incremental", "The primary metric rose beyond what chance explains."),
    "no_harm": ("No harm", "No guardrail moved in the bad direction beyond its margin."),
    "inconclusive": (
        "Inconclusive",
        "The data fit a rise and a fall alike. This is not the same as “no effect”.",
    ),
    "harm": ("Harm", "A metric moved in the bad direction beyond what chance explains."),
    "not_readable": ("Not readable", "The numbers cannot be believed, so none decides anything."),
    "provisional": (
        "Provisional",
        "The data are not complete. Watch these numbers; do not decide by them yet.",
    ),
}
ROLES = {"primary": "primary", "secondary": "secondary", "guardrail": "guardrail"}
ANSWERS = {
    "safe": "no harm beyond the margin",
    "harm": "harmed",
    "unclear": "harm not ruled out",
}
CHECKS = {
    "sample_ratio": (
        "Arm sizes",
        "Do the arms have the sizes planned?",
        "Find where customers were lost or added on one side: compare each arm’s counts at assignment, in the "
        "LaunchDarkly segments and in the Customer.io segment. Mend the cause and start the experiment anew; "
        "correcting the counts afterwards does not mend it.",
    ),
    "balance": (
        "Alike before",
        "Were the arms alike before the experiment?",
        "Look for an assignment that is not by the hash: a filter applied to one arm only, or an attribute that "
        "was read after the message went out. Then start the experiment anew.",
    ),
    "crossover": (
        "One arm each",
        "Is every customer in one arm?",
        "Find what assigned customers twice (a changed seed, two ids for one person) and settle which arm each "
        "of them really got.",
    ),
    "identity_match": (
        "Ids match",
        "Do the assigned ids exist in the outcome data?",
        "Check identity.key in the experiment file against the ids that the events carry, then pull again.",
    ),
    "freshness": (
        "Data fresh",
        "Do the data reach as far as this readout needs?",
        "Run lift pull, see that the export or webhook is alive, and make the readout again.",
    ),
    "duplicate_orders": (
        "Orders once",
        "Does every order stand once?",
        "Each order is counted once, but find out what sends it twice: a retry without an id, or two sources.",
    ),
    "assignment_before_outcome": (
        "Assigned first",
        "Was every customer assigned before the outcome counted?",
        "Check the clocks and time zones of assignments and events, and that nobody is enrolled because of what "
        "they bought.",
    ),
    "outliers": (
        "No single whale",
        "Does one customer carry the mean?",
        "Set a cap on the metric before the next experiment, and read the share of buyers beside it.",
    ),
    "holdout_delivered": (
        "Holdout untouched",
        "Did the holdout really get nothing?",
        "Stop the message, see that the holdout segment excludes these customers in both tools, and start anew.",
    ),
}
CHECK_STATUS = {"pass": "passed", "warn": "needs a look", "fail": "failed", "skip": "not checked"}
MEND_UNKNOWN = "Mend what this check found, then make the readout again."

HIDDEN = (
    "No lift is shown, because a check failed. A number beside a failed check would be believed all the same."
)
NOT_TRUSTED = "not to be trusted"
NO_NUMBER = "there is nothing to compute a number from"
POINTS = "Shares differ in percentage points, written “points”."
EXPLORATORY = (
    "Exploratory: nobody promised these cuts before the data were seen, and with several of them one stands "
    "out by chance. They suggest the next experiment; they do not decide this one."
)
NOTHING_COMPARED = "No metric has been compared yet."
CHART_HINT = (
    "Filled marks: the interval excludes zero. Hollow marks: it does not. Arrows: the interval goes on."
)
SPARK_HIDDEN = "hidden: a check failed"
ESTIMATES = {
    "raw": "as measured",
    "adjusted": "adjusted",
    "capped": "capped",
    "capped_adjusted": "capped and adjusted",
    "skew_corrected": "corrected for skewness",
}
EMPTY_INDEX = "No readout has been published yet. Make one with lift readout experiments/<key>.yml."


def check_title(name: str) -> str:
    """Return a check's short name."""
    return CHECKS[name][0] if name in CHECKS else name.replace("_", " ").capitalize()


def check_question(name: str) -> str:
    """Return what a check asks."""
    return CHECKS[name][1] if name in CHECKS else ""


def check_mend(name: str) -> str:
    """Return what to do when a check fails or warns."""
    return CHECKS[name][2] if name in CHECKS else MEND_UNKNOWN


def arm_name(arm: str) -> str:
    """Return an arm's key as words."""
    return arm.replace("_", " ")


def sentence(said: str) -> str:
    """Return `said` with a capital and a full stop."""
    said = said.strip()
    if not said:
        return ""
    return said[:1].upper() + said[1:] + ("" if said[-1] in ".!?…" else ".")


def withheld(failed: int) -> str:
    """Return the verdict where checks failed."""
    many = "a check" if failed == 1 else f"{failed} checks"
    return f"No lift can be read, because {many} failed."


def untrusted(notes: Sequence[str]) -> str:
    """Return why a lift is not to be trusted; the reason is the last note."""
    return f"{NOT_TRUSTED}: {notes[-1]}" if notes else NOT_TRUSTED


def rebuild(key: str, as_of: str) -> str:
    """Return the command that makes this readout again."""
    return f"lift readout experiments/{key}.yml --as-of {as_of}"


def tally(statuses: Iterable[str]) -> str:
    """Return how many checks ended how: `8 passed, 1 not checked`."""
    seen = list(statuses)
    counts = [(seen.count(status), said) for status, said in CHECK_STATUS.items()]
    return ", ".join(f"{number} {said}" for number, said in counts if number) or "no checks were made"


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
        "bound; it is then drawn as an arrow."
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


def correction(kind: str, metrics: int) -> str:
    """Return what was done about several comparisons."""
    if kind == "holm":
        return (
            f"{metrics} comparisons are made. The primary metric is read as it stands; secondary metrics are "
            "corrected together (Holm), so that the chance of any false finding among them stays at the level "
            "planned. Breakdowns are exploratory (Benjamini and Hochberg)."
        )
    return "P-values are not corrected for the number of comparisons; the primary metric is the one to decide by."


def margins(named: Sequence[tuple[str, str, str]]) -> str:
    """Return what guardrails tolerate."""
    parts = "; ".join(f"{metric} may {way} by less than {margin}" for metric, way, margin in named)
    return f"A guardrail is safe when its whole interval stays inside its margin, set beforehand: {parts}."
