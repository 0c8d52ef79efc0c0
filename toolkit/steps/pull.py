"""Pull: what customers did, whom messages reached and who saw the offer, into the lake, each thing once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from toolkit.design.sources import Events
from toolkit.errors import SpecError
from toolkit.lake.arrivals import Kept, Taken
from toolkit.lake.intake import keep_events_of_file, kept_as, note_through, wanted_events
from toolkit.lake.locks import alone
from toolkit.lake.pipelines import keep_tracks
from toolkit.lake.same_people import keep_same_people
from toolkit.lake.sync_tables import sync_files
from toolkit.lake.warehouse_sync import keep_sync_events
from toolkit.steps.activities import REACH, Walked, pull_activities
from toolkit.steps.deliveries import pull_deliveries
from toolkit.steps.exposures import pull_exposures
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["REACH", "Pulled", "pull"]

COMPACT_AFTER = 40
TABLES = ("events", "cursors", "deliveries", "exposures", "arrivals")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought.

    Attributes:
        events: from Customer.io's activities or a file; None where they come from a folder, or stand ready.
        files: from a folder to which others add files, or None.
        deliveries: what became of messages, or None where the experiment file does not ask for it.
        exposures: who was served the offer, or None likewise.
        same_people: customers newly known to be one person with another.
    """

    events: Walked | None = None
    files: Taken | None = None
    deliveries: Kept | None = None
    exposures: Taken | None = None
    same_people: int = 0

    @property
    def added(self) -> int:
        """Return how many events are new in the lake."""
        return (self.events.added if self.events else 0) + (self.files.kept.added if self.files else 0)


def pull(workspace: Workspace, spec: Spec, *, progress: Progress | None = None) -> Pulled:
    """Bring what is new into the lake; a second call right after adds nothing, and one at the same time waits.

    Raises:
        SpecError: the spec has outcomes ready, and asks for nothing else.
        DataError: files cannot be used; what could be used is kept.
        VendorError, StorageError: something cannot be had, or not kept.
    """
    experiment = spec.experiment
    if experiment.events is None and experiment.deliveries is None and experiment.exposures is None:
        raise SpecError(
            f"{spec.path}: metrics are on `outcomes`, which stand ready; there is nothing to pull"
        )
    waiting = partial(progress, "waiting for another pull", 0, 0) if progress else None
    with alone(
        workspace.lake.home, "pull", waiting=waiting
    ):  # what is known already is asked before, and once
        return _pull(workspace, spec, progress)


def _pull(workspace: Workspace, spec: Spec, progress: Progress | None) -> Pulled:
    experiment = spec.experiment
    events, ours, seen = experiment.events, experiment.deliveries, experiment.exposures
    walked = files = None
    if events and events.from_folder:
        files = _pull_folder(workspace, spec, events)
    elif events:
        walked = _pull_events(workspace, spec, events, progress)
    done = Pulled(
        walked,
        files,
        pull_deliveries(workspace, spec, ours, progress) if ours else None,
        pull_exposures(workspace, spec, seen) if seen else None,
        _same_people(workspace, spec),
    )
    for table in TABLES:
        if len(workspace.lake.files(table)) > COMPACT_AFTER:
            workspace.lake.compact(table)
    return done


def _pull_events(workspace: Workspace, spec: Spec, events: Events, progress: Progress | None) -> Walked:
    if events.source == "customerio":
        return pull_activities(workspace, spec, events, progress)
    seen, added = keep_events_of_file(workspace.lake, spec.experiment, spec.path, at=workspace.now())
    return Walked(added, seen, 1)


def _pull_folder(workspace: Workspace, spec: Spec, events: Events) -> Taken:
    experiment, lake, now = spec.experiment, workspace.lake, workspace.now()
    folder, source = experiment.file_beside(spec.path, events.file), kept_as(experiment, spec.path)
    names = wanted_events(experiment)
    if events.source == "warehouse":
        sync = sync_files(folder, what="`events` names it as the folder of Customer.io's warehouse sync")
        taken = keep_sync_events(lake, sync, source, experiment, events, names, at=now)
    else:
        taken = keep_tracks(lake, folder, source, experiment, events, names, at=now)
    if taken.kept.through:
        note_through(lake, source, names, taken.kept.through, at=now)
    taken.settle(folder)
    return taken


def _same_people(workspace: Workspace, spec: Spec) -> int:
    """Look in every folder of the warehouse sync that the experiment names for people who became one."""
    experiment = spec.experiment
    parts = (experiment.cohort, experiment.events, experiment.deliveries)
    folders = dict.fromkeys(part.path for part in parts if part and part.source == "warehouse" and part.path)
    found = 0
    for folder in folders:
        sync = sync_files(experiment.file_beside(spec.path, folder), what="it is named as the warehouse sync")
        found += keep_same_people(workspace.lake, sync, experiment, at=workspace.now())
    return found
