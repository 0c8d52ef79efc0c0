"""What is measured: conversion, mean and ratio metrics, each on events or on columns of outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.design.durations import Duration, in_words

__all__ = ["Conversion", "Lookback", "Mean", "Metric", "Ratio", "Role", "Term"]

Role = Literal["primary", "secondary", "guardrail"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=60)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Part(BaseModel):
    """A piece of the experiment file: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class Lookback(Part):
    """The same metric over the span before assignment, as a covariate."""

    lookback: Duration

    @property
    def name(self) -> str:
        """Return the covariate's name in results, such as `lookback_60d`."""
        return f"lookback_{in_words(self.lookback)}"


Covariate = str | Lookback


@dataclass(frozen=True, slots=True)
class Term:
    """One number per customer.

    `how` is `any` (1 if there was such an event, else 0), `count` (events) or `sum` (of `value`).
    With `column` the number stands ready in a table of outcomes.
    """

    how: Literal["any", "count", "sum"]
    event: str | None = None
    value: str | None = None
    column: str | None = None


class Source(Part):
    """One side of a ratio: events counted or summed, or a column."""

    event: str | None = None
    value: str | None = None
    column: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Source:
        _one_of_event_and_column(self.event, self.column)
        if self.column and self.value:
            raise ValueError("`value` belongs to an event; with `column` leave it out")
        return self

    @property
    def term(self) -> Term:
        """Return the number per customer."""
        return Term("sum" if self.value or self.column else "count", self.event, self.value, self.column)


class _Metric(Part):
    name: Name
    role: Role = "secondary"
    window: Duration | None = None
    harm: Literal["increase", "decrease"] | None = None
    margin: Annotated[float, Field(gt=0)] | None = None
    covariates: tuple[Covariate, ...] = ()
    description: str = ""

    @model_validator(mode="after")
    def _guardrail(self) -> _Metric:
        if self.role == "guardrail" and self.harm is None:
            raise ValueError("a guardrail needs `harm: increase` or `harm: decrease`: which way is bad?")
        if self.role != "guardrail" and (self.harm or self.margin):
            raise ValueError("`harm` and `margin` belong to guardrails; add `role: guardrail` or remove them")
        names = [each if isinstance(each, str) else each.name for each in self.covariates]
        if len(set(names)) < len(names):
            raise ValueError(f"covariates name one thing twice: {', '.join(names)}")
        return self

    @property
    def lookbacks(self) -> tuple[Lookback, ...]:
        """Return the covariates measured over a span before assignment."""
        return tuple(each for each in self.covariates if isinstance(each, Lookback))

    @property
    def attributes(self) -> tuple[str, ...]:
        """Return the covariates that are columns of people or of outcomes."""
        return tuple(each for each in self.covariates if isinstance(each, str))

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """Return the names of all covariates, in the file's order."""
        return tuple(each if isinstance(each, str) else each.name for each in self.covariates)

    def window_in_words(self) -> str:
        """Return the window as a reader says it."""
        return f"within {in_words(self.window)} of assignment" if self.window else "from assignment on"


class Conversion(_Metric):
    """The share of customers who did it at least once."""

    kind: Literal["conversion"]
    event: str | None = None
    column: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Conversion:
        _one_of_event_and_column(self.event, self.column)
        return self

    @property
    def terms(self) -> tuple[Term, ...]:
        """Return the one number per customer: 1 or 0."""
        return (Term("any", self.event, None, self.column),)


class Mean(_Metric):
    """The mean per assigned customer: of a value summed over events, of their count, or of a column."""

    kind: Literal["mean"]
    event: str | None = None
    value: str | None = None
    column: str | None = None
    cap: Annotated[float, Field(gt=0.5, lt=1)] | Literal["auto"] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Mean:
        _one_of_event_and_column(self.event, self.column)
        if self.column and self.value:
            raise ValueError("`value` belongs to an event; with `column` leave it out")
        return self

    @property
    def terms(self) -> tuple[Term, ...]:
        """Return the one number per customer."""
        return (Term("sum" if self.value or self.column else "count", self.event, self.value, self.column),)


class Ratio(_Metric):
    """A sum over customers divided by another, such as revenue per order."""

    kind: Literal["ratio"]
    numerator: Source
    denominator: Source

    @property
    def terms(self) -> tuple[Term, ...]:
        """Return the two numbers per customer: numerator, denominator."""
        return (self.numerator.term, self.denominator.term)


Metric = Annotated[Conversion | Mean | Ratio, Field(discriminator="kind")]


def _one_of_event_and_column(event: str | None, column: str | None) -> None:
    if bool(event) == bool(column):
        raise ValueError(
            "names both `event` and `column`; keep one"
            if event
            else "measures nothing; name an `event` (with `events:`) or a `column` (with `outcomes:`)"
        )


def latest_window(metrics: tuple[Conversion | Mean | Ratio, ...]) -> timedelta | None:
    """Return the longest window, or None if a metric counts without end."""
    windows = [each.window for each in metrics]
    return None if None in windows or not windows else max(span for span in windows if span is not None)
