"""What pushing looks like in a notebook: plans, what was applied, and audits of flags. No customer's key is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.design.reasons import REASONS
from toolkit.notebook.panel import Grid, Panel
from toolkit.readout import words
from toolkit.readout.figures import count, duration, percent
from toolkit.show.audited import audit_record
from toolkit.show.pushing import plan_record, pushed_record
from toolkit.steps.audit import Audit
from toolkit.steps.push import Pushed, PushPlan

__all__ = ["of_audit", "of_plan", "of_pushed"]


def of_plan(plan: PushPlan) -> Panel:
    """Return what a push would change, why, and what forbids it; nothing has been changed yet."""
    told = plan_record(plan, plan.facts.experiment)
    changes = Grid(
        "Segments",
        ("segment", "", "add", "remove", "unchanged", "changed"),
        tuple(
            (
                each["segment"],
                ", ".join(
                    name
                    for name, so in (
                        ("holdout", each["holdout"]),
                        ("eligible", not each["holdout"]),
                        ("big", each["big"]),
                        ("new", not each["exists"]),
                    )
                    if so
                ),
                count(each["add"]),
                count(each["remove"]),
                count(each["unchanged"]),
                percent(each["share_changed"]),
            )
            for each in told["segments"]
        ),
        right=(2, 3, 4, 5),
    )
    reasons = Grid(
        "Why",
        ("segment", "change", "customers", "reason"),
        tuple(
            (each["segment"], change, count(n), REASONS.get(reason, reason))
            for each in told["segments"]
            for change in ("add", "remove")
            for reason, n in sorted(each["reasons"][change].items(), key=lambda pair: (-pair[1], pair[0]))
        ),
        right=(2,),
    )
    messages, forbidden = told["messages"], told["forbidden"]
    if forbidden:
        said = f"Refused as it stands: {forbidden[0]}."
    elif told["is_empty"]:
        said = "Nothing to change: the segments are those wanted."
    else:
        ends, begins = (sum(each[way] for each in told["segments"]) for way in ("remove", "add"))
        said = (
            f"{words.plural(begins, 'membership')} would begin, {words.plural(ends, 'membership')} would end. "
            "Nothing was changed yet."
        )
    notes = [*told["notes"], *(f"Must be allowed by number: {each}" for each in forbidden)]
    if messages["announce"] or messages["withdraw"]:
        notes.append(
            f"After read-back {words.plural(messages['announce'], 'customer')} would be told of at Customer.io; "
            f"{words.plural(messages['withdraw'], 'message')} would be withdrawn before anything else."
        )
    if told["overridden"]:
        notes.append(f"{words.plural(told['overridden'], 'treated customer')} must not be offered anything.")
    status = "bad" if forbidden else "good" if told["is_empty"] else "warn"
    return Panel("What a push would change", said, (changes, reasons), notes=tuple(notes), status=status)


def of_pushed(done: Pushed) -> Panel:
    """Return what an applied push did."""
    told = pushed_record(done)
    through = Grid(
        "From due to read back",
        ("trait", "customers", "half within", "95 in 100 within", "later than max age"),
        tuple(
            (
                each["trait"],
                count(each["customers"]),
                duration(each["p50_seconds"]),
                duration(each["p95_seconds"]),
                count(each["late"]),
            )
            for each in told["propagation"]
        ),
        right=(1, 2, 3, 4),
    )
    refused = told["refused_by_customerio"] + sum(told["not_taken"].values())
    said = f"{words.plural(told['writes'], 'write')} to LaunchDarkly, read back; {words.plural(told['told'], 'customer')} told of at Customer.io."
    notes = (
        (f"{words.plural(refused, 'customer')} refused by a vendor; `lift push` names them.",)
        if refused
        else ()
    )
    return Panel("Pushed", said, (through,), notes=notes, status="warn" if refused else "good")


def of_audit(found: Audit) -> Panel:
    """Return what an audit of flags found: what failed first, then every check and every probe."""
    told = audit_record(found)
    order = ("fail", "warn", "pass")
    checks = Grid(
        "Checks",
        ("flag", "check", "answer", "what was found"),
        tuple(
            (flag["flag"], each["name"], words.CHECK_STATUS[each["status"]], _mended(each))
            for flag in told["flags"]
            for each in sorted(flag["checks"], key=lambda each: order.index(each["status"]))
        ),
    )
    probes = Grid(
        "Who is served what, by LaunchDarkly's own SDK",
        ("flag", "who", "world", "expected", "got", "answer"),
        tuple(
            (
                flag["flag"],
                each["who"],
                each["world"],
                str(each["expected"]).lower(),
                str(each["got"]),
                "leak" if each["leak"] else words.CHECK_STATUS[each["status"]],
            )
            for flag in told["flags"]
            for each in sorted(flag["probes"], key=lambda each: order.index(each["status"]))
        ),
    )
    unsafe = [flag["flag"] for flag in told["flags"] if flag["status"] == "fail"]
    said = (
        f"Not safe: {words.listed(unsafe)}. Nothing may be pushed that these flags read."
        if unsafe
        else f"Safe: {words.listed([flag['flag'] for flag in told['flags']])}."
    )
    warned = any(flag["status"] == "warn" for flag in told["flags"])
    return Panel(
        f"Are the flags safe? {found.project}/{found.environment}",
        said,
        (checks, probes),
        status="bad" if unsafe else "warn" if warned else "good",
    )


def _mended(check: Mapping[str, Any]) -> str:
    return str(check["detail"]) + (f". Mend: {check['mend']}" if check["mend"] else "")
