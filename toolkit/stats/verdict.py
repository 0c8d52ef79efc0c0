"""The verdict: one status and one sentence, from lifts and checks."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.design.experiment import Experiment
from toolkit.stats.curve import Schedule
from toolkit.stats.results import Check, Lift, Verdict

__all__ = ["verdict_of"]


def verdict_of(
    experiment: Experiment,
    lifts: Sequence[Lift],
    checks: Sequence[Check],
    schedule: Schedule | None = None,
    *,
    why_provisional: str | None,
) -> Verdict:
    """Return what may be said.

    A failed check withholds everything. Until the data are complete (`why_provisional` says why they are
    not), what is said is provisional, unless a `schedule` of looks has a boundary for saying it early. Then harm
    to a guardrail or by the primary metric comes first, then an increment, then absence of harm beyond the
    margins; anything else is inconclusive, never “no effect”.
    """
    failed = [check for check in checks if check.status == "fail"]
    if failed:
        why = "; ".join(check.detail for check in failed)
        return Verdict("not_readable", f"No lift can be read: {why}.")
    whole = [lift for lift in lifts if lift.breakdown is None]
    primary = [lift for lift in whole if lift.role == "primary"]
    readable = [lift for lift in primary if lift.decided and lift.trusted]
    guardrails = [lift for lift in whole if lift.role == "guardrail" and lift.decided and lift.trusted]
    said = [_in_words(experiment, lift) for lift in readable]
    if primary and not readable:
        why = "; ".join(dict.fromkeys(note for lift in primary for note in lift.notes[-1:])) or "no data"
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
    if better:
        return Verdict("incremental", " ".join(said) + early)
    if not primary and guardrails and all(lift.answer == "safe" for lift in guardrails):
        return Verdict("no_harm", "No guardrail was harmed beyond its margin.")
    if not primary:
        said.append("No metric is declared primary, so there is nothing to decide by.")
    return Verdict("inconclusive", " ".join(said))


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
    arm = lift.arm.replace("_", " ")
    low, high = block.absolute.low, block.absolute.high
    did = "raised" if low > 0 else "lowered" if high < 0 else None
    level = f"{round(100 * (1 - experiment.analysis.alpha), 4):g}% interval"
    if lift.alpha != experiment.analysis.alpha:
        level += " for all looks together"
    if did:
        return (
            f"{_capital(arm)} {did} {lift.metric} by {amount(lift, abs(block.absolute.value))} "
            f"({level} {_interval(lift)})."
        )
    found = (
        f"; the smallest effect it would find is {amount(lift, lift.detectable)}" if lift.detectable else ""
    )
    return (
        f"{_capital(arm)} may have changed {lift.metric} by anything from {amount(lift, low)} "
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
    """Return an absolute difference as a reader says it: percentage points for a share."""
    if lift.kind == "conversion":
        return f"{value * 100:+.2f} points".replace("-", "−")
    return f"{value:+,.2f}".replace("-", "−")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
