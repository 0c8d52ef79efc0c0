"""The verdict: one status and one sentence, from lifts and checks."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.design.experiment import Experiment
from toolkit.stats.curve import Schedule
from toolkit.stats.estimate import RESIDUE
from toolkit.stats.results import Check, Lift, Verdict, VerdictStatus
from toolkit.stats.skew import with_subject

__all__ = ["verdict_of"]


def verdict_of(
    experiment: Experiment,
    lifts: Sequence[Lift],
    checks: Sequence[Check],
    schedule: Schedule | None = None,
    *,
    why_provisional: str | None,
    caution: str = "",
) -> Verdict:
    """Return what may be said.

    A failed check withholds everything. Until the data are complete (`why_provisional` says why they are
    not), what is said is provisional, unless a `schedule` of looks has a boundary for saying it early. Then harm
    to a guardrail or by the primary metric comes first, then an increment, then absence of harm beyond the
    margins; anything else is inconclusive, never “no effect”.

    A guardrail that is not trusted harms nothing and clears nothing: it is named, and why. No harm needs all of
    them, and an increment none of which the numbers, such as they are, look like harm. `caution` is added to what is
    decided.
    """
    said = _verdict(experiment, lifts, checks, schedule, why_provisional)
    decided = said.status in {"incremental", "harm", "no_harm"}
    return Verdict(said.status, f"{said.text} {caution}", caution) if caution and decided else said


def _verdict(
    experiment: Experiment,
    lifts: Sequence[Lift],
    checks: Sequence[Check],
    schedule: Schedule | None,
    why_provisional: str | None,
) -> Verdict:
    failed = [check for check in checks if check.status == "fail"]
    if failed:
        why = "; ".join(check.detail for check in failed)
        return Verdict("not_readable", f"No lift can be read: {why}.")
    whole = [lift for lift in lifts if lift.breakdown is None]
    primary = [lift for lift in whole if lift.role == "primary"]
    readable = [lift for lift in primary if _may_decide(lift)]
    guardrails = [lift for lift in whole if lift.role == "guardrail" and _may_decide(lift)]
    doubted = [lift for lift in whole if lift.role == "guardrail" and not _may_decide(lift)]
    said = [_in_words(experiment, lift) for lift in readable]
    if primary and not readable:
        notes = (with_subject(lift.metric, note) for lift in primary for note in lift.notes[-1:])
        why = "; ".join(dict.fromkeys(notes)) or "no data"
        return Verdict(
            "provisional" if why_provisional else "not_readable", f"No lift can be read yet: {why}."
        )
    early = ""
    if why_provisional and schedule and schedule.looks:
        early = f" This was already so at look {len(schedule.looks)} of {schedule.total}, by a boundary for all of them."
    if why_provisional and not (early and any(_decides(lift) for lift in [*readable, *guardrails])):
        return Verdict("provisional", " ".join([f"Provisional: {why_provisional}.", *said]))
    harmed = [lift for lift in guardrails if lift.answer == "harm"]
    worse = [lift for lift in readable if lift.decided and lift.decided.absolute.high < 0]
    better = [lift for lift in readable if lift.decided and lift.decided.absolute.low > 0]
    if harmed:
        said += [f"{lift.arm} did harm to {lift.metric} ({_interval(lift)})." for lift in harmed]
        return Verdict("harm", " ".join(said) + early)
    if worse:
        return Verdict("harm", " ".join(said) + early)
    unjudged = [_unjudged(lift) for lift in doubted]
    if better:
        status: VerdictStatus = "inconclusive" if any(map(_looks_harmful, doubted)) else "incremental"
        return Verdict(status, " ".join(said) + early + "".join(f" {each}" for each in unjudged))
    if not primary and guardrails and not doubted and all(lift.answer == "safe" for lift in guardrails):
        return Verdict("no_harm", "No guardrail was harmed beyond its margin.")
    if not primary and (guardrails or doubted):
        said += [
            f"Harm to {lift.metric} by {_named(lift.arm)} is not ruled out ({_interval(lift)})."
            for lift in guardrails
            if lift.answer == "unclear"
        ]
    elif not primary:
        said.append("No metric is declared primary, so there is nothing to decide by.")
    return Verdict("inconclusive", " ".join([*said, *unjudged]))


def _unjudged(lift: Lift) -> str:
    """Return that a guardrail cannot be judged and why, and what moved the wrong way all the same."""
    why = lift.notes[-1] if lift.notes else "no data"
    said = f"Whether {_named(lift.arm)} harmed {lift.metric} cannot be judged: {why}."
    return f"{said} {_moved(lift)}" if _looks_harmful(lift) else said


def _looks_harmful(lift: Lift) -> bool:
    """Return whether a guardrail's numbers look like harm, whatever they can be trusted for."""
    block = lift.decided
    if block is None or lift.answer:
        return lift.answer == "harm"
    gone = block.absolute.value if lift.harm == "increase" else -block.absolute.value
    least = RESIDUE * max(abs(mean or 0.0) for mean in lift.means.values())
    return gone > max(lift.margin or 0.0, least)


