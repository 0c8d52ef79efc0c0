"""What a plan of a push says in words: what must be allowed by number, and what a reader should know."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.clients import MAX_TARGETS_PER_SEGMENT
from toolkit.design.experiment import Experiment
from toolkit.design.reasons import Why
from toolkit.design.sync import SyncPlan, is_large
from toolkit.steps.members import Actual
from toolkit.steps.standing import Standing

__all__ = ["DROPPED", "LEFT_THERE", "NOTHING_BEGINS", "forbidden", "notes"]

NEARLY_FULL = 0.8
DROPPED = (
    "{}: the file has no such segment any more; nobody is added to it, whoever may be offered nothing any more leaves it, "
    "and {:,} stay: delete it at LaunchDarkly once no flag reads it"
)
LEFT_THERE = (
    "{}: the file has no such segment any more, and {:,} customers whom nothing may be offered are left in it, which "
    "cannot be changed from here ({}); take them out there, or delete it once no flag reads it"
)
NOTHING_BEGINS = (
    "until then nothing is offered anew and no message is released; messages are withdrawn, holdouts are added to, and "
    "whoever must not be offered anything leaves the other segments"
)


def forbidden(sync: SyncPlan, why: Mapping[str, Why], standing: Standing) -> list[str]:
    """Say what no push does unless it is told so by number."""
    said = []
    for change in sync.changes:
        lost = why[change.segment].remove.get("left_ledger", 0)
        if change.is_large_removal:
            said.append(
                f"more than a fifth of a segment would be removed ({change.segment} {len(change.remove):,} of "
                f"{change.before:,})"
            )
        elif lost and not change.members:
            said.append(
                f"{change.segment} would be emptied because {lost:,} of its members are no longer among the "
                "assignments; has a file lost its rows?"
            )
    if is_large(len(standing.released), standing.before):
        said.append(
            f"{len(standing.released):,} of {standing.before:,} customers who must not be offered anything would "
            "become eligible; has the source lost the attribute?"
        )
    return said


def notes(
    experiment: Experiment, sync: SyncPlan, actual: Mapping[str, Actual], standing: Standing
) -> list[str]:
    """Say what a reader of the plan should know besides its numbers."""
    said = []
    if experiment.delivery.mode == "rollout":
        said.append("`delivery: {mode: rollout}`: the flag draws by itself, so eligibility is not pushed")
    if experiment.delivery.mode == "lookup":
        said.append(
            "`delivery: {mode: lookup}`: only holdouts are pushed, and no message is released from here; release it "
            "when the application has loaded what `lift lookup` wrote"
        )
    if standing.over:
        said.append(
            "the experiment's offers have ended: enrolment is over and the last primary window has closed, so "
            "nobody is eligible any more"
        )
    if experiment.do_not_offer:
        name = experiment.do_not_offer.attribute
        said.append(f"{len(standing.protected):,} treated customers are never eligible (`{name}`)")
    if experiment.margin_protection:
        name = experiment.margin_protection.attribute
        said.append(f"{len(standing.unprofitable):,} treated customers are never eligible (margin, `{name}`)")
    if standing.absent:
        said.append(
            f"{len(standing.absent):,} treated customers are no longer named by the cohort's source; they keep what "
            "they have, and what was last known of them holds"
        )
    if standing.unknown:
        said.append(
            f"of {len(standing.unknown):,} treated customers the source never said whether they may be offered "
            "anything, so they are not"
        )
    for change in sync.changes:
        found = actual[change.segment]
        if found.doubt:
            said.append(f"{change.segment}: {found.doubt}, so its whole list is sent")
        if not found.big and change.members > NEARLY_FULL * MAX_TARGETS_PER_SEGMENT:
            said.append(
                f"{change.segment} takes {MAX_TARGETS_PER_SEGMENT:,} members and will have {change.members:,}; a "
                "standard segment is never turned into a big one"
            )
    return said
