"""What a cell in JupyterLab calls when it is tested there."""

from __future__ import annotations

from tempfile import mkdtemp

from tests.notebooks.conftest import AS_OF
from toolkit.notebook import explore_power, start_with_files
from toolkit.settings import Settings
from toolkit.steps.design import design
from toolkit.steps.workspace import Spec, Workspace


def power():
    """Return the sliders of the experiment that a notebook starts with."""
    folder = mkdtemp()
    spec = Spec.read(start_with_files(folder))
    workspace = Workspace.open(Settings(lift_home=f"{folder}/lake"))
    return explore_power(design(workspace, spec, as_of=AS_OF, lift=0.1), spec.experiment.value)
