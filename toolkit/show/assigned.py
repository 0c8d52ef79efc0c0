"""What an assignment run did, in plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.design.experiment import Experiment

if TYPE_CHECKING:
    from toolkit.lake.enrol import MatchReport
    from toolkit.steps.assign import Assigned

__all__ = ["assigned_text"]


def assigned_text(experiment: Experiment, done: Assigned) -> str:
    """Return what an assignment run did."""
    if done.skipped or done.enrolment is None:
        return f"{experiment.key}: nobody is newly assigned: {done.skipped}"
    lines = []
    if done.matches:
        lines.append(_matches(experiment, done.matches))
    new = done.enrolment
    lines.append(
        f"{sum(new.assigned.values()):,} newly assigned ("
        + ", ".join(f"{arm} {n:,}" for arm, n in new.assigned.items())
        + f"), {new.known:,} assigned before"
    )
    if experiment.cohort and experiment.cohort.universal_holdout:
        lines.append(
            f"{new.universal:,} are in the universal holdout {experiment.cohort.universal_holdout.key}"
        )
    if experiment.cohort and experiment.cohort.layer:
        lines.append(f"{new.elsewhere:,} belong to other experiments of layer {experiment.cohort.layer}")
    return "\n".join(lines)


def _matches(experiment: Experiment, found: MatchReport) -> str:
    said = f"{found.people:,} people qualify; {found.with_key:,} customers have the key `{experiment.identity.key}`"
    if found.without_key:
        said += f", {found.without_key:,} without it ({found.email_only:,} known by e-mail only)"
    if found.repeated:
        said += f", {found.repeated:,} stand there more than once"
    return said
