"""What a measurement says: lifts, checks, a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

from toolkit.stats.compliance import Exposed, Refused
from toolkit.stats.curve import Schedule
from toolkit.stats.estimate import Estimate, Relative
from toolkit.stats.maturity import Maturity
from toolkit.stats.value import Worth

__all__ = ["Block", "Check", "Correction", "Decision", "Lift", "Measurement", "Verdict", "VerdictStatus"]

Status = Literal["pass", "warn", "fail", "skip"]
Decision = Literal["raw", "adjusted", "capped", "capped_adjusted", "skew_corrected"]
VerdictStatus = Literal["incremental", "no_harm", "inconclusive", "harm", "not_readable", "provisional"]


@dataclass(frozen=True, slots=True)
class Block:
    """One way to estimate a lift.

    Attributes:
        absolute: the difference in the metric's own unit.
        relative: the difference as a fraction of the control; nothing where the control's mean is not above zero.
        p_value: two-sided, of no difference; None where there is nothing to test.
        covariates: what it is adjusted by, in words.
        variance_reduction: 1 − (se / unadjusted se)²; None where not adjusted.
        cap: the value above which a customer counts as the cap; None where not capped.
        capped_customers: customers above the cap, over all arms.
    """

    absolute: Estimate
    relative: Relative
    p_value: float | None
    covariates: tuple[str, ...] = ()
    variance_reduction: float | None = None
    cap: float | None = None
    capped_customers: int | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """What a family of `members` questions makes of one of them: p-value and interval that agree with each other.

    The interval is at level 1 − alpha, so that it excludes zero exactly where `p_value` is below the family's alpha.
    """

    method: str
    members: int
    p_value: float | None
    alpha: float
    absolute: Estimate
    relative: Relative


@dataclass(frozen=True, slots=True)
class Lift:
    """What a metric's difference between an arm and the control is, in every way it was estimated.

    `decision` names the block that counts; `skew_corrected` is there where the block that was planned
    (`corrects`) could not be trusted without a correction for skewness. Where there is nothing to compute from, the blocks are None and
    `notes` say why. `alpha` is the level that the deciding block's interval is at: the experiment's, or at a weekly look
    that of its boundary, which is farther out where covariates are adjusted for. `corrected` is what the family makes of the deciding block, `exposed` the effect on those
    exposed, `detectable` the smallest effect that 8 of 10 such looks would find. `answer` is a guardrail's: `safe`
    (no harm beyond the margin), `harm` or `unclear`; None where nothing varies. Only a trusted one decides.
    """

    metric: str
    kind: str
    role: str
    arm: str
    control: str
    customers: dict[str, int]
    converters: dict[str, int]
    means: dict[str, float | None]
    raw: Block | None
    adjusted: Block | None = None
    capped: Block | None = None
    capped_adjusted: Block | None = None
    skew_corrected: Block | None = None
    decision: Decision = "raw"
    corrects: Decision | None = None
    trusted: bool = True
    alpha: float = 0.05
    corrected: Correction | None = None
    exposed: Exposed | Refused | None = None
    detectable: float | None = None
    notes: tuple[str, ...] = ()
    breakdown: str | None = None
    level: str | None = None
    harm: str | None = None
    margin: float | None = None
    answer: Literal["safe", "harm", "unclear"] | None = None

    @property
    def decided(self) -> Block | None:
        """Return the block that counts."""
        block: Block | None = getattr(self, self.decision)
        return block


@dataclass(frozen=True, slots=True)
class Check:
    """A question asked before any lift is believed. A `fail` withholds the verdict."""

    name: str
    status: Status
    detail: str
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer in one word and one sentence.

    Attributes:
        caution: what a decision is worth that comes before its time; the text ends with it.
    """

    status: VerdictStatus
    text: str
    caution: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """All that one look at an experiment found.

    Attributes:
        shares: arm → share planned.
        customers: arm → customers assigned.
        data_through: how far the data is known to reach; None where outcomes carry no instants.
        schedule: which look this is, and what all looks until now said.
        worth: arm → incremental orders, revenue, profit and the return on the offer.
        maturity: how complete the look is; None where nothing tells how late orders or refunds come.
        reach: what is known of whom the treatment reached: whom a `message` did, who was served the `offer`.
    """

    experiment: str
    as_of: date
    data_through: datetime | None
    customers: dict[str, int]
    shares: dict[str, float]
    checks: tuple[Check, ...]
    lifts: tuple[Lift, ...]
    verdict: Verdict
    notes: tuple[str, ...] = ()
    tables: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule.single)
    worth: dict[str, Worth] = field(default_factory=dict)
    maturity: Maturity | None = None
    reach: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Check, ...]:
        """Return the checks that withhold the verdict."""
        return tuple(check for check in self.checks if check.status == "fail")
