"""Every sentence that a readout says of its own; templates and charts only place them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__: list[str] = []

STATUS = {
    "incremental": ("Gain", "The primary metric rose beyond what chance explains."),
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
AT_A_LOSS = "Gain, at a loss"
SIMULATED = "Simulated: made-up shoppers and vendors"
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

HIDDEN = "A number beside a failed check would be believed all the same, so none is shown."
GAIN_IN_DOUBT = "The primary metric rose, but numbers too thin to judge by look like harm."
NOT_TRUSTED = "not to be trusted"
NO_NUMBER = "there is nothing to compute a number from"
POINTS = "Shares differ in percentage points, written “points”."
MEANS = (
    "Arm and control are means as measured; a difference that is adjusted or capped says so, and is then not just one "
    "mean less the other."
)
PLANNED = (
    "Each way of estimating that the file planned, beside plain arithmetic; the one marked “counts” was chosen before the "
    "data."
)
REPLACED = (
    "Each way of estimating that the file planned, beside plain arithmetic. “Counts” marks the planned one, or what stands "
    "in for it where the numbers are too uneven for it: that is chosen by their shape and the arms’ sizes, not by the "
    "difference."
)
NO_RATIO = (
    "Where the control’s mean is not above zero there is no relative lift; the difference is told instead."
)
EXPLORATORY = (
    "Exploratory: the experiment file names these cuts, but claims nothing of any one of them, and with several of them "
    "one stands out by chance. They suggest the next experiment; they do not decide this one."
)
NOTHING_COMPARED = "No metric has been compared yet."
CHART_HINT = (
    "Filled marks: the interval excludes zero. Hollow marks: it holds zero. Arrows: the interval goes on."
)
CURVE_HINT = (
    "Each mark is what the data known now say of all customers assigned until that look, as measured (the headline may "
    "be adjusted, and then differs a little). Marks beyond the dotted stairs decide, however often one looks; hollow "
    "marks do not: their interval holds zero. Looks that are not to be trusted are not drawn."
)
CHANCE_HINT = "Thin lines: where 19 of 20 fair draws of the planned share would lie."
RESTATED = (
    "For an earlier date numbers can be made anew as measured only. Where a page decided by others, what it showed as "
    "measured beside them is compared."
)
EXPOSED = "Who is assigned and not reached cannot have been changed, so the whole difference belongs to those reached."
REACHED_BY_MESSAGE = (
    "A flag serves the offer too, and nothing tells to whom (name exposures in the experiment file, and pull). Whoever "
    "saw the offer without the message may have been changed as well; where there are such customers, the effect per "
    "customer reached is smaller than it says here."
)
UNUSUAL = "Of fair draws 1 in 20 differs by so much that p is below 0.05; this check warns below 0.01."
MEMBERSHIPS = (
    "A membership is one customer’s in one segment: who belongs into several, or moves on to the next (an escalation), "
    "counts for each."
)
NO_OPENERS = "This is not a comparison of openers with the holdout, which would compare two kinds of people."
PLAIN_METHOD = (
    "Customers were divided by chance, and some held out. Everybody assigned to an arm is compared with everybody held "
    "out, and an interval says how far chance alone may have moved the difference."
)
NO_SUM = "An experiment’s money is never added to another’s: their customers overlap."
ONE_QUESTION = "One secondary comparison was asked, so there is nothing to correct for."
SPARK_HIDDEN = "hidden: a check failed"
ESTIMATES = {
    "raw": "as measured",
    "adjusted": "adjusted",
    "capped": "capped",
    "capped_adjusted": "capped and adjusted",
    "skew_corrected": "corrected for skewness",
}
EMPTY_INDEX = "No readout has been published yet. Make one with lift readout experiments/<key>.yml."


ACRONYMS = {"aov", "arpu", "clv", "ctr", "cvr", "gmv", "ltv", "nps", "sms", "vip"}
SPACED = re.compile(r"(?<=\d) %")
CODE = re.compile(r"`([^`]*)`")


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


def metric_name(metric: str) -> str:
    """Return a metric's key as words, acronyms in capitals."""
    return " ".join(each.upper() if each in ACRONYMS else each for each in metric.split("_"))


def prose(said: str, record: Mapping[str, Any]) -> str:
    """Return a sentence that was made elsewhere as pages say it: keys as words, `95%` without a space, fields quoted."""
    names = {each["name"]: metric_name(each["name"]) for each in record["design"]["metrics"]}
    names |= {each["arm"]: arm_name(each["arm"]) for each in record["arms"]}
    keys = "|".join(re.escape(each) for each in sorted(names, key=len, reverse=True))
    told = re.sub(rf"\b(?:{keys})\b", lambda found: names[found[0]], said) if keys else said
    return CODE.sub(r"“\1”", SPACED.sub("%", told))


def capital(said: str) -> str:
    """Return `said` with a capital at its start."""
    return said[:1].upper() + said[1:]


def person(who: str) -> str:
    """Return who someone is without an address: `ana` of `ana@example.com`."""
    return who.partition("@")[0]


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return names as people list them: `a, b and c`."""
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def plural(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 look`, `8 looks`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def light(statuses: Iterable[str]) -> str:
    """Return the worst of the checks' statuses: what the traffic light shows."""
    seen = set(statuses)
    return next((each for each in ("fail", "warn", "pass") if each in seen), "skip")


def sentence(said: str) -> str:
    """Return `said` with a capital and a full stop."""
    said = said.strip()
    if not said:
        return ""
    return capital(said) + ("" if said[-1] in ".!?…" else ".")


def withheld(failed: int) -> str:
    """Return the verdict where checks failed."""
    many = "a check" if failed == 1 else f"{failed} checks"
    return f"No lift can be read, because {many} failed."


def untrusted(notes: Sequence[str]) -> str:
    """Return why a lift is not to be trusted; the reason is the last note."""
    return f"{NOT_TRUSTED}: {notes[-1]}" if notes else NOT_TRUSTED


def uncapped(*, finished: bool) -> str:
    """Return what money rests on, and what would let it be told."""
    mend = (
        "A next experiment needs more customers held out for it, or arms more equal in size."
        if finished
        else "More customers, above all held out, make it more even."
    )
    return (
        "Money is of all revenue, without a cap, even where the metric revenue is capped: a cap shows whether revenue "
        f"moved, but what lies above it was earned too. {mend}"
    )


def not_broken_down(name: str) -> str:
    """Return that a breakdown is not shown, and why."""
    return f"{capital(metric_name(name))} is not shown: fewer than two of its groups have ten customers in every arm."


def rebuild(key: str, as_of: str, environment: Mapping[str, str]) -> str:
    """Return the command that makes this readout again, after the variables that it needs."""
    needed = "".join(f"{name}={shlex.quote(value)} " for name, value in environment.items())
    return f"{needed}lift readout experiments/{key}.yml --as-of {as_of} --rebuild"


def tally(statuses: Iterable[str]) -> str:
    """Return how many checks ended how: `8 passed, 1 not checked`."""
    seen = list(statuses)
    worst_first = ("fail", "warn", "pass", "skip")
    counts = [(seen.count(status), CHECK_STATUS[status]) for status in worst_first]
    return ", ".join(f"{number} {said}" for number, said in counts if number) or "no checks were made"
