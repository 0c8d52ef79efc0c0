"""Claims: that no segment is two experiments' at once, as the files beside this one and the lake's record show."""

from __future__ import annotations

from pathlib import Path

from toolkit.design.catalogue import shared_segments
from toolkit.design.experiment import Experiment
from toolkit.errors import SpecError
from toolkit.lake.memberships import claims_of, segments_of
from toolkit.steps.traits import read_folder
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["dropped_segments", "refuse_claimed"]


def refuse_claimed(workspace: Workspace, spec: Spec) -> None:
    """Raise where a segment is another experiment's: each push would remove the other's customers.

    That is where a file beside this one has the same segment at the same time, or where members of another
    experiment are recorded there.

    Raises:
        SpecError: so it is; the message names segment and both experiments.
    """
    experiment, said = spec.experiment, []
    for path, other in read_folder(Path(spec.path).parent).experiments.items():
        said += [
            f"segment {key} is also that of {other.key} ({path}); rename the trait in one of the two files"
            for key in shared_segments(experiment, other)
        ]
    own = set(experiment.pushed_segments) - {experiment.universal_segment}
    for key, claims in claims_of(workspace.lake, own, but=experiment.key).items():
        said += [
            f"segment {key} holds {count:,} customers of {other}, by the lake's record; push {other} once its offers "
            "have ended, or give the trait another name in this file"
            for other, count in claims.items()
        ]
    if said:
        raise SpecError(
            f"{spec.path}: traits: {experiment.key} cannot be pushed, since it would remove another experiment's "
            f"customers: {'. '.join(said)}"
        )


def dropped_segments(workspace: Workspace, experiment: Experiment) -> tuple[str, ...]:
    """Return the eligibility segments that were pushed for an experiment, and that its file pushes no more.

    A trait was renamed, or lost a value, or `delivery` has another mode now. Those that another experiment has taken
    over since are left to it.
    """
    kept = {*experiment.pushed_segments, *experiment.held_segments}
    dropped = segments_of(workspace.lake, experiment.key) - kept
    return tuple(sorted(dropped - claims_of(workspace.lake, dropped, but=experiment.key).keys()))
