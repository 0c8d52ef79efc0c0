"""A plan for LaunchDarkly, and what applying it did, in plain text and as JSON.

Both tell how many and why. Customers' keys stand in neither, but for those that a vendor did not take, in the
text: somebody has to look at them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.design.experiment import Experiment
from toolkit.design.propagation import Propagation
from toolkit.design.reasons import REASONS, Why
from toolkit.show.table import table_text

if TYPE_CHECKING:
    from toolkit.design.sync import SegmentChange
    from toolkit.steps.known import Known
    from toolkit.steps.push import Pushed, PushPlan

__all__ = ["plan_record", "plan_text", "pushed_record", "pushed_text"]

NAMED = 20


def plan_text(plan: PushPlan, experiment: Experiment, *, applied: bool) -> str:
    """Return a plan as a table, the reasons of each change, and what else a reader should know."""
    told = plan.attributes(experiment, None)
    lines = [
        table_text(
            ["segment", "", "add", "remove", "unchanged", "changed"],
            [
                [
                    each.segment,
                    _kind(each),
                    f"{len(each.add):,}",
                    f"{len(each.remove):,}",
                    f"{each.unchanged:,}",
                    "" if each.share_changed is None else f"{each.share_changed:.1%}",
                ]
                for each in plan.sync.changes
            ],
            right=[2, 3, 4, 5],
        )
    ]
    lines += [line for segment, why in plan.why.items() for line in _reasons(segment, why)]
    by_hand = sum(why.by_hand for why in plan.why.values())
    if by_hand:
        lines.append(f"drift: {by_hand:,} memberships were changed by hand, and are changed back")
    lines += plan.notes
    lines += [
        f"{segment}: LaunchDarkly does not take {_named(list(who))}; --retry-refused tries again"
        for segment, who in plan.refused.items()
    ]
    if plan.messages:
        lines.append(
            f"after read-back, {len(told.announce):,} customers' attributes go to Customer.io"
            + (f"; before anything else {len(told.withdraw):,} are withdrawn" if told.withdraw else "")
        )
    elif told.withdraw:
        lines.append(
            f"before anything else the messages of {len(told.withdraw):,} customers are withdrawn, which needs "
            "CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY"
        )
    lines += [f"refused unless --allow-removals {plan.endings}: {each}" for each in plan.forbidden]
    if plan.sync.is_empty and told.is_empty:
        lines.append("nothing to change")
    elif not applied:
        lines.append("nothing was changed; add --apply to do it")
    return "\n".join(lines)


def plan_record(plan: PushPlan, experiment: Experiment) -> dict[str, Any]:
    """Return a plan as JSON-ready values: counts and reasons, without a customer's key."""
    told = plan.attributes(experiment, None)
    return {
        "schema": 1,
        "experiment": experiment.key,
        "made_at": plan.made_at.isoformat(),
        "segments": [
            {
                "segment": each.segment,
                "holdout": each.holdout,
                "big": each.big,
                "exists": each.exists,
                "whole_list": each.whole,
                "add": len(each.add),
                "remove": len(each.remove),
                "unchanged": each.unchanged,
                "share_changed": each.share_changed,
                "reasons": {
                    "add": dict(plan.why[each.segment].add),
                    "remove": dict(plan.why[each.segment].remove),
                },
                "by_hand": plan.why[each.segment].by_hand,
                "not_taken": len(plan.refused.get(each.segment, ())),
            }
            for each in plan.sync.changes
        ],
        "overridden": plan.overridden,
        "messages": {"withdraw": len(told.withdraw), "announce": len(told.announce)},
        "notes": list(plan.notes),
        "forbidden": list(plan.forbidden),
        "allow_removals": plan.endings if plan.forbidden else 0,
        "is_empty": plan.sync.is_empty and told.is_empty,
        "applied": None,
    }


def pushed_text(done: Pushed) -> str:
    """Return what an applied push did."""
    lines = [
        f"{done.writes:,} writes to LaunchDarkly, read back; {done.told:,} customers told at Customer.io"
    ]
    lines += [_through(each) for each in done.propagation]
    lines += [
        f"{segment}: LaunchDarkly does not take {_named(list(who))} ({next(iter(who.values()))}); put aside"
        for segment, who in done.not_taken.items()
    ]
    lines += _strangers(done.known)
    lines += [f"refused by Customer.io: {customer}: {why}" for customer, why in done.refused[:NAMED]]
    if len(done.refused) > NAMED:
        lines.append(f"… and {len(done.refused) - NAMED:,} more")
    return "\n".join(lines)


def pushed_record(done: Pushed) -> dict[str, Any]:
    """Return what an applied push did as JSON-ready values, without a customer's key."""
    return {
        "run": done.run,
        "writes": done.writes,
        "told": done.told,
        "refused_by_customerio": len(done.refused),
        "unknown_to_customerio": len(done.known.unknown) if done.known and not done.known.not_asked else None,
        "not_taken": {segment: len(who) for segment, who in done.not_taken.items()},
        "versions": dict(done.versions),
        "propagation": [
            {
                "trait": each.trait,
                "customers": each.customers,
                "p50_seconds": each.p50_seconds,
                "p95_seconds": each.p95_seconds,
                "late": each.late,
                "max_age_seconds": each.max_age_seconds,
            }
            for each in done.propagation
        ],
    }


def _kind(change: SegmentChange) -> str:
    words = ["holdout" if change.holdout else "eligible"]
    if change.big:
        words.append("big")
    if not change.exists:
        words.append("new")
    return ", ".join(words)


def _reasons(segment: str, why: Why) -> list[str]:
    return [
        f"  {segment} {sign}{count:,} {REASONS[reason]}"
        for sign, reasons in (("+", why.add), ("-", why.remove))
        for reason, count in _by_count(reasons)
    ]


def _by_count(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda each: (-each[1], each[0]))


def _strangers(known: Known | None) -> list[str]:
    """Return a line where customers are not known to Customer.io, or could not be asked for."""
    if known is None:
        return []
    if known.not_asked:
        return [f"whether Customer.io knows these customers was not asked: {known.not_asked}"]
    if not known.unknown:
        return []
    whole = known.asked == known.among
    asked = f"{known.asked:,}" if whole else f"{known.asked:,} sampled from {known.among:,}"
    return [
        f"Customer.io does not know {_named(list(known.unknown))} of {asked}: they see their offer and get no message. "
        "Check that `identity.key` is the identifier that Customer.io has, or create them there; the next push tries again"
    ]


def _named(keys: list[str]) -> str:
    shown = ", ".join(map(repr, keys[:5]))
    return f"{len(keys):,} keys ({shown}{', …' if len(keys) > 5 else ''})"


def _through(found: Propagation) -> str:
    return (
        f"{found.trait}: from due to read back, half of {found.customers:,} customers within "
        f"{_seconds(found.p50_seconds)}, 95 in 100 within {_seconds(found.p95_seconds)}; "
        f"{found.late:,} later than max_age ({_seconds(found.max_age_seconds)})"
    )


def _seconds(seconds: float | None) -> str:
    """Return a span in its largest unit that leaves a number above one, such as 4.2 s, 5.0 min, 1.5 h."""
    if seconds is None:
        return "an unknown time"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
