"""A readout: a frozen view of the record, section by section."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import DataError
from toolkit.readout import explain, pictures, words
from toolkit.readout.page import Section, fill, stylesheet
from toolkit.readout.view import LiftView, unit_of

__all__ = ["Readout", "Section"]

SCHEMA = 1
NEEDED = {
    "experiment": str,
    "as_of": str,
    "arms": list,
    "checks": list,
    "lifts": list,
    "verdict": dict,
    "design": dict,
    "provenance": dict,
}
ROLES = ("primary", "secondary", "guardrail")


@dataclass(frozen=True, slots=True)
class Readout:
    """What one measurement says, ready to be shown.

    Each method returns a section that shows itself in a notebook. With a failed check no section holds a lift.
    """

    record: Mapping[str, Any]

    @classmethod
    def of(cls, record: Mapping[str, Any], source: str = "the record") -> Readout:
        """Return a view of `record`, copied.

        Raises:
            DataError: it is no record of this kind; the message begins with `source`.
        """
        if record.get("schema") != SCHEMA:
            raise DataError(
                f"{source}: has schema {record.get('schema')!r}, and this toolkit reads {SCHEMA}; "
                "make the readout again with lift readout"
            )
        for name, kind in NEEDED.items():
            if not isinstance(record.get(name), kind):
                raise DataError(
                    f"{source}: `{name}` is missing or of the wrong kind; make it with lift readout"
                )
        status = record["verdict"].get("status")
        if status not in words.STATUS:
            raise DataError(f"{source}: verdict.status is {status!r}; it is one of {', '.join(words.STATUS)}")
        return cls(copy.deepcopy(dict(record)))

    @classmethod
    def read(cls, path: str | Path) -> Readout:
        """Return the readout whose record is the file at `path`.

        Raises:
            DataError: there is no such file, or it is no record.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(
                f"{path}: no such file. Make a readout with lift readout experiments/<key>.yml, then set "
                '`record` in the first cell to its file, such as "../reports/<key>/<date>/readout.json"'
            ) from None
        except (OSError, ValueError) as wrong:
            raise DataError(f"{path}: cannot be read as a readout: {wrong}") from None
        if not isinstance(record, dict):
            raise DataError(f"{path}: holds no readout; make it with lift readout")
        return cls.of(record, str(path))

    def _repr_html_(self) -> str:
        return str(fill("look.html", css=stylesheet(), readout=self))

    def __repr__(self) -> str:
        return f"<readout of {self.key} as of {self.as_of}: {self.status}>"

    # ---- facts ----------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """Return the experiment's key."""
        return str(self.record["experiment"])

    @property
    def as_of(self) -> str:
        """Return the date up to whose end outcomes count."""
        return str(self.record["as_of"])

    @property
    def design(self) -> Mapping[str, Any]:
        """Return the experiment as its file describes it."""
        design: Mapping[str, Any] = self.record["design"]
        return design

    @property
    def title(self) -> str:
        """Return the name that people read."""
        return str(self.design.get("name") or self.key)

    @property
    def checks_failed(self) -> Sequence[Mapping[str, Any]]:
        """Return the checks that withhold the verdict."""
        return [check for check in self.record["checks"] if check["status"] == "fail"]

    @property
    def status(self) -> str:
        """Return the verdict in one word; a failed check outweighs what the record says."""
        return "not_readable" if self.checks_failed else str(self.record["verdict"]["status"])

    @property
    def verdict(self) -> str:
        """Return the verdict in a sentence, without any number where a check failed."""
        failed = len(self.checks_failed)
        return words.withheld(failed) if failed else str(self.record["verdict"]["text"])

    @property
    def provisional(self) -> bool:
        """Return whether the data are not complete yet."""
        return self.status == "provisional"

    @property
    def confidence(self) -> str:
        """Return the intervals' level, such as `95%`."""
        return f"{round(100 * (1 - float(self.design.get('alpha', 0.05))), 4):g}%"

    @property
    def control(self) -> str:
        """Return the control, as words."""
        return words.arm_name(str(self.design.get("control", "control")))

    @property
    def customers(self) -> int:
        """Return how many customers are assigned."""
        return sum(int(arm["customers"]) for arm in self.record["arms"])

    def lifts(self, breakdown: str | None = None) -> list[LiftView]:
        """Return the comparisons that may be shown, primary metrics first; none where a check failed."""
        if self.checks_failed:
            return []
        units = {each["name"]: unit_of(each, self.design.get("value")) for each in self.design["metrics"]}
        found = [
            LiftView(lift, units.get(lift["metric"]) or unit_of(lift, None))
            for lift in self.record["lifts"]
            if lift.get("breakdown") == breakdown
        ]
        return sorted(found, key=lambda lift: ROLES.index(lift.role) if lift.role in ROLES else len(ROLES))

    # ---- sections -------------------------------------------------------------------------------

    def headline(self) -> Section:
        """Return what, the verdict, and where checks failed why and what to do."""
        label, meaning = words.STATUS[self.status]
        return self._section("headline", label=label, meaning=meaning, long=len(self.verdict) > 170)

    def primary_chart(self) -> Section:
        """Return the primary metrics' intervals against zero; without one, the guardrails'."""
        return self._figures("primary", *pictures.primary(self))

    def glance(self) -> Section:
        """Return sizes, dates and the checks' traffic light."""
        return self._section("glance", wide=not pictures.primary(self)[1])

    def history(self) -> Section:
        """Return the cumulative lift at every look, where there was more than one."""
        return self._figures("history", "Week by week", pictures.history(self), words.HISTORY)

    def interval_chart(self) -> Section:
        """Return all metrics' intervals by role and arm: relative lifts, and guardrails against their margins."""
        return self._figures("intervals", "All metrics", pictures.forest(self), words.CHART_HINT)

    def lift_table(self) -> Section:
        """Return every comparison with means, differences and p-values, each way it was estimated."""
        return self._section("lifts", lifts=self.lifts())

    def arms(self) -> Section:
        """Return the arms' sizes, planned and actual."""
        return self._figures("arms", "Customers per arm", pictures.arms(self), words.ARMS)

    def checks(self) -> Section:
        """Return every check, what it asked and what it found."""
        return self._section("checks")

    def breakdowns(self) -> Section:
        """Return lifts by level of each breakdown, marked as exploratory."""
        return self._section("breakdowns", breakdowns=pictures.breakdowns(self))

    def method(self) -> Section:
        """Return how the numbers were made, in plain words, from what the record says."""
        return self._section("method", paragraphs=explain.method(self))

    def definitions(self) -> Section:
        """Return what every metric and trait means."""
        return self._section("definitions")

    def decisions(self) -> Section:
        """Return owners, decisions and notes."""
        return self._section("decisions")

    def provenance(self) -> Section:
        """Return where the numbers come from, and the command that makes them again."""
        return self._section("provenance", command=words.rebuild(self.key, self.as_of))

    def sections(self) -> tuple[Section, ...]:
        """Return all sections in the page's order."""
        return (
            self.headline(),
            self.primary_chart(),
            self.glance(),
            self.history(),
            self.interval_chart(),
            self.lift_table(),
            self.arms(),
            self.checks(),
            self.breakdowns(),
            self.method(),
            self.definitions(),
            self.decisions(),
            self.provenance(),
        )

    def _section(self, name: str, **context: Any) -> Section:
        return Section(
            name, fill(f"{name}.html", readout=self, record=self.record, design=self.design, **context)
        )

    def _figures(self, name: str, title: str, figures: Sequence[pictures.Figure], hint: str = "") -> Section:
        html = fill("figures.html", name=name, title=title, figures=figures, hint=hint)
        return Section(name, html if figures else html[:0])
