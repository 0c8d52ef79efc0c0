"""What is measured: one function a work, which returns the section that RESULTS.md shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.works import (
    cold,
    engines,
    growth,
    ledger,
    one_file,
    orders,
    plan,
    published,
    receiver,
    running,
)
from benchmarks.works.section import Section, Setting

__all__ = ["WORKS", "Section", "Setting"]

WORKS: Mapping[str, Callable[[Setting], Section]] = {
    "ten_million": one_file.ten_million,
    "fifty_million": orders.fifty_million,
    "looks": orders.looks,
    "assign": ledger.assign,
    "plan": plan.plan,
    "cold": cold.cold,
    "week_52": running.week_52,
    "growth": growth.growth,
    "engines": engines.engines,
    "readout": published.readout,
    "receiver": receiver.receiver,
}
