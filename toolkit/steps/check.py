"""Check: what an experiment file would do, and what in it deserves a second look."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.design.experiment import Experiment
from toolkit.errors import NotReady, ToolkitError
from toolkit.lake.engine import connect
from toolkit.lake.enrol import MatchReport, report_matches
from toolkit.steps.cohort import load_cohort, open_customerio
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Preview", "check"]

MANY_TRAITS = 10


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen.

    Attributes:
        people: how many qualify now, None where that cannot be known from here.
        matches: how they meet the identity key, where the source gives identifiers at once.
        unreachable: why the cohort's size is not known.
        warnings: what deserves a second look.
    """

    people: int | None
    matches: MatchReport | None
    unreachable: str | None
    warnings: tuple[str, ...]


def check(workspace: Workspace, spec: Spec) -> Preview:
    """Return what the experiment would do; nothing is written, and no customer is read one by one."""
    warnings = _warnings(spec.experiment)
    cohort = spec.experiment.cohort
    if cohort is None:
        return Preview(None, None, "assignments come from a file", warnings)
    try:
        if cohort.source == "customerio" and cohort.segment is not None:
            with open_customerio(workspace) as client:
                segment = client.segment(cohort.segment)
                people = client.segment_size(cohort.segment)
            if segment.state != "finished":
                raise NotReady(f"segment {segment.id} is still building")
            return Preview(people, None, None, warnings)
        with connect() as con:
            load_cohort(con, workspace, spec)
            matches = report_matches(con)
    except ToolkitError as refused:
        return Preview(None, None, str(refused), warnings)
    return Preview(matches.people, matches, None, warnings)


def _warnings(experiment: Experiment) -> tuple[str, ...]:
    said = []
    if not any(metric.role == "primary" for metric in experiment.metrics):
        said.append("metrics: none has `role: primary`, so there will be no verdict")
    if len(experiment.traits) > MANY_TRAITS:
        said.append(
            f"traits: {len(experiment.traits)} are many; more than {MANY_TRAITS} are hard to keep right"
        )
    untreated = set(experiment.treatments) - {
        arm for trait in experiment.traits for arm in trait.treated_arms
    }
    if experiment.traits and untreated:
        said.append(
            f"traits: no trait reaches the arms {', '.join(sorted(untreated))}; they see what control sees"
        )
    if experiment.identity.key == "email" and experiment.traits:
        said.append("identity.key: e-mail addresses must not become segment keys; `lift push` will refuse")
    if min(experiment.arms.values()) < 0.05:
        said.append("arms: an arm below 5 % rarely tells anything; see `lift design`")
    return tuple(said)
