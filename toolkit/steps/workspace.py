"""Where work happens: the lake, the reports, the present, and what the environment says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from toolkit.design.durations import within_bounds
from toolkit.design.experiment import Experiment
from toolkit.design.parse import parse_experiment
from toolkit.errors import SpecError
from toolkit.lake.tables import Lake
from toolkit.settings import Settings

__all__ = ["Spec", "Workspace", "day_of"]


def day_of(value: str, what: str) -> date:
    """Return the date that somebody wrote as `what`.

    Raises:
        SpecError: it is none, or cannot be counted with.
    """
    try:
        on = datetime.strptime(value, "%Y-%m-%d").date()  # noqa: DTZ007 (a date has no zone)
    except ValueError:
        raise SpecError(f"{what} {value}: is no date; write it as 2026-11-23") from None
    try:
        return within_bounds(on)
    except ValueError as wrong:
        raise SpecError(f"{what}: {wrong}") from None


@dataclass(frozen=True, slots=True)
class Spec:
    """An experiment file that has been read.

    Attributes:
        path: as the user wrote it; other files are looked for beside it.
        digest: SHA-256 of its bytes.
    """

    path: str
    experiment: Experiment
    digest: str

    @classmethod
    def read(cls, path: str | Path) -> Spec:
        """Return the experiment that the file at `path` describes.

        Raises:
            SpecError: it is missing, or wrong.
        """
        try:
            content = Path(path).read_bytes()
            text = content.decode()
        except FileNotFoundError:
            raise SpecError(f"{path}: no such file; give the path of an experiment file (.yml)") from None
        except (OSError, UnicodeDecodeError) as refused:
            raise SpecError(f"{path}: cannot be read: {refused}") from None
        return cls(str(path), parse_experiment(text, str(path)), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class Workspace:
    """What a step needs besides the spec."""

    settings: Settings
    lake: Lake

    @classmethod
    def open(cls, settings: Settings | None = None) -> Workspace:
        """Return the workspace that the environment describes.

        Raises:
            SettingsError: a variable has a value that cannot be used.
        """
        settings = settings or Settings.read()
        return cls(settings, Lake(settings.lift_home))

    @property
    def reports(self) -> Path | str:
        """Return where readouts are written to: a folder's path, or an object store's URL as text."""
        return self.settings.lift_reports

    def now(self) -> datetime:
        """Return the present as an aware UTC instant."""
        return self.settings.now()
