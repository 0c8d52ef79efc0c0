"""The demo: the whole loop against the sandbox, week after week, with the truth beside the measurement."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from typing import Any

from toolkit.errors import DataError, SpecError
from toolkit.readout.index import write_index
from toolkit.readout.readout import Readout
from toolkit.readout.record import as_json
from toolkit.readout.render import publish
from toolkit.sandbox import PROGRAMS, Sandbox
from toolkit.settings import Settings
from toolkit.show.published import truths_text
from toolkit.steps.assign import assign
from toolkit.steps.pull import pull
from toolkit.steps.push import Pushed, open_launchdarkly, plan_push, push
from toolkit.steps.readout import keep, record
from toolkit.steps.workspace import SIMULATED, Spec, Workspace

__all__ = ["Truth", "live_weeks", "run_demo", "serve", "truths", "workspace_of"]

Progress = Callable[[str, int, int], None]
METRICS_KNOWN = ("purchase_rate", "revenue", "aov", "unsubscribe_rate")


@dataclass(frozen=True, slots=True)
class Truth:
    """A metric's true effect per assigned customer beside what was measured."""

    experiment: str
    arm: str
    metric: str
    true: float
    value: float | None
    low: float | None
    high: float | None
    trusted: bool

    @property
    def covered(self) -> bool | None:
        """Return whether the interval holds the truth; None where there is none to be trusted."""
        if not self.trusted or self.low is None or self.high is None:
            return None
        return self.low <= self.true <= self.high


def specs_of_the_demo(folder: str | Path = "experiments") -> list[Spec]:
    """Return the experiments of `folder` that the sandbox's shoppers take part in.

    Raises:
        SpecError: there are none, or one of them is wrong.
    """
    found = [Spec.read(path) for path in sorted(Path(folder).glob("*.yml"))]
    known = [spec for spec in found if spec.experiment.key in PROGRAMS]
    if not known:
        raise SpecError(
            f"{folder}: none of the demo's experiments ({', '.join(PROGRAMS)}) is here; run it in the project's folder"
        )
    return known


def workspace_of(box: Sandbox, home: Path, reports: Path) -> Workspace:
    """Return a workspace that talks to `box`, at its simulated present; its lake says that it is made up."""
    said: dict[str, Any] = {name.lower(): value for name, value in box.environment().items()}
    workspace = Workspace.open(Settings(**(said | {"lift_home": str(home), "lift_reports": reports})))
    workspace.mark_simulated()
    return workspace


def clear(home: Path, reports: Path) -> None:
    """Remove what an earlier simulated world left: its lake, and the weeks under `reports` that say so themselves.

    Raises:
        DataError: what stands at `home` is not said to be simulated; it stays.
    """
    if home.exists() and any(home.iterdir()):
        if not (home / SIMULATED).exists():
            raise DataError(
                f"{home}: holds a lake that no simulation made; move it away, or set LIFT_HOME to another folder"
            )
        shutil.rmtree(home)
    for place in reports.glob("*/*/readout.json"):
        with suppress(DataError):
            if Readout.read(place).simulated:
                shutil.rmtree(place.parent)


def live_weeks(
    box: Sandbox,
    specs: Sequence[Spec],
    home: Path,
    reports: Path,
    *,
    weeks: int,
    progress: Progress = lambda *_: None,
) -> list[dict[str, dict[str, Any]]]:
    """Run assign, push, (shoppers live a week,) pull and measure every week; return each week's records."""
    looks = []
    for week in range(weeks):
        workspace = workspace_of(box, home, reports)
        for spec in specs:
            progress("assign and push", week * len(specs) + specs.index(spec), weeks * len(specs))
            assign(workspace, spec)
            push_now(workspace, spec)
        progress("simulated weeks", week, weeks)
        box.advance(7)
        workspace = workspace_of(box, home, reports)
        found = {}
        for spec in specs:
            pull(workspace, spec)
            found[spec.experiment.key] = record(workspace, spec, as_of=last_day(box))
            keep(workspace, found[spec.experiment.key])
        looks.append(found)
    progress("assign and push", weeks * len(specs), weeks * len(specs))
    progress("simulated weeks", weeks, weeks)
    return looks


