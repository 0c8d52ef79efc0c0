"""A record's comparisons as CSV, for a spreadsheet: a cell is a number or plain text, never a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

__all__ = ["as_csv", "plain"]

HEADER = (
    "experiment", "as_of", "metric", "role", "arm", "control", "breakdown", "level", "customers_arm",
    "customers_control", "mean_arm", "mean_control", "estimate", "difference", "low", "high", "relative",
    "relative_low", "relative_high", "p_value", "trusted", "corrects", "difference_as_measured",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "＝", "＋", "－", "＠")
"""What a spreadsheet may take for the start of a formula; the last ones are full-width forms."""


def as_csv(record: Mapping[str, Any]) -> str:
    """Return the record's comparisons, a row each, at the level of their family where they have one.

    The means are as measured. `difference` is of the `estimate` that counts (`corrects`: what a correction for
    skewness is of) and may be adjusted or capped; `difference_as_measured` is one mean less the other.

    Where a check failed, or a comparison is not to be trusted, its numbers are left out. Of a simulated
    world every row says so.
    """
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\r\n")
    simulated = bool(record["provenance"].get("simulated"))
    rows.writerow((*HEADER, "simulated") if simulated else HEADER)
    failed = any(each["status"] == "fail" for each in record["checks"])
    for lift in record["lifts"]:
        cells = [_cell(each) for each in _row(record, lift, believed=not failed)]
        rows.writerow([*cells, "yes"] if simulated else cells)
    return out.getvalue()


def plain(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: an apostrophe goes before what could start one."""
    return f"'{text}" if text.lstrip(" '\"").startswith(FORMULA) or text.startswith(FORMULA) else text


def _row(record: Mapping[str, Any], lift: Mapping[str, Any], *, believed: bool) -> list[Any]:
    block = lift[lift["decision"]]
    shown = {**block, **(lift["corrected"] or {})} if block and believed and lift["trusted"] else None
    absolute = shown["absolute"] if shown else {}
    relative = shown["relative"] if shown else {}
    means = lift["means"] if believed else {}
    return [
        record["experiment"],
        record["as_of"],
        *(lift[name] for name in ("metric", "role", "arm", "control", "breakdown", "level")),
        *(lift["customers"][side] for side in ("treatment", "control")),
        *(means.get(side) for side in ("treatment", "control")),
        lift["decision"],
        *(absolute.get(name) for name in ("value", "low", "high")),
        *(relative.get(name) for name in ("value", "low", "high")),
        shown["p_value"] if shown else None,
        "yes" if shown else "no",
        lift.get("corrects"),
        lift["raw"]["absolute"]["value"] if shown else None,
    ]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return plain(value) if isinstance(value, str) else value
