"""Which numbers per customer the metrics need: the columns of the relation `unit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from toolkit.design.experiment import Experiment
from toolkit.design.metrics import Lookback, Metric, Term

__all__ = ["Column", "Needs", "needs_of"]

RESENT = timedelta(days=30)
"""How long after it happened an event may be sent once more: as far as Customer.io's own activities reach."""


@dataclass(frozen=True, slots=True)
class Column:
    """A number per customer.

    Either a `term` within `window` after assignment (or over `lookback` before it), or the attribute
    `attribute`; with `missing`, 1 where that attribute is not known, else 0.
    """

    name: str
    term: Term | None = None
    window: timedelta | None = None
    lookback: timedelta | None = None
    attribute: str | None = None
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """What one pass has to bring.

    Attributes:
        columns: every column, each once.
        terms: metric → its one or two outcome columns.
        covariates: metric → (covariate's name, column) pairs; a ratio's look-back has two columns.
        worth: the columns of revenue and orders per customer, where the file says what they are worth.
    """

    columns: tuple[Column, ...]
    terms: dict[str, tuple[str, ...]]
    covariates: dict[str, tuple[tuple[str, str], ...]]
    worth: tuple[str, str] | None = None

    @property
    def counted(self) -> tuple[Column, ...]:
        """Return the columns that come from events or outcomes."""
        return tuple(each for each in self.columns if each.term)

    @property
    def attributes(self) -> tuple[Column, ...]:
        """Return the columns that are attributes of people."""
        return tuple(each for each in self.columns if each.attribute and not each.missing)

    @property
    def values(self) -> tuple[str, ...]:
        """Return the properties of events that are summed."""
        return tuple(sorted({each.term.value for each in self.counted if each.term and each.term.value}))

    @property
    def reach_back(self) -> timedelta:
        """Return how long before assignment the columns look."""
        return max((each.lookback for each in self.columns if each.lookback), default=timedelta(0))

    @property
    def looked_back(self) -> timedelta:
        """Return how long before the first assignment events are looked at.

        What is sent again after an assignment, and happened before it, is known for a repetition so.
        """
        return max(self.reach_back, RESENT)

    def with_missing(self, unknown: Sequence[str]) -> Needs:
        """Return these needs with an indicator beside each attribute column of `unknown`."""
        flags = {
            each.name: replace(each, name=f"{each.name}_missing", missing=True)
            for each in self.attributes
            if each.name in unknown
        }
        covariates = {
            metric: tuple(
                pair
                for name, column in pairs
                for pair in (
                    (name, column),
                    *([(f"{name} missing", flags[column].name)] if column in flags else ()),
                )
            )
            for metric, pairs in self.covariates.items()
        }
        return replace(self, columns=(*self.columns, *flags.values()), covariates=covariates)


def needs_of(experiment: Experiment) -> Needs:
    """Return the columns that the metrics need; two that need the same share it.

    An order's amount is called `amount`, whatever the property it is taken from.
    """
    amount = experiment.events.order.amount if experiment.events else None
    columns: dict[Column, str] = {}

    def name_of(column: Column) -> str:
        if column.term and amount and column.term.value == amount:
            column = replace(column, term=replace(column.term, value="amount"))
        kind = "x" if column.attribute or column.lookback else "y"
        return columns.setdefault(column, f"{kind}{len(columns)}")

    def of_covariate(metric: Metric, covariate: str | Lookback) -> list[tuple[str, str]]:
        if isinstance(covariate, str):
            return [(covariate, name_of(Column("", attribute=covariate)))]
        return [
            (covariate.name, name_of(Column("", term, lookback=covariate.lookback))) for term in metric.terms
        ]

    terms = {
        metric.name: tuple(name_of(Column("", term, metric.window)) for term in metric.terms)
        for metric in experiment.metrics
    }
    covariates = {
        metric.name: tuple(pair for each in metric.covariates for pair in of_covariate(metric, each))
        for metric in experiment.metrics
    }
    worth = None
    if experiment.value and experiment.events:
        window, order = _window_of_worth(experiment), experiment.events.order.name
        worth = (
            name_of(Column("", Term("sum", order, amount), window)),
            name_of(Column("", Term("count", order), window)),
        )
    named = tuple(replace(column, name=name) for column, name in columns.items())
    return Needs(named, terms, covariates, worth)


def _window_of_worth(experiment: Experiment) -> timedelta | None:
    """Return the window that money is counted in: that of the first metric on orders' value, else of the primary."""
    order = experiment.events.order if experiment.events else None
    valued = [
        metric
        for metric in experiment.metrics
        if order and any(term.event == order.name and term.how == "sum" for term in metric.terms)
    ]
    return (valued or experiment.deciding)[0].window
