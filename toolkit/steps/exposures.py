"""Who was served the offer, by the application's own word."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from toolkit.design.sources import Exposures
from toolkit.lake.arrivals import Taken
from toolkit.lake.exposures import keep_exposures
from toolkit.lake.intake import note_through
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["pull_exposures"]


def pull_exposures(workspace: Workspace, spec: Spec, ours: Exposures) -> Taken:
    """Bring new flag evaluations into the lake: of whoever was served anything but the control.

    Raises:
        DataError: a file cannot be used; the others were taken.
    """
    experiment, now = spec.experiment, workspace.now()
    path = experiment.file_beside(spec.path, ours.path)
    shown = sorted((trait.flag, trait.default) for trait in experiment.traits if trait.flag)
    how = json.dumps([str(Path(path).absolute()), ours.control, shown, experiment.identity.model_dump()])
    source = f"exposures:{experiment.key}:{hashlib.sha256(how.encode()).hexdigest()[:16]}"
    taken = keep_exposures(workspace.lake, path, source, experiment, ours, at=now)
    note_through(workspace.lake, f"exposures:{experiment.key}", ["read"], now, at=now)
    taken.settle(path)
    return taken
