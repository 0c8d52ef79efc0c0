"""The readout: sections that show themselves in a notebook, and together make the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from toolkit.errors import DataError
from toolkit.readout import words
from toolkit.readout.charts import Row, intervals, sizes
from toolkit.readout.figures import DASH, count, day, instant, p_value, percent
from toolkit.readout.svg import icon
from toolkit.readout.trend import Look, by_week
from toolkit.readout.view import RELATIVE, LiftView, unit_of

__all__ = ["TEMPLATES", "Readout", "Section", "templates"]

TEMPLATES = Path(__file__).parent / "template"
SHAPES = {"primary": "primary", "secondary": "secondary", "guardrail": "guardrail"}
SCHEMA = 1
NEEDED = {"design": dict, "verdict": dict, "provenance": dict, "arms": list, "checks": list, "lifts": list}


def templates() -> Environment:
    """Return the templates: everything is escaped, and a name that is missing is an error."""
    loaded = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.globals.update(icon=icon, words=words, count=count, percent=percent, day=day, p_value=p_value)
    return loaded


def scoped_stylesheet() -> Markup:
    """Return the stylesheet for a notebook: it touches a readout's sections and nothing else there."""
    rules = (TEMPLATES / "readout.css").read_text(encoding="utf-8")
    for outside in (":root{", "body{"):
        rules = rules.replace(outside, ":scope{")
    return Markup("@scope (.lift){{{}}}").format(Markup(rules))  # noqa: S704 (our own stylesheet)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; in a notebook it shows itself."""

    key: str
    html: Markup

    def _repr_html_(self) -> str:
        return f'<div class="lift">{self.html}</div>'


