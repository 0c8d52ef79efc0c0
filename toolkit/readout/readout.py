"""The readout: sections that show themselves in a notebook, and together make the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from toolkit.errors import DataError
from toolkit.readout import story, words
from toolkit.readout.cards import effects, money, paper, people, time, trust
from toolkit.readout.cards.headline import headline
from toolkit.readout.parts import TEMPLATES, Section, templates
from toolkit.readout.view import LiftView, unit_of

__all__ = ["Readout"]

SCHEMA = 1
NEEDED = {"design": dict, "verdict": dict, "provenance": dict, "arms": list, "checks": list, "lifts": list}


def scoped_stylesheet() -> Markup:
    """Return the stylesheet for a notebook: it touches a readout's sections and nothing else there."""
    rules = (TEMPLATES / "readout.css").read_text(encoding="utf-8")
    for outside in (":root{", "body{"):
        rules = rules.replace(outside, "&{")
    rules = f"dt{{float:none;width:auto;font-weight:400}}{rules}"  # Jupyter sets terms beside what they mean
    # nested in three classes each rule weighs more than Jupyter's own for cells of tables, which weigh two
    return Markup("@scope (.lift){{:scope.lift.lift{{{}}}}}").format(Markup(rules))  # noqa: S704 (our own stylesheet)


