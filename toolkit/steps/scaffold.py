"""Scaffold: the safe flags and segments of an experiment, as requests to read or as what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from toolkit.clients.launchdarkly_flags import LaunchDarklyFlags
from toolkit.design.audit import audit_flag
from toolkit.design.experiment import Experiment
from toolkit.design.flag_contract import FlagContract, contracts_of, in_json
from toolkit.design.scaffold import (
    drawn_fallthrough,
    flag_body,
    flag_instructions,
    placeholders,
    segment_bodies,
    values_of,
)
from toolkit.design.served import Subject
from toolkit.design.traits import OWNERSHIP_TAG
from toolkit.errors import CheckFailed, Conflict
from toolkit.steps.audit import read_subject
from toolkit.steps.workspace import Spec, Workspace

__all__ = ["Scaffolded", "requests_of", "scaffold"]


@dataclass(frozen=True, slots=True)
class Scaffolded:
    """What was made; keys of segments and flags, empty where all was there and well."""

    segments: tuple[str, ...]
    created: tuple[str, ...]
    instructed: tuple[str, ...]
    turned_on: tuple[str, ...]


def requests_of(workspace: Workspace, spec: Spec) -> dict[str, Any]:
    """Return the requests that make the flags and segments, JSON-ready; nothing is asked or written.

    Raises:
        SpecError: no trait names a flag.
    """
    experiment, settings = spec.experiment, workspace.settings
    project, environment = settings.launchdarkly_project, settings.launchdarkly_environment
    contracts = contracts_of(experiment, spec.path)
    bodies = {body["key"]: body for each in contracts for body in segment_bodies(each, experiment)}
    return {
        "segments": {"path": f"/api/v2/segments/{project}/{environment}", "create": list(bodies.values())},
        "flags": [
            {
                "path": f"/api/v2/flags/{project}",
                "create": flag_body(each, experiment),
                "instruct": {
                    "environmentKey": environment,
                    "comment": _comment(experiment),
                    "instructions": flag_instructions(each, placeholders(each)),
                },
                **(
                    {
                        "patch": [
                            {
                                "op": "replace",
                                "path": f"/environments/{environment}/fallthrough",
                                "value": drawn_fallthrough(each, range(len(values_of(each)))),
                            }
                        ]
                    }
                    if each.mode == "rollout"
                    else {}
                ),
            }
            for each in contracts
        ],
    }


def scaffold(spec: Spec, client: LaunchDarklyFlags, *, turn_on: bool) -> Scaffolded:
    """Make what is missing, and mend what is ours and unsafe; what is ours and safe stays as it is.

    A flag is turned on only where that is asked for and its rules were read back and are safe.

    Raises:
        Conflict: a flag or a segment is there and is not ours, or a flag of ours lacks a value.
        CheckFailed: a flag read back is not safe, and was not turned on.
        SpecError, VendorError: as for an audit.
    """
    experiment = spec.experiment
    segments, created, instructed, turned_on = [], [], [], []
    for contract in contracts_of(experiment, spec.path):
        refuse_strange(client, contract)
        segments += _make_segments(client, contract, experiment)
        if client.flag_told(contract.flag) is None:
            client.create_flag(flag_body(contract, experiment))
            created.append(contract.flag)
        subject = read_subject(client, contract, spec)
        if not _safe(subject):
            _mend(client, subject, experiment)
            instructed.append(contract.flag)
            subject = read_subject(client, contract, spec)
        if turn_on and not subject.flag.on:
            if not _safe(subject):
                raise CheckFailed(
                    f"flag {contract.flag} is not safe as it was read back, and was left off: see `lift audit {spec.path}`"
                )
            client.instruct_flag(contract.flag, [{"kind": "turnFlagOn"}], comment=_comment(experiment))
            turned_on.append(contract.flag)
    return Scaffolded(tuple(segments), tuple(created), tuple(instructed), tuple(turned_on))


def refuse_strange(client: LaunchDarklyFlags, contract: FlagContract) -> None:
    """Raise where the flag or one of its segments is somebody else's, before anything is made.

    Raises:
        Conflict: it is there, and does not carry our tag.
    """
    asked: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
        ("flag", contract.flag, client.flag_told),
        *(("segment", key, client.segment_told) for key in contract.segments),
    )
    for what, key, tell in asked:
        told = tell(key)
        if told is not None and OWNERSHIP_TAG not in (told.get("tags") or ()):
            raise Conflict(
                f"LaunchDarkly: {what} {key} is there and does not carry our tag `{OWNERSHIP_TAG}`, so it is not"
                " touched; audit it as it is, choose another key, or add the tag if it is meant to be managed from here"
            )


def _make_segments(client: LaunchDarklyFlags, contract: FlagContract, experiment: Experiment) -> list[str]:
    made = []
    for body in segment_bodies(contract, experiment):
        if client.segment_told(body["key"]) is None:
            client.create_segment(
                body["key"], name=body["name"], description=body["description"], tags=body["tags"]
            )
            made.append(body["key"])
    return made


def _mend(client: LaunchDarklyFlags, subject: Subject, experiment: Experiment) -> None:
    """Give a flag of ours its safe targeting."""
    contract, flag = subject.contract, subject.flag
    places = []
    for value in values_of(contract):
        found = contract.places_of(flag, value)
        if not found:
            raise Conflict(
                f"LaunchDarkly: flag {flag.key} carries our tag and has no variation {in_json(value)}: add it, or"
                " choose another key"
            )
        places.append(found[0])
    instructions = flag_instructions(contract, [flag.variations[place].id for place in places])
    client.instruct_flag(flag.key, instructions, comment=_comment(experiment))
    if contract.mode == "rollout":
        drawn = drawn_fallthrough(contract, places)
        client.replace_in_flag(flag.key, "fallthrough", drawn, comment=_comment(experiment))


def _safe(subject: Subject) -> bool:
    return all(finding.status != "fail" for finding in audit_flag(subject))


def _comment(experiment: Experiment) -> str:
    return f"lift: the safe flag of {experiment.key}"
