"""Where work happens: the lake, the reports, the present, and what the environment says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from pathlib import Path

from toolkit.design.durations import within_bounds
from toolkit.design.experiment import Experiment
from toolkit.design.parse import parse_experiment
from toolkit.errors import SpecError
from toolkit.lake.tables import Lake
from toolkit.settings import Settings

__all__ = ["SIMULATED", "Spec", "Workspace", "day_of"]

SIMULATED = "SIMULATED"
"""A file of this name in the lake's folder says that its rows are made up."""


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
        except IsADirectoryError:
            inside = sorted(each.name for each in Path(path).iterdir() if each.suffix in {".yml", ".yaml"})
            mend = (
                f"name one experiment file in it, such as {inside[0]}"
                if inside
                else "there is no .yml file in it"
            )
            raise SpecError(f"{path}: is a folder; {mend}") from None
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

    def today(self, zone: tzinfo) -> date:
        """Return the present's date in `zone`."""
        return self.now().astimezone(zone).date()

    def ahead(self, as_of: date | None, zone: tzinfo) -> str | None:
        """Return in words that `as_of` is yet to come, if it is: part of a day, or nothing of it, is known."""
        today = self.today(zone)
        if as_of is None or as_of <= today:
            return None
        return f"{as_of} is yet to come: what is counted is what is known on {today}"

    def mark_simulated(self) -> None:
        """Say in the lake's folder that what is kept there is made up; pages made from it say so for ever."""
        home = Path(self.settings.lift_home)
        home.mkdir(parents=True, exist_ok=True)
        (home / SIMULATED).write_text("Made-up shoppers and vendors; may be deleted.\n", encoding="utf-8")

    def simulated(self, experiment: Experiment) -> dict[str, str] | None:
        """Return the variables that lead back to the made-up rows `experiment` rests on; None where they are real.

        An experiment that is assigned and measured on files reads nothing of the lake.
        """
        home = self.settings.lift_home
        on_files = experiment.assignment.source == "files" and not experiment.pulls
        if on_files or "://" in home or not Path(home, SIMULATED).exists():
            return None
        return {"LIFT_HOME": home, "LIFT_REPORTS": str(self.reports)}