@dataclass(frozen=True)
class Readout:
    """A view of a record, as `lift measure --json` writes it. Nothing here estimates anything."""

    record: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> Readout:
        """Return the readout of the record at `path`.

        Raises:
            DataError: the file is missing or is no record.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(
                f"{path}: no such file; run `lift readout SPEC`, or write a record with "
                "`lift measure SPEC --json readout.json` beside this notebook"
            ) from None
        except ValueError:
            raise DataError(
                f"{path}: is no readout record; write one with `lift measure SPEC --json FILE`"
            ) from None
        whole = (
            isinstance(record, dict)
            and record.get("schema") == SCHEMA
            and all(isinstance(record.get(name), kind) for name, kind in NEEDED.items())
            and record["verdict"].get("status") in words.STATUS
        )
        if not whole:
            raise DataError(
                f"{path}: is no readout record of schema {SCHEMA}; write one with `lift measure SPEC --json FILE`"
            )
        return cls(record)

    def __repr__(self) -> str:
        return f"readout of {self.record['experiment']}, {self.record['as_of']}"

    def _repr_html_(self) -> str:
        return str(templates().get_template("look.html.j2").render(readout=self, style=scoped_stylesheet()))

    # ---- what the sections are made of ------------------------------------------------------------

    @property
    def design(self) -> Mapping[str, Any]:
        """Return what the experiment file says."""
        found: Mapping[str, Any] = self.record["design"]
        return found

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        """Return the checks that withhold the verdict."""
        return [each for each in self.record["checks"] if each["status"] == "fail"]

    @property
    def status(self) -> str:
        """Return the verdict's status; with a failed check there is none to be read."""
        return "not_readable" if self.failed else str(self.record["verdict"]["status"])

    @property
    def at_a_loss(self) -> bool:
        """Return whether what was gained surely cost more than it brought."""
        return story.at_a_loss(self.record, self.views, self.status)

    @property
    def status_name(self) -> str:
        """Return the status as a reader says it."""
        return words.AT_A_LOSS if self.at_a_loss else words.STATUS[self.status][0]

    @property
    def simulated(self) -> bool:
        """Return whether the rows are made up."""
        return bool(self.record["provenance"].get("simulated"))

    @property
    def provisional(self) -> bool:
        """Return whether the numbers may still change of themselves."""
        maturity = self.record.get("maturity") or {}
        return self.status == "provisional" or bool(maturity.get("provisional"))

    @property
    def finished(self) -> bool:
        """Return whether enrolment has ended and the primary metrics' last window has closed."""
        complete = self.design.get("complete_on")
        return complete is not None and str(self.record["as_of"]) >= str(complete)

    @property
    def level(self) -> str:
        """Return the intervals' level in words, such as 95%."""
        return f"{round(100 * (1 - self.design['alpha']), 4):g}%"

    @cached_property
    def views(self) -> list[LiftView]:
        """Return all comparisons over the whole cohort; none where a check failed."""
        return [] if self.failed else [each for each in self._all_views if each.lift["breakdown"] is None]

    @cached_property
    def cuts(self) -> list[LiftView]:
        """Return all comparisons within a breakdown's levels; none where a check failed."""
        return [] if self.failed else [each for each in self._all_views if each.lift["breakdown"] is not None]

    @cached_property
    def _all_views(self) -> list[LiftView]:
        metrics = {each["name"]: each for each in self.design["metrics"]}
        return [
            LiftView(
                {**each, "notes": [self.prose(note) for note in each.get("notes", ())]},
                unit_of(metrics.get(each["metric"], each), self.design["value"]),
            )
            for each in self.record["lifts"]
        ]

    def prose(self, said: str) -> str:
        """Return a sentence of the record as pages say it."""
        return words.prose(said, self.record)

    def named(self, view: LiftView) -> str:
        """Return what a sentence calls a comparison: the metric, and the arm where there are several."""
        return view.title if len(self.record["arms"]) < 3 else f"{view.title} ({view.arm})"

    # ---- the sections -------------------------------------------------------------------------------

    def headline(self) -> Section:
        """Return the first screen: question, verdict, what to do, a picture, sizes, dates, checks."""
        return headline(self)

    def changes(self) -> Section:
        """Return what is otherwise than on the page before this one."""
        return Section.of(time.changes(self), "changes")

    def intervals(self) -> Section:
        """Return every metric's relative lift, by role."""
        return Section.of(effects.all_metrics(self), "intervals")

    def by_week(self) -> Section:
        """Return the primary metrics' lift at every look, with the decision boundary."""
        return Section.of(time.weeks(self), "weeks")

    def worth(self) -> Section:
        """Return incremental orders, revenue and profit, and the return on the offer."""
        return Section.of(money.worth(self), "worth")

    def guardrails(self) -> Section:
        """Return guardrails against their margins."""
        return Section.of(effects.guardrails(self), "guardrails")

    def exposed(self) -> Section:
        """Return the effect on those who were reached."""
        return Section.of(people.exposed(self), "exposed")

    def families(self) -> Section:
        """Return secondary comparisons, alone and corrected for being several."""
        return Section.of(effects.families(self), "families")

    def breakdowns(self) -> Section:
        """Return the primary metric's lift by group, marked exploratory."""
        return Section.of(people.breakdowns(self), "breakdowns")

    def lift_table(self) -> Section:
        """Return every way of estimating beside the others."""
        return Section.of(effects.estimates(self), "lifts")

    def arms(self) -> Section:
        """Return the arms' sizes beside those planned, now and at every look."""
        return Section.of(people.arms(self), "arms")

    def checks(self) -> Section:
        """Return every check with its answer, and what to do where it did not pass."""
        return Section.of(trust.checks(self), "checks")

    def propagation(self) -> Section:
        """Return how soon traits were read back, against the age they may have."""
        return Section.of(trust.propagation(self), "propagation")

    def restatements(self) -> Section:
        """Return earlier numbers that would be said otherwise today."""
        return Section.of(time.restatements(self), "restatements")

    def decisions(self) -> Section:
        """Return the decision log."""
        return Section.of(paper.decisions(self), "decisions")

    def method(self) -> Section:
        """Return how the numbers were made, in words."""
        return Section.of(paper.method(self), "method")

    def definitions(self) -> Section:
        """Return what metrics count, what traits mean, and who owns what."""
        return Section.of(paper.definitions(self), "definitions")

    def provenance(self) -> Section:
        """Return what this readout was made from, and how to make it again."""
        return Section.of(paper.provenance(self), "provenance")

    def sections(self) -> Sequence[Section]:
        """Return all sections that have something to say, in the page's order."""
        made = (
            self.headline(),
            self.intervals(),
            self.by_week(),
            self.worth(),
            self.guardrails(),
            self.exposed(),
            self.families(),
            self.breakdowns(),
            self.arms(),
            self.checks(),
            self.propagation(),
            self.changes(),
            self.restatements(),
            self.decisions(),
            self.lift_table(),
            self.method(),
            self.definitions(),
            self.provenance(),
        )
        return tuple(each for each in made if each.html)
