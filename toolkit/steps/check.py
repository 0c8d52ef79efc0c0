"""Check: what an experiment file would do, and what in it deserves a second look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.design.advice import advice_on
from toolkit.design.catalogue import conflicts
from toolkit.errors import NotReady, ToolkitError
from toolkit.lake.engine import connect
from toolkit.lake.enrol import MatchReport, report_matches
from toolkit.steps.cohort import load_cohort, open_customerio
from toolkit.steps.neighbours import refuse_shared_key
from toolkit.steps.traits import read_folder
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Preview", "check"]


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
    """Return what the experiment would do; nothing is written, and no customer is read one by one.

    Raises:
        SpecError: another file of the folder has the key.
    """
    refuse_shared_key(spec)
    warnings = _warnings(spec)
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


def _warnings(spec: Spec) -> tuple[str, ...]:
    """Return what deserves a second look: in the file, and between it and its neighbours."""
    own = Path(spec.path).resolve()
    found = read_folder(Path(spec.path).parent)
    files = {path: each for path, each in found.experiments.items() if Path(path).resolve() != own}
    files[spec.path] = spec.experiment
    said = [str(each) for each in advice_on(spec.path, spec.experiment)]
    said += [str(each) for each in conflicts(files, of=spec.path)]
    said += [
        f"{path}: cannot be read, so its traits are not compared with those of {spec.path}; mend it first "
        f"({why.splitlines()[0]})"
        for path, why in found.unreadable.items()
    ]
    return tuple(said)
