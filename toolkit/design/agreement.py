"""Whether what real customers are served is what the ledger says of them: counts, and nobody's key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.design.findings import Status
from toolkit.design.flag_contract import Mode, same_value
from toolkit.design.probes import Served
from toolkit.design.served import Subject

__all__ = ["Agreement", "agree"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts of customers.

    Attributes:
        customers: how many were tried.
        leaks: those held out whom the flag serves a treatment.
        wrong: treated ones whom it serves what no customer of their arm is served.
        withheld: treated ones whom it serves the control although nothing but their arm decides, or although
            they are in an eligibility segment.
        ineligible: treated ones in no eligibility segment, whom it serves the control: such as must not be
            offered anything, or are still to be pushed. Looked up, they are all that are served the control,
            since only the application knows the attribute.
    """

    customers: int
    leaks: int
    wrong: int
    withheld: int
    ineligible: int
    mode: Mode

    @property
    def status(self) -> Status:
        """Return fail where anybody is served what they must not be, or not what they must."""
        return "fail" if self.leaks or self.wrong or self.withheld else "pass"


def agree(subject: Subject, served: Iterable[tuple[str, str | None, Served]]) -> Agreement:
    """Return how (customer, arm, what the SDK served) agree; the arm None stands for the universal holdout."""
    contract = subject.contract
    eligible = _members(subject)
    found: Counter[str] = Counter()
    customers = 0
    for customer, arm, each in served:
        customers += 1
        value = contract.value_of(subject.flag, each.place)
        allowed = contract.arms[arm] if arm is not None else (contract.control,)
        if any(same_value(value, one) for one in allowed):
            continue
        if any(same_value(one, contract.control) for one in allowed):
            found["leaks"] += 1
        elif not same_value(value, contract.control):
            found["wrong"] += 1
        elif contract.mode == "rollout" or customer in eligible:
            found["withheld"] += 1
        else:
            found["ineligible"] += 1
    counts = {name: found[name] for name in ("leaks", "wrong", "withheld", "ineligible")}
    return Agreement(customers, **counts, mode=contract.mode)


def _members(subject: Subject) -> frozenset[str]:
    """Return everybody in an eligibility segment."""
    contract = subject.contract
    if contract.mode != "segments":
        return frozenset()
    found = [subject.segments.get(key) for key in contract.values]
    return frozenset().union(
        *(dict(segment.included).get(contract.kind, frozenset()) for segment in found if segment)
    )
