"""What an audit of flags found, in plain text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from toolkit.design.findings import Finding
from toolkit.design.flag_contract import in_json
from toolkit.show.table import table_text

if TYPE_CHECKING:
    from toolkit.design.agreement import Agreement
    from toolkit.design.probes import Outcome
    from toolkit.steps.audit import Audit, FlagAudit
    from toolkit.steps.scaffold import Scaffolded

__all__ = ["audit_record", "audit_text", "scaffolded_text"]


def audit_text(found: Audit) -> str:
    """Return an audit: what failed first of all, then every check and every probe."""
    return "\n\n".join(_flag_text(found, each) for each in found.flags)


def scaffolded_text(made: Scaffolded) -> str:
    """Return what a scaffold made."""
    told = (
        ("made segments", made.segments),
        ("made flags", made.created),
        ("gave the safe rules to", made.instructed),
        ("turned on", made.turned_on),
    )
    lines = [f"{what}: {', '.join(keys)}" for what, keys in told if keys]
    return "\n".join(lines) or "everything was there and safe; nothing was changed"


def audit_record(found: Audit) -> dict[str, Any]:
    """Return an audit as JSON-ready values; no customer's key is in it."""
    return {
        "schema": 1,
        "experiment": found.experiment,
        "project": found.project,
        "environment": found.environment,
        "safe": found.safe,
        "flags": [
            {
                "flag": each.subject.flag.key,
                "version": each.subject.flag.version,
                "traits": list(each.subject.contract.names),
                "mode": each.subject.contract.mode,
                "on": each.subject.flag.on,
                "status": each.status,
                "leaks": len(each.leaks),
                "checks": [_check(finding) for finding in each.findings],
                "probes": [_probe(outcome) for outcome in each.outcomes],
                "customers": _customers(each.agreement),
            }
            for each in found.flags
        ],
    }


def _flag_text(found: Audit, each: FlagAudit) -> str:
    flag, contract = each.subject.flag, each.subject.contract
    lines = [
        f"{flag.key} in {found.project}/{found.environment}, {'on' if flag.on else 'off'}, version {flag.version}: "
        f"{VERDICTS[each.status]}",
        f"  carries {', '.join(contract.names)} of {found.experiment} by {WAYS[contract.mode]}; everybody else gets "
        f"{in_json(contract.control)}",
        table_text(
            ["", "check", "rule", "what was found"],
            [
                [SIGNS[finding.status], finding.check, _rule(finding), _said(finding)]
                for finding in sorted(each.findings, key=lambda finding: ORDER.index(finding.status))
            ],
        ),
        table_text(
            ["", "who", "world", "expected", "got", "decided by"],
            [
                [
                    SIGNS[outcome.status] + (" leak" if outcome.leak else ""),
                    outcome.probe.name,
                    outcome.probe.world,
                    in_json(outcome.probe.expected),
                    outcome.got + _of_how_many(outcome),
                    outcome.decided_by,
                ]
                for outcome in sorted(each.outcomes, key=lambda outcome: ORDER.index(outcome.status))
                if outcome.status != "pass" or outcome.probe.world == AS_IT_IS
            ],
        ),
        *_broken_text(each.outcomes),
        _agreement_text(each.agreement),
    ]
    return "\n".join(lines)


VERDICTS = {
    "pass": "safe",
    "warn": "safe, with warnings",
    "fail": "NOT SAFE, or not what the experiment promises",
}
WAYS = {
    "segments": "segments",
    "rollout": "a rollout",
    "lookup": "an attribute that the application looks up",
}
SIGNS = {"pass": "ok", "warn": "warn", "fail": "FAIL"}
AS_IT_IS = "as it is"
ORDER = ("fail", "warn", "pass")


def _broken_text(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a line per broken world for those in it who get what they must."""
    for world, group in groupby(outcomes, key=lambda outcome: outcome.probe.world):
        names = {outcome.probe.name.split(",")[0] for outcome in group if outcome.status == "pass"}
        if names and world != AS_IT_IS:
            yield f"ok: {world}: {', '.join(sorted(names))} get the control"


def _agreement_text(agreement: Agreement | None) -> str:
    if agreement is None:
        return "no customer of the ledger was tried: nobody is assigned, or big segments list no members"
    parts = [f"{agreement.leaks:,} held out are served a treatment"]
    if agreement.wrong:
        parts.append(f"{agreement.wrong:,} are served another arm's value")
    if agreement.withheld:
        who = "treated" if agreement.mode == "rollout" else "treated and eligible"
        parts.append(f"{agreement.withheld:,} {who} are served the control")
    if agreement.mode == "lookup":
        parts.append("what treated customers get, only the application's attribute tells")
    elif agreement.ineligible:
        parts.append(
            f"{agreement.ineligible:,} treated are in no eligibility segment (they must not be offered anything, or"
            " are still to be pushed)"
        )
    tried = f"{SIGNS[agreement.status]}: {agreement.customers:,} customers of the ledger tried"
    return f"{tried}: {'; '.join(parts)}"


def _said(finding: Finding) -> str:
    return finding.detail + (f". Mend: {finding.mend}" if finding.mend else "")


def _rule(finding: Finding) -> str:
    if finding.rule is None:
        return ""
    return f"{finding.rule}" + (f" ({finding.rule_id})" if finding.rule_id else "")


def _of_how_many(outcome: Outcome) -> str:
    total = len(outcome.probe.keys)
    return f" ({outcome.wrong:,} of {total:,})" if 0 < outcome.wrong < total else ""


def _check(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.check,
        "status": finding.status,
        "rule": finding.rule,
        "rule_id": finding.rule_id,
        "detail": finding.detail,
        "mend": finding.mend or None,
    }


def _probe(outcome: Outcome) -> dict[str, Any]:
    return {
        "who": outcome.probe.name,
        "world": outcome.probe.world,
        "expected": outcome.probe.expected,
        "got": outcome.got,
        "decided_by": outcome.decided_by,
        "tried": len(outcome.probe.keys),
        "otherwise": outcome.wrong,
        "status": outcome.status,
        "leak": outcome.leak,
    }


def _customers(agreement: Agreement | None) -> dict[str, Any] | None:
    if agreement is None:
        return None
    return {
        "tried": agreement.customers,
        "leaks": agreement.leaks,
        "wrong": agreement.wrong,
        "withheld": agreement.withheld,
        "ineligible": agreement.ineligible,
        "status": agreement.status,
    }
