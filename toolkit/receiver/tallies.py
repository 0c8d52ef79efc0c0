"""What the receiver counts of itself, in Prometheus' text format; no label names a customer."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from toolkit.lake.received import Waiting

__all__ = ["Tallies"]

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Upper bounds of the histogram, in seconds; the vendor waits for four."""


class Tallies:
    """Counters and one histogram. Counting is done in the loop's thread, or under the interpreter's lock."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._arrivals: Counter[tuple[str, str]] = Counter()
        self._applied: Counter[str] = Counter()
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def answered(self, door: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._answers[door, status] += 1
        self._buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def arrived(self, door: str, outcome: str) -> None:
        """Count what became of an authentic body."""
        self._arrivals[door, outcome] += 1

    def applied(self, what: str, number: int = 1) -> None:
        """Count what was applied, and what failed to be."""
        self._applied[what] += number

    def text(self, waiting: Waiting) -> str:
        """Return everything counted so far, and how much is waiting."""
        lines = ["# TYPE lift_receiver_answers_total counter"]
        lines += [
            f'lift_receiver_answers_total{{door="{door}",status="{status}"}} {number}'
            for (door, status), number in sorted(self._answers.items())
        ]
        lines += ["# TYPE lift_receiver_arrivals_total counter"]
        lines += [
            f'lift_receiver_arrivals_total{{door="{door}",outcome="{outcome}"}} {number}'
            for (door, outcome), number in sorted(self._arrivals.items())
        ]
        lines += ["# TYPE lift_receiver_applied_total counter"]
        lines += [
            f'lift_receiver_applied_total{{what="{what}"}} {number}'
            for what, number in sorted(self._applied.items())
        ]
        lines += ["# TYPE lift_receiver_answer_seconds histogram"]
        below = 0
        for bound, number in zip((*BOUNDS, "+Inf"), self._buckets, strict=True):
            below += number
            lines.append(f'lift_receiver_answer_seconds_bucket{{le="{bound}"}} {below}')
        lines += [
            f"lift_receiver_answer_seconds_sum {self._seconds:.6f}",
            f"lift_receiver_answer_seconds_count {below}",
            "# TYPE lift_receiver_waiting gauge",
            f'lift_receiver_waiting{{what="deliveries"}} {waiting.deliveries}',
            f'lift_receiver_waiting{{what="crossings"}} {waiting.crossings}',
            f'lift_receiver_waiting{{what="quarantined"}} {waiting.quarantined}',
        ]
        return "\n".join(lines) + "\n"
