"""The experiment file: what it may say, and what must hold among its parts."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import combinations
from pathlib import PurePath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from toolkit.design.assignment import weights_of
from toolkit.design.durations import within_bounds
from toolkit.design.metrics import Metric, Part, Term, latest_window
from toolkit.design.protection import DoNotOffer, MarginProtection, Schedule
from toolkit.design.sources import (
    AssignmentSource,
    Cohort,
    Deliveries,
    Events,
    Exposures,
    Fraction,
    Key,
    Outcomes,
)
from toolkit.design.traits import TraitContract, holdout_segment

__all__ = ["Experiment"]

SHARES_TOLERANCE = 1e-9


class Identity(Part):
    """Which identifier a customer is counted, assigned and targeted by."""

    key: Literal["id", "email", "cio_id"] = "id"
    context_kind: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "user"

    @field_validator("context_kind")
    @classmethod
    def _one_kind(cls, value: str) -> str:
        if value in {"kind", "multi"}:
            raise ValueError(
                f"{value!r} is no kind of context to LaunchDarkly; name the one that has customers' keys"
            )
        return value


class Analysis(Part):
    """How the numbers are judged; decided before the data."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    looks: Literal["fixed", "weekly"] = "fixed"
    boundary: Literal["planned", "always_on"] = "planned"
    correction: Literal["holm", "none"] = "holm"
    breakdowns: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _boundary_only_with_weekly(self) -> Analysis:
        if self.boundary != "planned" and self.looks == "fixed":
            raise ValueError("`boundary` goes with `looks: weekly`; one fixed look has no boundary")
        return self


class Delivery(Part):
    """How LaunchDarkly comes to know who is served what.

    `segments`: members are pushed. `rollout`: the flag draws with the experiment's own seed, and nothing is
    pushed. `lookup`: the application passes the trait as an attribute of its context.
    """

    mode: Literal["segments", "rollout", "lookup"] = "segments"


class Value(Part):
    """What an order is worth and what the offer costs, for profit and the return on the offer."""

    currency: Annotated[str, Field(pattern=r"^[A-Za-z]{3}$")]
    margin: Annotated[float, Field(gt=0, le=1)]
    offer_cost: Annotated[float, Field(ge=0)] = 0.0


class Decision(Part):
    """What the team decided, when, and who said so."""

    on: date
    decision: Annotated[str, Field(min_length=1)]
    by: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_word(cls, given: Any) -> Any:
        """Take the key `on` for what it says: YAML reads it, unquoted, as true."""
        if not isinstance(given, dict):
            return given
        return {"on" if key is True else key: each for key, each in given.items()}


