"""Checks before lift: whether the numbers below may be believed at all.

Every check passes, warns, fails or is skipped, with a sentence. A failed one withholds the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from toolkit.stats.alike import gap_p_value
from toolkit.stats.distributions import binomial_p, chi2_sf
from toolkit.stats.readings import Readings
from toolkit.stats.results import Check, Status

__all__ = [
    "assignment_before_outcome",
    "balance",
    "crossover",
    "duplicate_orders",
    "freshness",
    "holdout_delivered",
    "identity_match",
    "outliers",
    "sample_ratio",
]

SAMPLE_RATIO = (0.01, 0.001)
EXPECTED = 100
"""With fewer customers expected in an arm, chi-squared calls a fair draw below 0.001 up to 4 times too often."""
BALANCE = (0.01, 0.0005)
UNEQUAL = (0.001, 1e-6)
CROSSOVER = (0.0, 0.005)
REPEATED_ORDERS = (0.01, 0.2)
STALE = (timedelta(days=2), timedelta(days=7))
OUTLIER_SHARE = 0.2


def sample_ratio(
    customers: Mapping[str, int], shares: Mapping[str, float], looks: Sequence[Mapping[str, int]] = ()
) -> Check:
    """Ask whether the arms have the sizes planned: Pearson's chi-squared test of goodness of fit.

    Where that would warn and few are expected in an arm, the exact binomial test of each arm against the rest, and
    of more than two arms the smallest p-value times their number (Bonferroni). Where it is asked at every one of
    several `looks` (customers until each of them), a test martingale that holds at all of them together
    (`ratio_monitor.py`). Warns below 0.01 and fails below 0.001 (Fabijan et al. 2019, on sample ratio mismatch).
    """
    total = sum(customers.values())
    if total < 50:
        return Check("sample_ratio", "skip", f"{total} customers are too few to tell")
    statistic = sum((customers[arm] - total * share) ** 2 / (total * share) for arm, share in shares.items())
    p_value = chi2_sf(len(shares) - 1, statistic)
    if p_value < SAMPLE_RATIO[0] and total * min(shares.values()) < EXPECTED:
        p_value = _exact(customers, total, shares)
    if len({sum(each.values()) for each in looks} - {0}) > 1:
        from toolkit.stats.ratio_monitor import monitor_ratio

        p_value = monitor_ratio(looks, shares).p_values[-1]
    status = _status(p_value, SAMPLE_RATIO)
    seen = ", ".join(
        f"{arm} {customers[arm] / total:.2%} (planned {share:.2%})" for arm, share in shares.items()
    )
    said = {
        "pass": "the arms have the sizes planned",
        "warn": "the arms' sizes are unusual",
        "fail": "the arms do not have the sizes planned: someone was lost or added on one side",
    }[status]
    return Check("sample_ratio", status, f"{said}: {seen}; {_p(p_value)}", p_value)


def balance(readings: Readings, control: str) -> Check:
    """Ask whether the arms were alike before: the means of all covariates (`gap_p_value`).

    Per treated arm against control; with several arms the smallest p-value times their number (Bonferroni).
    Warns below 0.01 and fails below 0.0005.
    """
    pairs = list(dict.fromkeys(pair for each in readings.covariates.values() for pair in each))
    if not pairs:
        return Check("balance", "skip", "no covariates are named, so there is nothing to compare")
    columns = tuple(dict.fromkeys(column for _, column in pairs))
    names = {column: name for name, column in pairs}
    held = readings.of(control, columns)
    treated = [arm for arm in readings.moments if arm != control]
    worst: tuple[float, str] | None = None
    for arm in treated:
        found = gap_p_value(readings.of(arm, columns), held)
        if found is None:
            continue
        p_value, column = min(1.0, found[0] * len(treated)), columns[found[1]]
        if worst is None or p_value < worst[0]:
            here, there = readings.of(arm, (column,)).mean[0], readings.of(control, (column,)).mean[0]
            worst = p_value, f"{names[column]} is {here:,.4g} in {arm} and {there:,.4g} in {control}"
    if worst is None:
        return Check("balance", "skip", "the covariates do not vary, or an arm is empty")
    status = _status(worst[0], BALANCE)
    said = {
        "pass": "the arms were alike before",
        "warn": "the arms differed somewhat before",
        "fail": "the arms differed before the experiment began, so they were not randomised",
    }[status]
    return Check("balance", status, f"{said}: {worst[1]} ({_p(worst[0])})", worst[0])


def crossover(crossed: int, customers: int, *, merged: int = 0, served: int = 0) -> Check:
    """Ask whether customers stand in more than one arm; their first arm counts.

    `merged` are customers who turned out to be one person with a customer of another arm: both count as they were
    drawn. `served` are customers of a treated arm who were served what only another arm should be.
    """
    every = crossed + merged + served
    share = every / customers if customers else 0.0
    status: Status = "fail" if share > CROSSOVER[1] else "warn" if every else "pass"
    said = [
        f"{count:,} of {customers:,} customers ({count / customers:.2%}) {what}"
        for count, what in (
            (crossed, "were assigned to more than one arm; the first counts"),
            (
                merged,
                "turned out to be one person with a customer of another arm; both count as they were drawn",
            ),
            (served, "were served what only another arm should be; they count in their own"),
        )
        if count
    ]
    return Check("crossover", status, ", and ".join(said) or "every customer is in one arm")


def duplicate_orders(repeated: int, seen: int) -> Check:
    """Ask whether orders arrived more than once; each counts once."""
    share = repeated / seen if seen else 0.0
    status: Status = (
        "fail" if share > REPEATED_ORDERS[1] else "warn" if share > REPEATED_ORDERS[0] else "pass"
    )
    said = f"{repeated:,} of {seen:,} order events ({share:.2%}) repeat an order id; each order counts once"
    return Check("duplicate_orders", status, said if repeated else "every order id stands once")


def identity_match(
    customers: Mapping[str, int],
    known: Mapping[str, int],
    strangers: int,
    *,
    what: str,
    expect_all: bool,
    repeated: int = 0,
) -> Check:
    """Ask whether the assignments' ids are those of `what` (people, outcomes, events), in every arm alike.

    With `expect_all` every customer should be known there; elsewhere only an empty meeting is a failure:
    most customers buy nothing. `strangers` are rows there that match no assignment.
    """
    total, found = sum(customers.values()), sum(known.values())
    shares = {arm: known.get(arm, 0) / n for arm, n in customers.items() if n}
    seen = ", ".join(f"{arm} {share:.1%}" for arm, share in shares.items())
    more = f"; {repeated:,} people stand there more than once" if repeated else ""
    if found == 0 and strangers:
        return Check(
            "identity_match",
            "fail",
            f"not one of {total:,} assigned customers is among the {what}, which hold {strangers:,} rows of "
            "others: the ids are of different kinds (see `identity.key`)",
        )
    if not expect_all:
        return Check(
            "identity_match", "pass" if found else "skip", f"customers met in the {what}: {seen}{more}"
        )
    p_value = _homogeneity(customers, known)
    status = "pass" if p_value is None else _status(p_value, UNEQUAL)
    if found < total * 0.5:
        status = "fail"
    elif found < total * 0.98 or repeated:
        status = "warn" if status == "pass" else status
    return Check("identity_match", status, f"customers found among the {what}: {seen}{more}", p_value)


def freshness(through: datetime | None, needed: datetime, unfinished: Sequence[str] = ()) -> Check:
    """Ask whether the data reach as far as the readout needs them; of `unfinished` events no pull ever got all."""
    if unfinished:
        return Check(
            "freshness",
            "fail",
            f"no pull has brought all events named {', '.join(unfinished)} yet; run `lift pull` until it ends",
        )
    if through is None:
        return Check("freshness", "skip", "the data carry no instants, so how far they reach is not known")
    gap = needed - through
    status: Status = "fail" if gap > STALE[1] else "warn" if gap > STALE[0] else "pass"
    said = f"the data reach {through:%Y-%m-%d %H:%M} UTC"
    if gap > timedelta(0):
        said += f", {_span(gap)} short of what this readout needs"
    return Check("freshness", status, said)


def assignment_before_outcome(
    before: Mapping[str, int], first: Mapping[str, int], customers: Mapping[str, int], *, rolling: bool
) -> Check:
    """Ask whether customers were assigned before the outcomes they are counted by.

    `first` has, per arm, the customers with an outcome since the experiment's first assignment, `before` those
    among them whose first one came before their own assignment. Where the arms differ in that, outcomes
    decided arms: `before` is compared as a share of all `customers` assigned, which no effect can change. With
    rolling entry some customers order, and qualify later: only a difference counts.
    """
    total, early = sum(first.values()), sum(before.values())
    if not total:
        return Check("assignment_before_outcome", "skip", "no outcomes since the first assignment")
    share = early / total
    p_value = _homogeneity(customers, before) if early else None
    status: Status = "pass" if p_value is None else _status(p_value, UNEQUAL)
    if share > (0.95 if rolling else 0.05):
        status = "fail"
    elif share > 0.01 and not rolling and status == "pass":
        status = "warn"
    seen = ", ".join(f"{arm} {before.get(arm, 0) / n:.1%}" for arm, n in first.items() if n)
    said = (
        f"{early:,} of {total:,} customers with an outcome had their first one before they were assigned ({seen})"
        if early
        else "every customer was assigned before the first outcome"
    )
    return Check("assignment_before_outcome", status, said, p_value)


def outliers(metric: str, largest: float, total: float, buyers: int) -> Check:
    """Ask whether one customer carries the mean of a value metric."""
    if total <= 0 or not buyers:
        return Check("outliers", "skip", f"{metric} has no positive total yet")
    share = largest / total
    status: Status = "warn" if share > OUTLIER_SHARE and buyers >= 20 else "pass"
    return Check("outliers", status, f"the largest customer makes up {share:.1%} of an arm's {metric}")


def holdout_delivered(messaged: int | None, served: int | None, either: int, held_out: int) -> Check:
    """Ask whether customers of the holdout were given the treatment all the same.

    `messaged` of them a message reached, `served` were served the offer; None where nobody told. `either` is of
    whom one or the other is true.
    """
    if messaged is None and served is None:
        return Check(
            "holdout_delivered",
            "skip",
            "nothing tells whom messages reached or who was served the offer: name `deliveries` and `exposures` in the "
            "experiment file, and pull",
        )
    parts = [
        f"whom {what} is not known" if count is None else f"{f'{count:,}' if count else 'none'} {did}"
        for count, did, what in (
            (messaged, "got the message", "messages reached"),
            (
                served,
                "was served the offer" if served == 1 else "were served the offer",
                "the offer was served to",
            ),
        )
    ]
    known = "; ".join(parts)
    if either:
        return Check(
            "holdout_delivered",
            "fail",
            f"{either:,} of {held_out:,} held-out customers got the treatment: {known}",
        )
    return Check("holdout_delivered", "pass", f"of {held_out:,} held-out customers {known}")


def _homogeneity(of: Mapping[str, int], having: Mapping[str, int]) -> float | None:
    """Return the p-value of equal shares in all arms, None where all or none have.

    Pearson's chi-squared. Where that is small and few are expected in an arm, the exact binomial test of each
    arm's part of those who have, or of those who have not if they are fewer, as for the arms' sizes.
    """
    total, found = sum(of.values()), sum(having.values())
    if not total or found in {0, total}:
        return None
    share, sizes = found / total, {arm: n for arm, n in of.items() if n}
    statistic = sum(
        (having.get(arm, 0) - n * share) ** 2 / (n * share * (1 - share)) for arm, n in sizes.items()
    )
    p_value = chi2_sf(len(sizes) - 1, statistic)
    rarer = min(found, total - found)
    if p_value < UNEQUAL[0] and len(sizes) > 1 and min(sizes.values()) * rarer / total < EXPECTED:
        parts = {
            arm: having.get(arm, 0) if rarer == found else n - having.get(arm, 0) for arm, n in of.items()
        }
        p_value = max(p_value, _exact(parts, rarer, {arm: n / total for arm, n in sizes.items()}))
    return p_value


def _exact(parts: Mapping[str, int], total: int, shares: Mapping[str, float]) -> float:
    """Return the exact binomial p-value of each arm's part of `total` against the rest.

    Of two arms they are one; of more the smallest counts times their number (Bonferroni).
    """
    each = [binomial_p(parts[arm], total, share) for arm, share in shares.items()]
    return min(each) if len(each) == 2 else min(1.0, min(each) * len(each))


def _status(p_value: float, bounds: tuple[float, float]) -> Status:
    warn, fail = bounds
    return "fail" if p_value < fail else "warn" if p_value < warn else "pass"


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 1e-4 else "p below 0.0001"


def _span(gap: timedelta) -> str:
    return f"{gap.days} days" if gap.days > 1 else f"{gap.total_seconds() / 3600:.0f} hours"
