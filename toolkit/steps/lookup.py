"""Look-up: trait values by customer, written to a file that an application loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.design.lookup import ROW_COLUMNS, Lookup, values_of
from toolkit.design.sync import is_large
from toolkit.errors import PushRefused, SpecError
from toolkit.lake.lookup_files import read_previous, write_lookup
from toolkit.steps.standing import Standing, keep_released, standing_of
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["LookedUp", "lookup"]


@dataclass(frozen=True, slots=True)
class LookedUp:
    """A look-up that was written, and its manifest."""

    path: Path
    lookup: Lookup
    manifest: Mapping[str, Any]


def lookup(workspace: Workspace, spec: Spec, out: str | Path, *, allow_removals: int = 0) -> LookedUp:
    """Write the customers who have more than defaults, with their values, to the file `out`.

    `allow_removals` is how many customers of the file before may be missing, and how many protections may end,
    where that is a large part of them.

    Raises:
        SpecError: there are no traits, a trait is named like a column of ours, or `out` cannot be.
        DataError: what stands at `out` is no look-up, or that of another experiment.
        PushRefused: too many customers of the file before would be missing, or protected no more.
        NotEnoughData: nobody is assigned yet.
        VendorError, StorageError: Customer.io or the disk refused; the file before stays as it is.
    """
    path, experiment, at = _local(out), spec.experiment, workspace.now()
    _check_names(spec)
    previous = read_previous(path)
    if previous and previous.experiment != experiment.key:
        raise SpecError(
            f"--out {path}: holds the traits of {previous.experiment}, not of {experiment.key}; "
            "give each experiment a file of its own"
        )
    standing = standing_of(workspace, spec)
    values = values_of(
        experiment,
        standing.arms,
        barred=standing.barred,
        escalated=standing.escalated,
        attributes=standing.attributes,
        over=standing.over,
    )
    found = Lookup.of(experiment, values, previous, at=at)
    _refuse_large(path, found, standing, allow_removals)
    done = LookedUp(path, found, write_lookup(path, found))
    keep_released(workspace, experiment, standing)
    return done


def _refuse_large(path: Path, found: Lookup, standing: Standing, allowed: int) -> None:
    said, ending, released = [], found.leaving + len(standing.released), len(standing.released)
    if found.is_large_removal:
        said.append(
            f"more than a fifth of its customers would be missing ({found.leaving:,} of {found.before:,})"
        )
    if is_large(released, standing.before):
        said.append(
            f"{released:,} of {standing.before:,} customers who must not be offered anything would be in it; "
            "has the source lost the attribute?"
        )
    if said and ending > allowed:
        raise PushRefused(
            f"{path}: {', and '.join(said)}; it stays as it is. If that is meant, run again with "
            f"--allow-removals {ending}"
        )


def _local(out: str | Path) -> Path:
    if "://" in str(out):
        raise SpecError(f"--out {out}: must be a local file; copy it to an object store once it is written")
    return Path(out)


def _check_names(spec: Spec) -> None:
    if not spec.experiment.traits:
        raise SpecError(f"{spec.path}: traits: there are none, so there is nothing to look up")
    for at, trait in enumerate(spec.experiment.traits):
        if trait.name in {"id", *ROW_COLUMNS}:
            raise SpecError(
                f"{spec.path}: traits[{at}].name: {trait.name} is a column that every look-up has; rename the trait"
            )
