"""Neighbours: the other experiment files of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from toolkit.design.experiment import Experiment
from toolkit.design.parse import parse_experiment
from toolkit.errors import SpecError, ToolkitError
from toolkit.steps.workspace import Spec

__all__ = ["neighbours_of", "refuse_shared_key"]


def neighbours_of(spec: Spec, *, that_say: str = "") -> Iterator[tuple[Path, Experiment]]:
    """Return the other files of the spec's folder that can be read, of those whose text holds `that_say`."""
    own = Path(spec.path)
    for path in sorted({*own.parent.glob("*.yml"), *own.parent.glob("*.yaml")}):
        try:
            if path.samefile(own):
                continue
            text = path.read_text()
            if that_say in text:
                yield path, parse_experiment(text, str(path))
        except (ToolkitError, OSError, UnicodeDecodeError):
            continue  # what cannot be read enrols nobody


def refuse_shared_key(spec: Spec) -> None:
    """Refuse a key that another file of the folder has: both would be one ledger, and one folder of reports.

    Raises:
        SpecError: there is one; names both files.
    """
    key = spec.experiment.key
    for path, other in neighbours_of(spec, that_say=key):
        if other.key == key:
            raise SpecError(
                f"{spec.path}: key: {key} is also the key of {path}: both would have one ledger and one folder of "
                "reports; a key is unique for ever, so choose another, or move a copy out of the folder"
            )
