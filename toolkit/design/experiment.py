"""The experiment file: what it may say, and what must hold among its parts."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import PurePath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from toolkit.design.metrics import Metric, Part, Term, latest_window
from toolkit.design.traits import TraitContract, holdout_segment

__all__ = ["Experiment"]

Key = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
SHARES_TOLERANCE = 1e-9


class Identity(Part):
    """Which identifier a customer is counted, assigned and targeted by."""

    key: Literal["id", "email", "cio_id"] = "id"
    context_kind: str = "user"


class UniversalHoldout(Part):
    """Customers who are in no experiment at all."""

    key: Key
    share: Fraction


class Cohort(Part):
    """Who qualifies, and when they enrol."""

    source: Literal["customerio", "warehouse", "files"]
    segment: int | None = None
    filter: dict[str, Any] | None = None
    sql: str | None = None
    path: str | None = None
    entry: Literal["snapshot", "rolling"] = "snapshot"
    universal_holdout: UniversalHoldout | None = None
    layer: Key | None = None

    @model_validator(mode="after")
    def _what_the_source_needs(self) -> Cohort:
        given = {name for name in ("segment", "filter", "sql", "path") if getattr(self, name) is not None}
        allowed = {"customerio": {"segment", "filter"}, "warehouse": {"sql"}, "files": {"path"}}[self.source]
        if given - allowed:
            named = " and ".join(f"`{each}`" for each in sorted(given - allowed))
            kept = " or ".join(f"`{each}`" for each in sorted(allowed))
            raise ValueError(f"{named} cannot go with `source: {self.source}`, which takes {kept}")
        if self.source != "files" and len(given) != 1:
            kept = " or ".join(f"`{each}`" for each in sorted(allowed))
            raise ValueError(f"`source: {self.source}` needs {kept}" + (", and only one" if given else ""))
        return self

    @property
    def file(self) -> str:
        """Return the file of people, for `source: files`."""
        return self.path or "people.parquet"


class AssignmentSource(Part):
    """Whether customers are assigned here (`hash`) or were by someone else (`files`)."""

    source: Literal["hash", "files"] = "hash"
    path: str | None = None
    timezone: str | None = None

    @model_validator(mode="after")
    def _path_only_with_files(self) -> AssignmentSource:
        if self.source == "hash" and self.path:
            raise ValueError("`path` goes with `source: files`; with `source: hash` remove it")
        return self

    @property
    def file(self) -> str:
        """Return the file of assignments, for `source: files`."""
        return self.path or "assignments.parquet"


class DoNotOffer(Part):
    """Whoever has this attribute (present, and neither false nor empty) is never eligible."""

    attribute: Annotated[str, Field(min_length=1)]


class OrderEvent(Part):
    """The event that is an order, and where its parts stand among the event's properties."""

    name: str = "Order Completed"
    id: str = "order_id"
    amount: str = "amount"
    currency: str = "currency"


class RefundEvent(Part):
    """The event that takes an order back, wholly or in part."""

    name: str = "Order Refunded"
    id: str = "order_id"
    amount: str = "amount"


class Events(Part):
    """Where what customers did comes from."""

    source: Literal["customerio", "files"]
    path: str | None = None
    timezone: str | None = None
    order: OrderEvent = OrderEvent()
    refund: RefundEvent = RefundEvent()

    @model_validator(mode="after")
    def _path_only_with_files(self) -> Events:
        if self.source == "customerio" and self.path:
            raise ValueError("`path` goes with `source: files`; with `source: customerio` remove it")
        return self

    @property
    def file(self) -> str:
        """Return the file of events, for `source: files`."""
        return self.path or "events.parquet"


class Outcomes(Part):
    """A table with one row per customer, made by the team."""

    source: Literal["files"] = "files"
    path: str = "outcomes.parquet"

    @property
    def file(self) -> str:
        """Return the file of outcomes."""
        return self.path


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


class Value(Part):
    """What an order is worth and what the offer costs, for profit and the return on the offer."""

    currency: Annotated[str, Field(pattern=r"^[A-Za-z]{3}$")]
    margin: Annotated[float, Field(gt=0, le=1)]
    offer_cost: Annotated[float, Field(ge=0)] = 0.0


class Decision(Part):
    """What the team decided, and when."""

    on: date
    text: Annotated[str, Field(min_length=1)]


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
    do_not_offer: DoNotOffer | None = None
    events: Events | None = None
    outcomes: Outcomes | None = None
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
        return shares

    @model_validator(mode="after")
    def _parts_fit(self) -> Experiment:
        problems = [*self._arm_problems(), *self._source_problems()]
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
        if self.cohort is None and self.assignment.source == "hash":
            said.append("cohort: is missing; say who qualifies (or use `assignment: {source: files}`)")
        for at, metric in enumerate(self.metrics):
            for term in metric.terms:
                if term.column and not self.outcomes:
                    said.append(f"metrics[{at}]: `column` needs `outcomes:`; with `events:` name an `event`")
                if term.event and not self.events:
                    said.append(f"metrics[{at}]: `event` needs `events:`; with `outcomes:` name a `column`")
            if metric.lookbacks and not self.events:
                said.append(f"metrics[{at}]: `lookback` needs `events:`; with `outcomes:` name a column")
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
    def complete_at(self) -> datetime:
        """Return when the primary metrics' numbers are complete: enrolment has ended and the last window closed."""
        primary = [each for each in self.metrics if each.role == "primary"] or self.metrics
        windows = [each.window for each in primary if each.window]
        return self.ends_at + max(windows) if windows else self.ends_at

    @property
    def longest_window(self) -> timedelta | None:
        """Return the longest metric window, or None if one has no end."""
        return latest_window(self.metrics)

    @property
    def segments(self) -> tuple[str, ...]:
        """Return the keys of the LaunchDarkly segments that this experiment owns, holdouts first."""
        held = (self.holdout_segment, *((self.universal_segment,) if self.universal_segment else ()))
        return (*held, *(key for trait in self.traits for key in trait.segments()))

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
