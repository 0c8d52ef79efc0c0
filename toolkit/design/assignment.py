"""Which arm a customer belongs to: LaunchDarkly's own bucket, so that its rollouts would agree.

The bucket of a customer is the first 15 hexadecimal digits of SHA-1 over `prefix.id`, read as a fraction of
0xFFFFFFFFFFFFFFF. Arms follow one another in the file's order, each as wide as its share in steps of
1/100,000. Digits of one length compare as text just as they do as numbers, so an arm's upper bound is kept
as 15 digits and the same comparison works in Python and in every SQL engine, without a float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1

__all__ = ["TOTAL_WEIGHT", "Bound", "arm_of", "bounds_of", "bucket", "digits", "held_out_below", "weights_of"]

SCALE = 0xFFFFFFFFFFFFFFF
TOTAL_WEIGHT = 100_000
LENGTH = 15


@dataclass(frozen=True, slots=True)
class Bound:
    """An arm and the digits that its members' buckets lie below (and not below the arm before)."""

    arm: str
    below: str


def digits(prefix: str, identifier: str) -> str:
    """Return the 15 hexadecimal digits that place `identifier`."""
    return sha1(f"{prefix}.{identifier}".encode()).hexdigest()[:LENGTH]  # noqa: S324 (the vendor's bucket)


def bucket(prefix: str, identifier: str) -> float:
    """Return the bucket, from 0 to 1, as the vendor's SDK computes it."""
    return int(digits(prefix, identifier), 16) / float(SCALE)


def weights_of(shares: Mapping[str, float]) -> dict[str, int]:
    """Return each arm's weight in 1/100,000; they sum to 100,000 whatever the shares' rounding."""
    weights = {arm: round(share * TOTAL_WEIGHT) for arm, share in shares.items()}
    last = list(weights)[-1]
    weights[last] += TOTAL_WEIGHT - sum(weights.values())
    return weights


def bounds_of(shares: Mapping[str, float]) -> tuple[Bound, ...]:
    """Return the arms' upper bounds in order; the last arm takes whatever is left.

    A bound is the smallest number whose bucket is not below the arms' summed weight, with the SDK's own
    floating-point sum and division, so that not one customer falls on the other side.
    """
    upper, bounds = 0.0, []
    for arm, weight in weights_of(shares).items():
        upper += weight / TOTAL_WEIGHT
        bounds.append(Bound(arm, _first_not_below(upper)))
    return (*bounds[:-1], Bound(bounds[-1].arm, "g"))  # above every digit


def arm_of(bounds: tuple[Bound, ...], prefix: str, identifier: str) -> str:
    """Return the arm of `identifier`."""
    place = digits(prefix, identifier)
    return next(bound.arm for bound in bounds if place < bound.below)


def held_out_below(share: float) -> str:
    """Return the digits that the members of a holdout of `share` lie below."""
    return _first_not_below(share)


def _first_not_below(upper: float) -> str:
    low, high = 0, SCALE + 1
    while low < high:
        middle = (low + high) // 2
        if middle / float(SCALE) < upper:
            low = middle + 1
        else:
            high = middle
    return f"{low:015x}" if low <= SCALE else "g"
