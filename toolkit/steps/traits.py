"""Traits: the contracts of a folder's experiments, and where they clash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.design.catalogue import Advice, Entry, catalogue_of, conflicts
from toolkit.design.experiment import Experiment
from toolkit.errors import SpecError
from toolkit.steps.workspace import Spec

__all__ = ["Folder", "TraitsOfFolder", "read_folder", "traits"]


@dataclass(frozen=True, slots=True)
class Folder:
    """The experiment files of a folder: path → experiment, and path → why it cannot be read."""

    experiments: dict[str, Experiment]
    unreadable: dict[str, str]


@dataclass(frozen=True, slots=True)
class TraitsOfFolder:
    """The traits of a folder, by name, and what deserves a second look."""

    folder: str
    entries: tuple[Entry, ...]
    conflicts: tuple[Advice, ...]


def read_folder(folder: str | Path) -> Folder:
    """Return the experiment files of `folder`, in the order of their names."""
    found = Folder({}, {})
    for path in sorted({*Path(folder).glob("*.yml"), *Path(folder).glob("*.yaml")}):
        try:
            found.experiments[str(path)] = Spec.read(path).experiment
        except SpecError as wrong:
            found.unreadable[str(path)] = str(wrong)
    return found


def traits(folder: str) -> TraitsOfFolder:
    """Return the traits of all experiments in `folder`.

    Raises:
        SpecError: there are no experiment files, or some cannot be read.
    """
    found = read_folder(folder)
    if found.unreadable:
        raise SpecError("\n".join(found.unreadable.values()))
    if not found.experiments:
        raise SpecError(f"{folder}: no experiment files (*.yml) here")
    return TraitsOfFolder(folder, catalogue_of(found.experiments), conflicts(found.experiments))
