"""The weekly job: pull, measure and publish every experiment of a folder, the index of all, and a digest."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from toolkit.errors import SpecError, StorageError, ToolkitError
from toolkit.readout.digest import Entry, digest_of
from toolkit.readout.reports import reach, write_index
from toolkit.steps.neighbours import refuse_shared_key
from toolkit.steps.pull import pull
from toolkit.steps.readout import kept, readout
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Outcome", "weekly", "write_digest"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one experiment in a weekly run.

    Attributes:
        spec: the experiment file.
        page: its path or URL; None where nothing was published.
        record: the readout; None where there is none.
        before: the readout kept last before this one, whatever its date up to this one's.
        error: why there is no page, or no fresh data.
        exit_status: what the whole run's is at least.
    """

    spec: str
    page: Path | str | None
    record: dict[str, Any] | None
    before: dict[str, Any] | None
    error: str | None
    exit_status: int


def weekly(
    workspace: Workspace,
    folder: str | Path,
    *,
    as_of: date | None = None,
    rebuild: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Outcome]:
    """Pull, measure and publish every experiment of `folder`, then the index; one that fails stops no other.

    With `rebuild` nothing is pulled, and readouts are made from what was read for them then.

    Raises:
        SpecError: there is no experiment file in the folder.
        SettingsError, StorageError: the reports are in an object store, and it cannot be reached; or their index
            cannot be written.
    """
    paths = sorted({*Path(folder).glob("*.yml"), *Path(folder).glob("*.yaml")})
    if not paths:
        raise SpecError(f"{folder}: no experiment files (*.yml) here")
    reach(workspace.reports)
    outcomes = []
    for at, path in enumerate(paths):
        if progress:
            progress("readouts", at, len(paths))
        outcomes.append(_one(workspace, path, as_of, rebuild=rebuild))
    if progress:
        progress("readouts", len(paths), len(paths))
    failures = {
        Path(each.spec).stem: each.error
        for each in outcomes
        if each.error and each.exit_status and each.page is None
    }
    write_index(workspace.reports, failures)
    return outcomes


def write_digest(
    outcomes: Sequence[Outcome], target: str | Path, reports: Path | str, *, base: str = ""
) -> None:
    """Write the run's digest to `target`, a local file, whole or not at all.

    Links begin with `base`, without it with the object store's URL, and are relative where `reports` is a folder.

    Raises:
        StorageError: it cannot be written.
    """
    entries = [
        Entry(
            each.spec,
            each.record,
            each.before,
            f"{each.record['experiment']}/{each.record['as_of']}/index.html"
            if each.page and each.record
            else None,
            each.error if each.exit_status else None,  # what has yet to begin needs no look
        )
        for each in outcomes
    ]
    newest = max((each.record["as_of"] for each in outcomes if each.record), default="")
    store = reports if isinstance(reports, str) else ""
    said = digest_of(entries, as_of=newest or "this date", base=base or store)
    path = Path(target)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(said, encoding="utf-8")
        beside.replace(path)
    except OSError as refused:
        beside.unlink(missing_ok=True)
        raise StorageError(f"{target}: cannot be written: {refused.strerror}") from None


def _one(workspace: Workspace, path: Path, as_of: date | None, *, rebuild: bool) -> Outcome:
    try:
        return _published(workspace, path, as_of, rebuild=rebuild)
    except Exception as fault:  # noqa: BLE001 (a fault of one experiment's run takes no other's page)
        traceback.print_exc()
        said = f"a fault of lift itself: {type(fault).__name__}: {fault}; what it printed tells where"
        return Outcome(str(path), None, None, None, said, 3)


def _published(workspace: Workspace, path: Path, as_of: date | None, *, rebuild: bool) -> Outcome:
    stale: ToolkitError | None = None
    before = None
    try:
        spec = Spec.read(path)
        refuse_shared_key(spec)
        if not rebuild and spec.experiment.pulls:
            try:
                pull(workspace, spec)
            except (
                ToolkitError
            ) as refused:  # what the lake holds is still worth reading; freshness is checked
                stale = refused
        day = as_of or workspace.now().astimezone(spec.experiment.zone).date()
        before = kept(workspace, spec, until=day)
        found, page = readout(workspace, spec, as_of=as_of, rebuild=rebuild)
    except ToolkitError as wrong:
        return Outcome(str(path), None, None, before, str(stale or wrong), (stale or wrong).exit_status)
    status = stale.exit_status if stale else int(found["verdict"]["status"] == "not_readable")
    return Outcome(str(path), page, found, before, str(stale) if stale else None, status)