def _moved(lift: Lift) -> str:
    """Return what a guardrail went to from what, among how many, and what to do about it."""
    held, treated = (lift.means[arm] or 0.0 for arm in (lift.control, lift.arm))
    before, after = (_level(lift, arm) for arm in (lift.control, lift.arm))
    return (
        f"It {'rose' if treated > held else 'fell'} from {before} customers in {_named(lift.control)} to {after} in "
        f"{_named(lift.arm)}: look at it before anything is rolled out."
    )


def _level(lift: Lift, arm: str) -> str:
    of = f"{lift.customers[arm]:,}"
    if lift.kind == "conversion":
        return f"{lift.converters[arm]:,} of {of}"
    return f"{lift.means[arm] or 0.0:,.4g} among {of}".replace("-", "−")


def _may_decide(lift: Lift) -> bool:
    return lift.decided is not None and lift.trusted


def _decides(lift: Lift) -> bool:
    """Return whether a lift says enough to decide before the plan's end."""
    block = lift.decided
    if lift.role == "guardrail":
        return lift.answer == "harm"
    return bool(block and (block.absolute.low > 0 or block.absolute.high < 0))


def _in_words(experiment: Experiment, lift: Lift) -> str:
    block = lift.decided
    if block is None:
        return ""
    arm = _capital(_named(lift.arm))
    low, high = block.absolute.low, block.absolute.high
    did = "raised" if low > 0 else "lowered" if high < 0 else None
    level = f"{round(100 * (1 - experiment.analysis.alpha), 4):g}% interval"
    if lift.alpha != experiment.analysis.alpha:
        level += " for all looks together"
    if did:
        return (
            f"{arm} {did} {lift.metric} by {_size(lift, block.absolute.value)} ({level} {_interval(lift)})."
        )
    found = (
        f"; the smallest effect it would find is {_size(lift, lift.detectable)}" if lift.detectable else ""
    )
    return (
        f"{arm} may have changed {lift.metric} by anything from {amount(lift, low)} "
        f"to {amount(lift, high)} ({level}{found})."
    )


def _interval(lift: Lift) -> str:
    block = lift.decided
    if block is None:
        return ""
    return (
        f"{amount(lift, block.absolute.low).removesuffix(' points')} to {amount(lift, block.absolute.high)}"
    )


def amount(lift: Lift, value: float) -> str:
    """Return an absolute difference as a reader says it, with its sign: percentage points for a share."""
    return f"{'−' if value < 0 else '+'}{_size(lift, value)}"


def _size(lift: Lift, value: float) -> str:
    """Return how large a difference is, without its sign."""
    return f"{abs(value) * 100:.2f} points" if lift.kind == "conversion" else f"{abs(value):,.2f}"


def _named(arm: str) -> str:
    return arm.replace("_", " ")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