class Experiment(Part):
    """An experiment as its file describes it."""

    key: Key
    name: str = ""
    hypothesis: str = ""
    owners: dict[str, str] = {}
    start: date
    end: date
    timezone: str = "UTC"
    seed: Annotated[int, Field(ge=0)] | None = None
    identity: Identity = Identity()
    cohort: Cohort | None = None
    arms: Annotated[dict[str, Fraction], Field(min_length=2)]
    control: str
    assignment: AssignmentSource = AssignmentSource()
    traits: tuple[TraitContract, ...] = ()
    delivery: Delivery = Delivery()
    do_not_offer: DoNotOffer | None = None
    margin_protection: MarginProtection | None = None
    schedule: Schedule | None = None
    events: Events | None = None
    outcomes: Outcomes | None = None
    deliveries: Deliveries | None = None
    exposures: Exposures | None = None
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)]
    analysis: Analysis = Analysis()
    value: Value | None = None
    decisions: tuple[Decision, ...] = ()

    @field_validator("start", "end", mode="before")
    @classmethod
    def _plain_date(cls, value: Any) -> Any:
        if isinstance(value, datetime):
            raise ValueError("is a date, without a time: it means midnight in `timezone`")  # noqa: TRY004
        return value

    @field_validator("start", "end")
    @classmethod
    def _countable(cls, value: date) -> date:
        return within_bounds(value)

    @field_validator("seed", mode="before")
    @classmethod
    def _a_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"{str(value).lower()} is no number; write a whole number, or leave `seed` out")  # noqa: TRY004
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return _zone_name(value)

    @field_validator("arms")
    @classmethod
    def _whole(cls, shares: dict[str, float]) -> dict[str, float]:
        total = sum(shares.values())
        if abs(total - 1) > SHARES_TOLERANCE:
            raise ValueError(f"shares sum to {total:.10g}; they must sum to 1")
        for arm, weight in weights_of(shares).items():
            if weight < 1:
                raise ValueError(
                    f"{arm}: {shares[arm]:g} is none of LaunchDarkly's 100,000 parts, so nobody would be in it; "
                    "write at least 0.00001"
                )
        return shares

    @model_validator(mode="after")
    def _parts_fit(self) -> Experiment:
        problems = [
            *self._arm_problems(),
            *self._source_problems(),
            *self._escalation_problems(),
            *self._rollout_problems(),
        ]
        if self.end < self.start:
            problems.append(f"end: {self.end} is before start {self.start}")
        for zone in (self.events and self.events.timezone, self.assignment.timezone):
            if zone:
                _zone_name(zone)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _arm_problems(self) -> list[str]:
        known = ", ".join(self.arms)
        said = []
        if self.control not in self.arms:
            said.append(f"control: {self.control!r} is no arm; the arms are {known}")
        for at, trait in enumerate(self.traits):
            for arm in trait.treated_arms:
                if arm not in self.arms:
                    said.append(f"traits[{at}]: {arm!r} is no arm; the arms are {known}")
                elif arm == self.control:
                    said.append(
                        f"traits[{at}]: {arm!r} is the control; an eligibility trait must never include it"
                    )
        for what, names in (
            ("metrics", [each.name for each in self.metrics]),
            ("traits", [each.name for each in self.traits]),
        ):
            said += [
                f"{what}: two are named {name!r}; names must differ"
                for name in sorted({each for each in names if names.count(each) > 1})
            ]
        return said

    def _source_problems(self) -> list[str]:
        said = []
        if self.events and self.outcomes:
            said.append("events: stands beside `outcomes`; keep the one that the metrics are on")
        if not self.events and not self.outcomes:
            said.append("events: is missing; name the source of `events`, or of `outcomes`")
        held = self.cohort.universal_holdout if self.cohort else None
        if held and held.key == self.key:
            said.append(
                "cohort.universal_holdout: its key is the experiment's own, and both would be one ledger; name another"
            )
        if self.cohort is None and self.assignment.source == "hash":
            said.append("cohort: is missing; say who qualifies (or use `assignment: {source: files}`)")
        for at, metric in enumerate(self.metrics):
            for term in metric.terms:
                if term.column and not self.outcomes:
                    said.append(f"metrics[{at}]: `column` needs `outcomes:`; with `events:` name an `event`")
                if term.event and not self.events:
                    said.append(f"metrics[{at}]: `event` needs `events:`; with `outcomes:` name a `column`")
            own = [term.column for term in metric.terms if term.column in metric.attributes]
            if own:
                said.append(
                    f"metrics[{at}]: `covariates` names `{own[0]}`, which is what the metric measures; name a column "
                    "that was known before assignment, or leave it out"
                )
            if metric.lookbacks and not self.events:
                said.append(f"metrics[{at}]: `lookback` needs `events:`; with `outcomes:` name a column")
        if self.exposures and not any(trait.flag for trait in self.traits):
            said.append(
                "exposures: no trait names its `flag`, so there is nothing to look for; name it there"
            )
        return said

    def _escalation_problems(self) -> list[str]:
        """Say where a customer would move on twice: message and site follow one moment."""
        rules = [(trait.name, trait.escalate) for trait in self.traits if trait.escalate]
        return [
            f"traits: {name} and {other} escalate customers of one arm by different rules; give both the same "
            "`after` and `opt_out`, so that message and site move on together"
            for (name, rule), (other, second) in combinations(rules, 2)
            if set(rule.arms) & set(second.arms)
            and (rule.after, rule.opt_out) != (second.after, second.opt_out)
        ]

    def _rollout_problems(self) -> list[str]:
        """Say what a plain rollout cannot do: it knows a customer's key, and nothing else."""
        if self.delivery.mode != "rollout":
            return []
        said = []
        if self.seed is None:
            said.append(
                "delivery: `mode: rollout` needs `seed:`, the number that the flag's rollout draws with"
            )
        if self.assignment.source != "hash":
            said.append(
                "delivery: `mode: rollout` draws by hash; with `assignment: {source: files}` use segments"
            )
        if self.cohort and self.cohort.layer:
            said.append("delivery: a rollout cannot know a `layer`; remove it, or use `mode: segments`")
        if any(trait.escalate or trait.type == "band" for trait in self.traits):
            said.append("delivery: a rollout can neither `escalate` nor know a band; use `mode: segments`")
        if self.trait_attributes:
            said.append(
                "delivery: a rollout knows no attributes, as bands and margins do; use `mode: segments`"
            )
        return said

    # ---- what follows from the file -------------------------------------------------------------

    @property
    def title(self) -> str:
        """Return the name that people read."""
        return self.name or self.key

    @property
    def prefix(self) -> str:
        """Return what is hashed before a customer's id: the seed, or the experiment's key."""
        return str(self.seed) if self.seed is not None else self.key

    @property
    def zone(self) -> ZoneInfo:
        """Return the time zone in which the experiment's dates begin."""
        return ZoneInfo(self.timezone)

    @property
    def treatments(self) -> tuple[str, ...]:
        """Return the arms that are not the control, in the file's order."""
        return tuple(arm for arm in self.arms if arm != self.control)

    @property
    def starts_at(self) -> datetime:
        """Return when enrolment begins (UTC)."""
        return self.midnight(self.start)

    @property
    def ends_at(self) -> datetime:
        """Return when enrolment ends (UTC)."""
        return self.midnight(self.end)

    @property
    def terms(self) -> tuple[Term, ...]:
        """Return every number per customer that the metrics need, each once."""
        return tuple(dict.fromkeys(term for metric in self.metrics for term in metric.terms))

    @property
    def deciding(self) -> tuple[Metric, ...]:
        """Return the metrics that the experiment is decided by: the primary ones, or all where none is."""
        return tuple(each for each in self.metrics if each.role == "primary") or self.metrics

    @property
    def complete_at(self) -> datetime:
        """Return when the primary metrics' numbers are complete: enrolment has ended and the last window closed."""
        windows = [each.window for each in self.deciding if each.window]
        return self.ends_at + max(windows) if windows else self.ends_at

    @property
    def pulls(self) -> bool:
        """Return whether something has to be pulled into the lake before it can be measured."""
        return bool((self.events and self.events.in_lake) or self.deliveries or self.exposures)

    @property
    def longest_window(self) -> timedelta | None:
        """Return the longest metric window, or None if one has no end."""
        return latest_window(self.metrics)

    @property
    def opt_outs(self) -> tuple[str, ...]:
        """Return the names of the events that take back an escalated offer, besides the order."""
        named = (trait.escalate.opt_out for trait in self.traits if trait.escalate)
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def trait_attributes(self) -> tuple[str, ...]:
        """Return the attributes of a customer that decide about eligibility now, each once."""
        banded = [trait.attribute for trait in self.traits if trait.attribute]
        guarded = [self.margin_protection.attribute] if self.margin_protection else []
        return tuple(dict.fromkeys([*banded, *guarded]))

    @property
    def segments(self) -> tuple[str, ...]:
        """Return the keys of the LaunchDarkly segments that this experiment owns, holdouts first."""
        return (*self.held_segments, *(key for trait in self.traits for key in trait.segments()))

    @property
    def held_segments(self) -> tuple[str, ...]:
        """Return the keys of the segments of those held out, the experiment's own first."""
        return (self.holdout_segment, *((self.universal_segment,) if self.universal_segment else ()))

    @property
    def pushed_segments(self) -> tuple[str, ...]:
        """Return those of `segments` whose members are pushed: what the flag needs as `delivery` has it."""
        if self.delivery.mode == "segments":
            return self.segments
        return self.held_segments[1 if self.delivery.mode == "rollout" else 0 :]

    @property
    def holdout_segment(self) -> str:
        """Return the key of the segment of those held out of this experiment."""
        return holdout_segment(self.key)

    @property
    def universal_segment(self) -> str | None:
        """Return the key of the segment of those held out of everything, if there is one."""
        held = self.cohort.universal_holdout if self.cohort else None
        return holdout_segment(held.key) if held else None

    def midnight(self, on: date) -> datetime:
        """Return the instant (UTC) at which `on` begins in the experiment's time zone."""
        return datetime.combine(on, time.min, tzinfo=self.zone).astimezone(UTC)

    def end_of(self, as_of: date) -> datetime:
        """Return the instant (UTC, exclusive) at which `as_of` ends in the experiment's time zone."""
        return self.midnight(as_of + timedelta(days=1))

    def file_beside(self, spec: str, name: str) -> str:
        """Return `name` as a path relative to the experiment file `spec`."""
        return name if "://" in name else str(PurePath(spec).parent / name)


def _zone_name(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone; write an IANA name such as Europe/Berlin") from None
    return value
