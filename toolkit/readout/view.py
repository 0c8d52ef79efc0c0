"""A lift as a page may show it: what it is in, what counts, and whether it may be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.readout import words
from toolkit.readout.figures import DASH, Unit, count, p_value, percent
from toolkit.readout.parts import Line

__all__ = ["RELATIVE", "LiftView", "unit_of"]

RELATIVE = Unit("percent")


def unit_of(metric: Mapping[str, Any], value: Mapping[str, Any] | None) -> Unit:
    """Return what a metric's numbers are in.

    Money is said in a currency only where the metric surely is money: it says so (`unit`), or it sums or
    averages the order's `amount`.
    """
    if metric.get("kind") == "conversion":
        return Unit("points")
    currency = (value or {}).get("currency")
    said = metric.get("unit")
    definition = str(metric.get("definition", ""))
    money = (
        said == "money"
        if said
        else "amount of “" in definition and "divided by amount of “" not in definition
    )
    return Unit("money", str(currency)) if money and currency else Unit("number")


@dataclass(frozen=True, slots=True)
class LiftView:
    """One comparison of the record, with the words and digits that suit it."""

    lift: Mapping[str, Any]
    unit: Unit

    @property
    def metric(self) -> str:
        """Return the metric's name."""
        return str(self.lift["metric"])

    @property
    def title(self) -> str:
        """Return the metric's name as words."""
        return words.metric_name(self.metric)

    @property
    def label(self) -> str:
        """Return the metric's name as words, with a capital."""
        return words.capital(self.title)

    @property
    def arm(self) -> str:
        """Return the treated arm, as words."""
        return words.arm_name(str(self.lift["arm"]))

    @property
    def control(self) -> str:
        """Return the control, as words."""
        return words.arm_name(str(self.lift["control"]))

    @property
    def role(self) -> str:
        """Return primary, secondary or guardrail."""
        return str(self.lift["role"])

    @property
    def level(self) -> str:
        """Return the level of the breakdown."""
        return str(self.lift.get("level"))

    @property
    def notes(self) -> Sequence[str]:
        """Return what is to be said about this comparison."""
        return [str(note) for note in self.lift.get("notes", ())]

    @property
    def block(self) -> Mapping[str, Any] | None:
        """Return the estimate that counts."""
        found: Mapping[str, Any] | None = self.lift.get(str(self.lift.get("decision", "raw")))
        return found

    @property
    def made(self) -> str:
        """Return how its difference was made where that is not one mean less the other: `adjusted`, say."""
        made = str(self.lift.get("corrects") or self.lift.get("decision", "raw"))
        return "" if not self.trusted or made == "raw" else words.ESTIMATES[made]

    @property
    def counted(self) -> Mapping[str, Any] | None:
        """Return what stands in the end: the estimate that counts, at the level of its family where it has one."""
        block, corrected = self.block, self.lift.get("corrected")
        return {**block, **corrected} if block and corrected else block

    @property
    def trusted(self) -> bool:
        """Return whether its interval may be shown."""
        return bool(self.lift.get("trusted")) and self.block is not None

    @property
    def doubt(self) -> str | None:
        """Return why its interval is not shown."""
        if self.block is None:
            return self.notes[-1] if self.notes else words.NO_NUMBER
        return None if self.trusted else words.untrusted(self.notes)

    def decimals(self, block: Mapping[str, Any] | None = None) -> int:
        """Return the decimals of its absolute numbers."""
        block = block or self.counted
        if block is None:
            return 2
        at = block["absolute"]
        low, high = (at["low"], at["high"]) if self.trusted else (None, None)
        return min(self.unit.decimals(low, high, at["value"]), 4)

    def absolute(self, block: Mapping[str, Any] | None = None) -> tuple[str, str]:
        """Return the difference and its interval, in words; the interval only where it may be believed."""
        block = block or self.counted
        if block is None:
            return DASH, ""
        at, decimals = block["absolute"], self.decimals(block)
        said = self.unit.change(at["value"], decimals)
        return said, self.unit.interval(at["low"], at["high"], decimals) if self.trusted else ""

    def relative(self, block: Mapping[str, Any] | None = None) -> tuple[str, str]:
        """Return the relative lift and its interval, in words; no number where the control's mean is no base."""
        block = block or self.counted
        at = block["relative"] if block else None
        if at is None or at["value"] is None:
            return DASH, ""
        low, high = (at["low"], at["high"]) if self.trusted else (None, None)
        decimals = min(RELATIVE.decimals(low, high, at["value"]), 2)
        said = RELATIVE.change(at["value"], decimals)
        return said, RELATIVE.interval(at["low"], at["high"], decimals) if self.trusted else ""

    def p_value(self, block: Mapping[str, Any] | None = None) -> str:
        """Return the p-value; a dash where the interval is not to be trusted."""
        block = block or self.counted
        return p_value(block.get("p_value")) if block and self.trusted else DASH

    def mean(self, side: str) -> str:
        """Return the mean of `treatment` or `control`, as measured."""
        return self.unit.size(self.lift["means"][side], self.decimals(self.lift.get("raw")))

    def customers(self, side: str) -> str:
        """Return how many did it of how many, or how many there are."""
        of = count(self.lift.get("customers", {}).get(side))
        did = self.lift.get("converters", {}).get(side)
        return f"{count(did)} of {of}" if did is not None else of

    @property
    def answer(self) -> str:
        """Return a guardrail's answer, in words; empty where it is no guardrail or not to be trusted."""
        return words.ANSWERS.get(str(self.lift.get("answer")), "") if self.trusted else ""

    @property
    def margin(self) -> float | None:
        """Return the guardrail's margin with the sign of harm."""
        margin = self.lift.get("margin")
        if margin is None:
            return None
        return float(margin) if self.lift.get("harm") == "increase" else -float(margin)

    @property
    def direction(self) -> int:
        """Return 1 where its interval lies on the good side of zero, −1 on the bad side, else 0."""
        good = -1 if self.lift.get("harm") == "increase" else 1
        return good * self.sign

    @property
    def sign(self) -> int:
        """Return 1 where its interval lies above zero, −1 below, else 0; 0 where it is not to be trusted."""
        if not self.trusted or self.counted is None:
            return 0
        low, high = self.counted["absolute"]["low"], self.counted["absolute"]["high"]
        return 1 if low is not None and low > 0 else -1 if high is not None and high < 0 else 0

    def ways(self) -> list[Line]:
        """Return every estimate made, as a row each: the one that counts first, then the others beside it.

        Where the one that counts is not to be trusted, none of them is shown.
        """
        decision = str(self.lift.get("decision", "raw"))
        who = (self.label, f"{self.arm}, {words.ROLES.get(self.role, self.role)}")
        if self.block and not self.trusted:
            return [Line.of(who, words.ESTIMATES[decision], words.NOT_TRUSTED, DASH, DASH, kind="doubt")]
        names = [decision, *(name for name in words.ESTIMATES if name != decision)]
        rows = []
        for name in names:
            block = self.lift.get(name)
            if block is None:
                continue
            reduction = block.get("variance_reduction")
            details = []
            if block.get("covariates"):
                details.append("for " + ", ".join(str(each) for each in block["covariates"]))
            if reduction is not None:
                details.append(f"variance −{percent(max(reduction, 0.0))}" if reduction >= 0 else "wider")
            if block.get("cap") is not None:
                details.append(f"at {self.unit.size(block['cap'], 2)}")
            counts = name == decision
            rows.append(
                Line.of(
                    who,
                    (words.ESTIMATES[name] + (", counts" if counts else ""), "; ".join(details)),
                    self.absolute(block),
                    self.relative(block),
                    self.p_value(block),
                    kind="counts" if counts else "",
                )
            )
        return rows
