from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
VARIABLES = ("LIFT_", "CUSTOMERIO_", "LAUNCHDARKLY_")


class Lift:
    """The command `lift` as a user runs it: a process of its own, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
        self.variables |= {"LIFT_HOME": str(folder / "lake"), "LIFT_REPORTS": str(folder / "reports")}

    def __call__(
        self, *arguments: object, expect: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "toolkit.cli", *map(str, arguments)],
            cwd=self.folder,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def lift(tmp_path):
    return Lift(tmp_path)


@pytest.fixture
def box():
    with Sandbox(seed=3, scale=0.25, limits=False) as sandbox:
        yield sandbox


@pytest.fixture
def experiments(tmp_path):
    folder = tmp_path / "experiments"
    folder.mkdir()
    for path in (ROOT / "experiments").glob("*.yml"):
        (folder / path.name).write_text(path.read_text())
    return folder
