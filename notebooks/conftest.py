"""Before the notebooks are checked: a sandbox whose shoppers have lived two weeks, and a record to show."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from toolkit.demo import live_weeks, specs_of_the_demo, workspace_of
from toolkit.readout.record import as_json
from toolkit.sandbox import Sandbox

HERE = Path(__file__).parent
RECORD = HERE / "readout.json"
running = {}


def pytest_sessionstart(session):
    if not (session.config.getoption("nbval", False) or session.config.getoption("nbval_lax", False)):
        return
    folder = Path(tempfile.mkdtemp(prefix="lift-notebooks-"))
    box = Sandbox(seed=1, scale=0.4, limits=False).__enter__()
    looks = live_weeks(
        box, specs_of_the_demo(HERE.parent / "experiments"), folder / "lake", folder / "reports", weeks=2
    )
    RECORD.write_text(as_json(looks[-1]["vip-early-access"]), encoding="utf-8")
    os.environ |= box.environment() | {
        "LIFT_HOME": str(folder / "lake"),
        "LIFT_REPORTS": str(folder / "reports"),
    }
    running.update(box=box, folder=folder)


def pytest_sessionfinish(session):
    if running:
        running["box"].__exit__(None, None, None)
        shutil.rmtree(running["folder"], ignore_errors=True)
        RECORD.unlink(missing_ok=True)