def push_now(workspace: Workspace, spec: Spec) -> Pushed:
    """Plan and apply."""
    with open_launchdarkly(workspace, spec) as client:
        return push(workspace, spec, client, plan_push(workspace, spec, client))


def last_day(box: Sandbox) -> date:
    """Return the last whole simulated day."""
    return (box.now - timedelta(seconds=1)).date()


def truths(box: Sandbox, workspace: Workspace, spec: Spec, found: dict[str, Any]) -> list[Truth]:
    """Return, for every metric and arm, the true effect on the customers assigned, and what `found` says."""
    experiment = spec.experiment
    ledger = [
        (row["id"], row["arm"], row["assigned_at"])
        for row in workspace.lake.records("assignments", experiment=experiment.key)
    ]
    end = experiment.end_of(date.fromisoformat(found["as_of"]))
    out = []
    for lift in found["lifts"]:
        if lift["breakdown"] is not None or lift["metric"] not in METRICS_KNOWN:
            continue
        metric = next(each for each in experiment.metrics if each.name == lift["metric"])
        true = box.truth(experiment.key, metric.name, ledger, end, arm=lift["arm"], window=metric.window)
        block = lift[lift["decision"]]
        out.append(
            Truth(experiment.key, lift["arm"], metric.name, true, **ends_of(block), trusted=lift["trusted"])
        )
    return out


def ends_of(block: dict[str, Any] | None) -> dict[str, float | None]:
    """Return value and ends of a record's block, None where there is none."""
    return {name: block["absolute"][name] if block else None for name in ("value", "low", "high")}


def run_demo(*, seed: int, weeks: int, progress: Progress) -> str:
    """Run the demo and return what to print: where the reports are, and truth beside measurement."""
    settings, specs = Settings.read(), specs_of_the_demo()
    home, reports = settings.home_folder() / "demo", settings.reports_folder() / "demo"
    clear(home, reports)
    with Sandbox(seed=seed) as box:
        looks = live_weeks(box, specs, home, reports, weeks=weeks, progress=progress)
        for found in looks[:-1]:
            for key, each in found.items():
                folder = reports / key / each["as_of"]
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "readout.json").write_text(as_json(each), encoding="utf-8")
        pages = []
        each_alone = get_context("spawn")  # running a notebook changes the process's folder
        with ProcessPoolExecutor(max_workers=2, mp_context=each_alone) as pool:
            for at, page in enumerate(pool.map(publish, looks[-1].values(), repeat(reports))):
                progress("readouts", at + 1, len(specs))
                pages.append(page)
        workspace = workspace_of(box, home, reports)
        known = [
            each for spec in specs for each in truths(box, workspace, spec, looks[-1][spec.experiment.key])
        ]
    index = write_index(reports)
    now = box.now - timedelta(seconds=1)  # of the day that the pages are of
    present = {"LIFT_HOME": str(home), "LIFT_REPORTS": str(reports), "LIFT_NOW": now.isoformat()}
    return truths_text(known, looks[-1], [index, *pages], present, specs[0].path)


def serve(command: Sequence[str], *, seed: int, weeks: int, port: int = 0) -> int:
    """Serve the sandbox; run `command` against it, or wait until interrupted; return an exit status."""
    settings = Settings.read()
    home, reports = settings.home_folder() / "sandbox", settings.reports_folder() / "sandbox"
    with Sandbox(seed=seed, port=port) as box:
        if weeks:
            clear(home, reports)
            live_weeks(box, specs_of_the_demo(), home, reports, weeks=weeks)
        workspace_of(box, home, reports)
        variables = box.environment() | {
            "LIFT_HOME": str(home.resolve()),
            "LIFT_REPORTS": str(reports.resolve()),
        }
        if command:
            return _ended(subprocess.Popen(command, env=os.environ | variables))  # noqa: S603 (the user's own command)
        for name, value in variables.items():
            print(f"export {name}={value}", flush=True)  # noqa: T201
        with suppress(KeyboardInterrupt):
            Event().wait()
    return 0


def _ended(command: subprocess.Popen[bytes]) -> int:
    """Wait until a command has ended, and return its exit status.

    Whoever interrupts interrupts it, and it decides what that means (JupyterLab asks); who asks this process to end,
    ends it.
    """
    signal.signal(signal.SIGTERM, lambda *_: command.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = command.wait()
    return status if status >= 0 else 128 - status
