"""What an audit found: pass, warn or fail, where, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from toolkit.design.flags import Rule

__all__ = ["Finding", "Status", "failed", "passed", "warned"]

Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found; `rule` counts from 1 and is None for the flag as a whole."""

    check: str
    status: Status
    detail: str
    mend: str = ""
    rule: int | None = None
    rule_id: str | None = None


def passed(check: str, detail: str) -> Finding:
    """Return that all is well."""
    return Finding(check, "pass", detail)


def warned(check: str, detail: str, mend: str, rule: Rule | None = None) -> Finding:
    """Return what deserves a second look, and is no danger by itself."""
    return _about(check, "warn", detail, mend, rule)


def failed(check: str, detail: str, mend: str, rule: Rule | None = None) -> Finding:
    """Return what makes the flag unsafe, or keeps a treatment from those who are to have it."""
    return _about(check, "fail", detail, mend, rule)


def _about(check: str, status: Status, detail: str, mend: str, rule: Rule | None) -> Finding:
    number, identifier = (rule.number, rule.id or None) if rule else (None, None)
    return Finding(check, status, detail, mend, number, identifier)
