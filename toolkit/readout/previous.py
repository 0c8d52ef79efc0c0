"""The record before this one: the little of it that a page needs to say what has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["extract"]


def extract(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the next week's page compares itself with; of numbers only those that could be believed."""
    failed = any(each["status"] == "fail" for each in record["checks"])
    primary = [] if failed else [each for each in record["lifts"] if _counts(each)]
    return {
        "as_of": record["as_of"],
        "status": "not_readable" if failed else record["verdict"]["status"],
        "customers": sum(each["customers"] for each in record["arms"]),
        "checks": {each["name"]: each["status"] for each in record["checks"]},
        "spec": record["provenance"]["spec"],
        "lifts": [
            {"metric": each["metric"], "arm": each["arm"], "absolute": _ends(each), "kind": each["kind"]}
            for each in primary
        ],
    }


def _counts(lift: Mapping[str, Any]) -> bool:
    whole = lift["role"] == "primary" and lift["breakdown"] is None
    return bool(whole and lift["trusted"] and lift[lift["decision"]])


def _ends(lift: Mapping[str, Any]) -> dict[str, Any]:
    return {name: lift[lift["decision"]]["absolute"][name] for name in ("value", "low", "high")}
