"""A plan for LaunchDarkly, and what applying it did, in plain text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.design.experiment import Experiment
from toolkit.show.table import table_text

if TYPE_CHECKING:
    from toolkit.steps.push import Pushed, PushPlan

__all__ = ["plan_record", "plan_text", "pushed_text"]


def plan_text(plan: PushPlan, experiment: Experiment, *, applied: bool) -> str:
    """Return a plan as a table."""
    told = plan.attributes(experiment, None)
    lines = [
        table_text(
            ["segment", "", "add", "remove", "unchanged"],
            [
                [
                    each.segment,
                    ("holdout" if each.holdout else "eligible") + ("" if each.exists else ", new"),
                    f"{len(each.add):,}",
                    f"{len(each.remove):,}",
                    f"{each.unchanged:,}",
                ]
                for each in plan.sync.changes
            ],
            right=[2, 3, 4],
        )
    ]
    if plan.overridden:
        lines.append(f"{plan.overridden:,} treated customers are never eligible (do not offer)")
    if plan.messages:
        lines.append(
            f"after read-back, {len(told.announce):,} customers' attributes go to Customer.io"
            + (f"; before anything else {len(told.withdraw):,} are withdrawn" if told.withdraw else "")
        )
    if plan.sync.is_empty and not told.announce and not told.withdraw:
        lines.append("nothing to change")
    elif not applied:
        lines.append("nothing was changed; add --apply to do it")
    return "\n".join(lines)


def plan_record(plan: PushPlan, experiment: Experiment) -> dict[str, Any]:
    """Return a plan as JSON-ready values."""
    told = plan.attributes(experiment, None)
    return {
        "experiment": experiment.key,
        "segments": [
            {
                "segment": each.segment,
                "holdout": each.holdout,
                "exists": each.exists,
                "add": list(each.add),
                "remove": list(each.remove),
                "unchanged": each.unchanged,
            }
            for each in plan.sync.changes
        ],
        "overridden": plan.overridden,
        "messages": {"withdraw": len(told.withdraw), "announce": len(told.announce)},
    }


def pushed_text(done: Pushed) -> str:
    """Return what an applied push did."""
    lines = [
        f"{done.writes:,} writes to LaunchDarkly, read back; {done.told:,} customers told at Customer.io"
    ]
    lines += [f"refused by Customer.io: {customer}: {why}" for customer, why in done.refused[:20]]
    if len(done.refused) > 20:
        lines.append(f"… and {len(done.refused) - 20:,} more")
    return "\n".join(lines)
