"""Check: what an experiment file would do, and what in it deserves a second look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.design.advice import advice_on
from toolkit.design.catalogue import conflicts
from toolkit.design.experiment import Experiment
from toolkit.errors import NotReady, SpecError, ToolkitError
from toolkit.lake.engine import Engine, connect
from toolkit.lake.enrol import (
    MatchReport,
    count_assigned,
    refuse_redraw,
    refuse_without_universal,
    report_matches,
)
from toolkit.lake.events import open_events
from toolkit.lake.ledger import open_ledger
from toolkit.lake.outcomes import open_outcomes
from toolkit.lake.people import gather_people
from toolkit.lake.sources import files_at
from toolkit.lake.unit import needs_of
from toolkit.steps.assign import TOO_LATE, ended
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
        failures: what other commands would refuse.
        to_come: files that are not there, and before enrolment begins events.
    """

    people: int | None
    matches: MatchReport | None
    unreachable: str | None
    warnings: tuple[str, ...]
    failures: tuple[str, ...] = ()
    to_come: tuple[str, ...] = ()


def check(workspace: Workspace, spec: Spec) -> Preview:
    """Return what the experiment would do; nothing is written.

    Files that it names are looked at as measuring would, and what that would refuse is a failure. What a vendor or
    the lake holds is not.

    Raises:
        SpecError: another file of the folder has the key.
        LedgerError: seed or shares differ from those of the first enrolment, or its universal holdout is gone.
    """
    refuse_shared_key(spec)
    experiment, missing = spec.experiment, _missing(spec)
    begun = workspace.now() >= experiment.starts_at
    with connect() as con:
        refuse_redraw(con, workspace.lake, experiment, spec.path)
        refuse_without_universal(con, workspace.lake, experiment, spec.path)
        people, matches, unknown = _cohort(con, workspace, spec)
        failures, unseen = _refused(con, workspace, spec, missing, attributes=unknown is None)
        late = workspace.now() > experiment.ends_at and experiment.assignment.source == "hash"
        late = late and not count_assigned(con, workspace.lake, experiment.key)
    if unknown and _is_wrong(experiment, unknown, missing):
        failures.insert(0, str(unknown))
    absent = [f"{spec.path}: {field}: {path} is not there" for field, path in missing.items()]
    return Preview(
        people,
        matches,
        str(unknown) if unknown else None if experiment.cohort else "assignments come from a file",
        (*([f"{spec.path}: {ended(experiment)}, {TOO_LATE}"] if late else []), *_warnings(spec)),
        (*unseen, *failures) if begun else tuple(failures),
        tuple(absent) if begun else (*absent, *unseen),
    )


def _cohort(
    con: Engine, workspace: Workspace, spec: Spec
) -> tuple[int | None, MatchReport | None, ToolkitError | None]:
    """Return how many qualify, how they meet the identity key, and why that is not known."""
    cohort = spec.experiment.cohort
    if cohort is None:
        return None, None, None
    try:
        if cohort.source == "customerio" and cohort.segment is not None:
            with open_customerio(workspace) as client:
                segment = client.segment(cohort.segment)
                people = client.segment_size(cohort.segment)
            if segment.state != "finished":
                raise NotReady(f"segment {segment.id} is still building")
            return people, None, None
        load_cohort(con, workspace, spec)
        matches = report_matches(con)
    except ToolkitError as refused:
        return None, None, refused
    return matches.people, matches, None


def _files(spec: Spec) -> dict[str, str]:
    """Return field → path of the files that the experiment reads where they are."""
    experiment = spec.experiment
    named = {
        "cohort": experiment.cohort if experiment.cohort and experiment.cohort.source == "files" else None,
        "assignment": experiment.assignment if experiment.assignment.source == "files" else None,
        "events": experiment.events if experiment.events and not experiment.events.in_lake else None,
        "outcomes": experiment.outcomes,
    }
    return {field: experiment.file_beside(spec.path, part.file) for field, part in named.items() if part}


def _missing(spec: Spec) -> dict[str, str]:
    """Return those of the files that are not there."""
    return {field: path for field, path in _files(spec).items() if not files_at(path)}


def _is_wrong(experiment: Experiment, unknown: ToolkitError, missing: Mapping[str, str]) -> bool:
    """Return whether the cohort cannot be had for a reason that lies in the experiment's files."""
    from_file = experiment.cohort is not None and experiment.cohort.source == "files"
    return isinstance(unknown, SpecError) or (from_file and "cohort" not in missing)


def _refused(
    con: Engine, workspace: Workspace, spec: Spec, missing: Mapping[str, str], *, attributes: bool
) -> tuple[list[str], list[str]]:
    """Return what measuring would refuse of the files that are there, and which metrics' events nobody has.

    `attributes` says that the people can be had.
    """
    experiment, lake, files = spec.experiment, workspace.lake, _files(spec).keys() - missing.keys()
    needs, until = needs_of(experiment), max(workspace.now(), experiment.starts_at)
    failures: list[str] = []
    unseen: list[str] = []
    if "assignment" not in missing:
        with _noted(failures):
            ledger = open_ledger(con, lake, experiment, spec.path, as_of_end=until)
            if "events" in files:
                ledger = replace(ledger, first_at=ledger.first_at or experiment.starts_at)
                with _noted(unseen, SpecError):
                    open_events(con, lake, experiment, spec.path, needs, ledger, as_of_end=until)
    if "outcomes" in files:
        with _noted(failures):
            open_outcomes(con, experiment, spec.path, needs)[0].settle()
    if attributes and not missing and files & {"cohort", "outcomes"}:
        with _noted(failures):
            gather_people(con, lake, experiment, spec.path, needs)
    return failures, unseen


@contextmanager
def _noted(said: list[str], kind: type[ToolkitError] = ToolkitError) -> Iterator[None]:
    """Note what is refused, and go on."""
    try:
        yield
    except kind as refused:
        said.append(str(refused))


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