@dataclass(frozen=True)
class Readout:
    """A view of a record, as `lift measure --json` writes it. Nothing here computes a number."""

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
    def level(self) -> str:
        """Return the intervals' level in words, such as 95 %."""
        return f"{round(100 * (1 - self.design['alpha']), 4):g}%"

    @cached_property
    def views(self) -> list[LiftView]:
        """Return all comparisons over the whole cohort; none where a check failed."""
        return [] if self.failed else [each for each in self._all_views if each.lift["breakdown"] is None]

    @cached_property
    def _all_views(self) -> list[LiftView]:
        metrics = {each["name"]: each for each in self.design["metrics"]}
        return [
            LiftView(each, unit_of(metrics.get(each["metric"], each), self.design["value"]))
            for each in self.record["lifts"]
        ]

    def _section(self, key: str, **values: Any) -> Section:
        shown = templates().get_template(f"{key}.html.j2").render(readout=self, **values)
        return Section(key, Markup(shown))  # noqa: S704 (escaped by the template)

    # ---- the sections, in the page's order ----------------------------------------------------------

    def headline(self) -> Section:
        """Return the first screen: question, verdict, the primary interval, sizes, dates, checks."""
        status = "not_readable" if self.failed else self.record["verdict"]["status"]
        name, meaning = words.STATUS[status]
        sizes_said = ", ".join(
            f"{words.arm_name(each['arm'])} {count(each['customers'])}" for each in self.record["arms"]
        )
        facts = [
            ("Customers", sizes_said),
            ("Enrolment", f"{day(self.design['start'])} to {day(self.design['end'])}"),
            ("As of", day(self.record["as_of"])),
            (
                "Data through",
                instant(self.record["data_through"]) if self.record["data_through"] else "not recorded",
            ),
        ]
        return self._section(
            "headline",
            status=status,
            name=name,
            meaning=meaning,
            facts=facts,
            verdict=words.withheld(len(self.failed)) if self.failed else self.record["verdict"]["text"],
            chart=self._primary(),
        )

    def _primary(self) -> Markup:
        """Return a drawing per primary metric, each on its own scale, and per guardrail that was harmed."""
        harmed = [each for each in self.views if each.trusted and each.lift.get("answer") == "harm"]
        chosen = [each for each in self.views if each.role == "primary" or each in harmed] or self.views[:1]
        return Markup("").join(
            self._against_zero("primary" if place == 0 else f"primary-{place}", metric, chosen)
            for place, metric in enumerate(dict.fromkeys(each.metric for each in chosen))
        )

    def _against_zero(self, identifier: str, metric: str, among: Sequence[LiftView]) -> Markup:
        """Return the metric's differences, with the margin where it has one."""
        chosen = [each for each in among if each.metric == metric]
        first, margin = chosen[0], chosen[0].margin
        said = "" if margin is None else first.unit.change(margin, first.unit.decimals(None, None, margin))
        return intervals(
            identifier,
            f"{metric}: difference to {first.control}, {self.level} interval",
            [self._row(each, absolute=True) for each in chosen],
            first.unit,
            against=first.control,
            margin=None if margin is None else (margin, f"margin {said}"),
        )

    def intervals(self) -> Section:
        """Return every metric's relative lift, by role; guardrails against their margins."""
        charts = []
        relative = [each for each in self.views if not (each.role == "guardrail" and each.margin is not None)]
        if relative:
            charts.append(
                (
                    "Relative lift of every metric",
                    intervals(
                        "forest",
                        f"Relative lift of every metric, {self.level} intervals",
                        [self._row(each, absolute=False) for each in relative],
                        RELATIVE,
                        against=relative[0].control,
                    ),
                )
            )
        for metric in dict.fromkeys(each.metric for each in self.views if each.role == "guardrail"):
            guarded = [each for each in self.views if each.metric == metric and each.margin is not None]
            if guarded:
                charts.append(
                    (f"Guardrail: {metric}", self._against_zero(f"guardrail-{metric}", metric, guarded))
                )
        return self._section("intervals", charts=charts)

    def _row(self, view: LiftView, *, absolute: bool) -> Row:
        block = view.block or {}
        at = block.get("absolute" if absolute else "relative") or {"value": None, "low": None, "high": None}
        said, interval = view.absolute() if absolute else view.relative()
        many = len(self.record["arms"]) > 2
        return Row(
            view.arm if absolute and many else view.metric,
            view.metric if absolute and many else view.arm if many else view.role,
            at["value"],
            at["low"],
            at["high"],
            said,
            interval,
            SHAPES.get(view.role, "secondary"),
            view.direction,
            view.doubt,
            self.record["verdict"]["status"] == "provisional",
        )

    def lift_table(self) -> Section:
        """Return means, lifts and intervals of every metric, each way of estimating beside the others."""
        return self._section("lifts", views=self.views)

    def by_week(self) -> Section:
        """Return the primary metrics' lift at every look, with intervals."""
        looks = [] if self.failed else self.record.get("history", [])
        charts: list[tuple[str, tuple[Markup, dict[str, list[Look]]]]] = []
        for view in [each for each in self.views if each.role == "primary"]:
            if any(view.metric == done for done, _ in charts):
                continue
            arms: dict[str, list[Look]] = {}
            for each in looks:
                if each["metric"] == view.metric and each["trusted"]:
                    decimals = view.unit.decimals(each["low"], each["high"], each["value"])
                    said = f"{view.unit.change(each['value'], decimals)} ({view.unit.interval(each['low'], each['high'], decimals)})"
                    arms.setdefault(words.arm_name(each["arm"]), []).append(
                        Look(each["as_of"], each["value"], each["low"], each["high"], said)
                    )
            if arms and max(len(each) for each in arms.values()) > 1:
                title = f"{view.metric}: lift at each look, {self.level} intervals"
                charts.append((view.metric, (by_week(f"weeks-{view.metric}", title, arms, view.unit), arms)))
        return self._section("weeks", charts=charts)

    def checks(self) -> Section:
        """Return every check with its answer, and what to do where it did not pass."""
        return self._section("checks", checks=self.record["checks"])

    def arms(self) -> Section:
        """Return the arms' sizes beside those planned."""
        total = sum(each["customers"] for each in self.record["arms"]) or 1
        rows = [
            (
                words.arm_name(each["arm"]),
                each["customers"] / total,
                each["share"],
                f"{count(each['customers'])}, {percent(each['customers'] / total, 2)} (planned {percent(each['share'], 2)})",
            )
            for each in self.record["arms"]
        ]
        return self._section(
            "arms", chart=sizes("sizes", "Customers per arm, and the sizes planned", rows), rows=rows
        )

    def breakdowns(self) -> Section:
        """Return the primary metric's lift by level of each breakdown, marked exploratory."""
        cuts = [] if self.failed else [each for each in self._all_views if each.lift["breakdown"] is not None]
        names = {each["name"]: each["role"] for each in self.design["metrics"]}
        chosen = [each for each in cuts if names.get(each.metric) == "primary"] or cuts
        return self._section("breakdowns", views=chosen)

    def method(self) -> Section:
        """Return how the numbers were made, in words."""
        said = [words.intention_to_treat(self.design["control"], self.design["identity"])]
        said.append(words.windows([(each["name"], each["window"]) for each in self.design["metrics"]]))
        said += [words.welch(self.level), words.fieller(self.level)]
        adjusted = [
            each
            for each in self.views
            if (each.lift.get("corrects") or each.lift["decision"]) in {"adjusted", "capped_adjusted"}
        ]
        if adjusted:
            blocks = [(each, each.block or {}) for each in adjusted]
            names = list(dict.fromkeys(name for _, block in blocks for name in block.get("covariates", ())))
            gains = [
                (f"{each.metric}, {each.arm}", percent(block["variance_reduction"]))
                for each, block in blocks
                if (block.get("variance_reduction") or 0) > 0
            ]
            said.append(words.adjusted(names, gains))
        caps: dict[str, tuple[str, str, str]] = {}
        for each in self.views:
            if each.lift["capped"]:
                cap, many = each.lift["capped"]["cap"], each.lift["capped"]["capped_customers"]
                caps[each.metric] = (each.metric, each.unit.size(cap, 2), count(many))
        if caps:
            said.append(words.capped(list(caps.values())))
        guards = {each.metric: each for each in self.views if each.margin is not None}
        if guards:
            said.append(
                words.margins(
                    [
                        (
                            name,
                            str(each.lift["harm"]),
                            each.unit.change(
                                abs(each.margin or 0), each.unit.decimals(None, None, each.margin)
                            ),
                        )
                        for name, each in guards.items()
                    ]
                )
            )
        said.append(words.looks(self.design["looks"]))
        return self._section("method", said=said)

    def definitions(self) -> Section:
        """Return what metrics count, what traits mean, who owns what, and what was decided."""
        return self._section("definitions", design=self.design, dash=DASH)

    def provenance(self) -> Section:
        """Return what this readout was made from, and how to make it again."""
        made = self.record["provenance"]
        rows = [
            ("Experiment file", made["spec"]),
            *((f"Table {name}", f"version {version}") for name, version in made["tables"].items()),
            *((name.capitalize(), version) for name, version in made["versions"].items()),
        ]
        command = words.rebuild(self.record["experiment"], self.record["as_of"])
        return self._section("provenance", rows=rows, notes=self.record["notes"], command=command)

    def sections(self) -> Sequence[Section]:
        """Return all sections, in the page's order."""
        return (
            self.headline(),
            self.intervals(),
            self.lift_table(),
            self.by_week(),
            self.checks(),
            self.arms(),
            self.breakdowns(),
            self.method(),
            self.definitions(),
            self.provenance(),
        )
