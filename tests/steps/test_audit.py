"""Audit and scaffold over real HTTP against the stand-in LaunchDarkly, whose flags somebody spoils."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.errors import Conflict, NotFound, SettingsError, SpecError, WaitingForPerson
from toolkit.sandbox import Sandbox
from toolkit.sandbox.launchdarkly import Segment, serves
from toolkit.settings import Settings
from toolkit.show.audited import audit_record, audit_text
from toolkit.steps.assign import assign
from toolkit.steps.audit import Audit, audit, open_flags
from toolkit.steps.push import open_launchdarkly, plan_push, push
from toolkit.steps.scaffold import Scaffolded, requests_of, scaffold
from toolkit.steps.workspace import Spec, Workspace

ROOT = Path(__file__).parents[2]
VIP = (ROOT / "experiments" / "vip-early-access.yml").read_text()
HOLDOUT, ELIGIBLE = "lift-vip-early-access-holdout", "lift-early-access-eligible"


@pytest.fixture
def box():
    with Sandbox(seed=3, scale=0.1, limits=False) as served:
        yield served


def workspace_of(box: Sandbox, folder: Path, **changed: object) -> Workspace:
    said = {name.lower(): value for name, value in box.environment().items()}
    return Workspace.open(Settings(**(said | {"lift_home": str(folder / "lake")} | changed)))


def spec_of(folder: Path, *changes: tuple[str, str]) -> Spec:
    text = VIP
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "spec.yml"
    path.write_text(text)
    return Spec.read(path)


@pytest.fixture
def pushed(box, tmp_path):
    """The VIP experiment, assigned and pushed, before anybody spoils its flag."""
    workspace, spec = workspace_of(box, tmp_path), spec_of(tmp_path)
    assign(workspace, spec)
    with open_launchdarkly(workspace, spec) as client:
        push(workspace, spec, client, plan_push(workspace, spec, client))
    return workspace, spec


def audited(workspace: Workspace, spec: Spec) -> Audit:
    with open_flags(workspace, spec) as client:
        return audit(workspace, spec, client)


def made(workspace: Workspace, spec: Spec, *, turn_on: bool = False):
    with open_flags(workspace, spec) as client:
        return scaffold(spec, client, turn_on=turn_on)


def members(box: Sandbox, key: str) -> tuple[str, ...]:
    return box.launchdarkly.segments[key].included["user"]


def test_the_sandboxs_flag_is_safe_for_real_segments_and_real_customers(box, pushed):
    found = audited(*pushed)
    (flag,) = found.flags
    assert found.safe
    assert flag.status == "pass"
    assert flag.agreement.customers > 100
    assert (flag.agreement.leaks, flag.agreement.wrong, flag.agreement.withheld) == (0, 0, 0)
    text = audit_text(found)
    record = json.dumps(audit_record(found))
    real = {*members(box, HOLDOUT), *members(box, ELIGIBLE)}
    assert not [key for key in real if key in text or key in record]


def test_a_holdout_behind_the_treatment_leaks_for_customers_who_are_in_both(box, pushed):
    ld = box.launchdarkly
    rules = ld.flags["vip-early-access"].targeting["rules"]
    ld.retarget("vip-early-access", rules=[rules[2], *rules[:2]])
    held = members(box, HOLDOUT)
    ld.put_segment(
        Segment(
            ELIGIBLE,
            ELIGIBLE,
            tags=("lift-toolkit",),
            included={"user": (*members(box, ELIGIBLE), *held[:3])},
        )
    )
    found = audited(*pushed)
    (flag,) = found.flags
    assert not found.safe
    assert {each.check for each in flag.findings if each.status == "fail"} == {"holdouts"}
    assert "holdout, wrongly among lift-early-access-eligible" in {each.probe.name for each in flag.leaks}
    assert flag.agreement.leaks == 3
    text = audit_text(found)
    assert "NOT SAFE" in text
    assert "3 held out are served a treatment" in text
    assert not any(key in text for key in held)
    (told,) = audit_record(found)["flags"]
    assert told["leaks"] == len(flag.leaks) > 0
    fault = next(each for each in told["checks"] if each["status"] == "fail")
    assert fault["rule"] == 2
    assert fault["rule_id"] == rules[0]["_id"]
    assert "first rule" in fault["mend"]


def test_segments_that_segments_and_prerequisites_ask_for_are_read_as_well(box, pushed):
    ld = box.launchdarkly
    inner = serves("inner", 1)["clauses"]
    ld.put_segment(Segment("inner", "inner", included={"user": ("someone",)}))
    ld.put_segment(Segment("outer", "outer", rules=({"_id": "r", "clauses": inner},)))
    rules = ld.flags["vip-early-access"].targeting["rules"]
    ld.retarget(
        "vip-early-access",
        rules=[*rules, serves("outer", 1)],
        prerequisites=[{"key": "winback-offer", "variation": 0}],
    )
    (flag,) = audited(*pushed).flags
    assert {"inner", "outer"} <= {key for key, segment in flag.subject.segments.items() if segment}
    assert "lift-winback-dormant-holdout" in flag.subject.segments
    assert flag.subject.prerequisites["winback-offer"].key == "winback-offer"


def test_an_unknown_flag_a_wrong_project_and_no_token_are_said_and_mended(box, tmp_path):
    workspace = workspace_of(box, tmp_path)
    with pytest.raises(NotFound, match=r"no flag 'nowhere'.*--scaffold --apply"):
        audited(workspace, spec_of(tmp_path, ("flag: vip-early-access", "flag: nowhere")))
    with pytest.raises(NotFound, match="LAUNCHDARKLY_PROJECT"):
        audited(workspace_of(box, tmp_path, launchdarkly_project="elsewhere"), spec_of(tmp_path))
    with pytest.raises(SettingsError, match="LAUNCHDARKLY_ACCESS_TOKEN"):
        audited(workspace_of(box, tmp_path, launchdarkly_access_token=None), spec_of(tmp_path))
    with pytest.raises(SpecError, match="nothing to audit"):
        audited(workspace, spec_of(tmp_path, ("    flag: vip-early-access\n", "")))


OURS = ("flag: vip-early-access", "flag: ours")
ROLLOUT = ("control: holdout\n", "control: holdout\nseed: 8\ndelivery: {mode: rollout}\n")
LOOKUP = ("control: holdout\n", "control: holdout\ndelivery: {mode: lookup}\n")


@pytest.mark.parametrize("mode", [(), (ROLLOUT,), (LOOKUP,)], ids=["segments", "rollout", "lookup"])
def test_a_scaffold_is_made_once_off_and_safe_and_turned_on_when_asked(box, tmp_path, mode):
    workspace, spec = workspace_of(box, tmp_path), spec_of(tmp_path, OURS, *mode)
    first = made(workspace, spec)
    assert (first.created, first.instructed, first.turned_on) == (("ours",), ("ours",), ())
    assert box.launchdarkly.flags["ours"].targeting["on"] is False
    assert audited(workspace, spec).safe
    before = box.launchdarkly.changes
    again = made(workspace, spec)
    assert again == Scaffolded((), (), (), ())
    assert box.launchdarkly.changes == before
    assert made(workspace, spec, turn_on=True).turned_on == ("ours",)
    (flag,) = audited(workspace, spec).flags
    assert flag.status == "pass"
    assert flag.subject.flag.on


def test_a_rollout_serves_the_ledgers_customers_their_own_arms(box, tmp_path):
    workspace, spec = workspace_of(box, tmp_path), spec_of(tmp_path, OURS, ROLLOUT)
    assign(workspace, spec)
    made(workspace, spec, turn_on=True)
    universal = workspace.lake.read("assignments", ["id", "arm"], experiment="always-on-2026h2").to_pylist()
    held = [row["id"] for row in universal if row["arm"] == "holdout"]
    assert audited(workspace, spec).flags[0].agreement.leaks > 0  # they are not in their segment yet
    with open_flags(workspace, spec) as client:
        client.change_targets("lift-always-on-2026h2-holdout", add=held, comment="c")
    agreement = audited(workspace, spec).flags[0].agreement
    assert agreement.customers > 100
    assert (agreement.leaks, agreement.wrong, agreement.withheld) == (0, 0, 0)
    drawn = box.launchdarkly.flags["ours"].targeting["fallthrough"]["rollout"]
    box.launchdarkly.retarget("ours", fallthrough={"rollout": {**drawn, "seed": 9}})
    found = audited(workspace, spec)
    agreement = found.flags[0].agreement
    assert not found.safe
    assert agreement.leaks > 0
    assert agreement.withheld > 0
    assert f"{agreement.withheld} treated are served the control" in audit_text(found)


def test_a_flag_or_segment_of_somebody_else_is_not_touched(box, tmp_path):
    workspace = workspace_of(box, tmp_path)
    before = box.launchdarkly.changes
    with pytest.raises(Conflict, match="flag vip-early-access is there and does not carry our tag"):
        made(workspace, spec_of(tmp_path))
    box.launchdarkly.put_segment(Segment(HOLDOUT, "theirs"))
    with pytest.raises(Conflict, match=f"segment {HOLDOUT} is there"):
        made(workspace, spec_of(tmp_path, OURS))
    assert box.launchdarkly.changes == before + 1
    assert "ours" not in box.launchdarkly.flags


def test_what_is_ours_and_was_spoiled_is_mended_and_what_is_ours_and_safe_is_left(box, tmp_path):
    workspace, spec = workspace_of(box, tmp_path), spec_of(tmp_path, OURS)
    made(workspace, spec)
    ld = box.launchdarkly
    theirs = serves("bots", 1)
    ld.put_segment(Segment("bots", "bots"))
    ld.retarget("ours", rules=[theirs, *ld.flags["ours"].targeting["rules"]])
    assert made(workspace, spec).instructed == ()
    assert ld.flags["ours"].targeting["rules"][0] == theirs
    ld.retarget("ours", fallthrough={"variation": 0}, targets=[{"values": ["x"], "variation": 0}])
    assert not audited(workspace, spec).safe
    assert made(workspace, spec).instructed == ("ours",)
    assert audited(workspace, spec).safe


def test_an_approval_is_waited_for_and_the_flag_stays_off(box, tmp_path):
    workspace, spec = workspace_of(box, tmp_path), spec_of(tmp_path, OURS)
    box.launchdarkly.approvals = True
    with pytest.raises(WaitingForPerson, match="approv"):
        made(workspace, spec, turn_on=True)
    assert box.launchdarkly.flags["ours"].targeting["on"] is False


def test_the_requests_of_a_scaffold_need_no_network_and_name_everything(tmp_path):
    workspace = Workspace.open(Settings(lift_home=str(tmp_path)))
    told = requests_of(workspace, spec_of(tmp_path, OURS, ROLLOUT))
    (flag,) = told["flags"]
    assert flag["create"]["key"] == "ours"
    assert flag["patch"][0]["value"]["rollout"]["seed"] == 8
    assert [each["key"] for each in told["segments"]["create"]] == ["lift-always-on-2026h2-holdout"]
    assert json.loads(json.dumps(told)) == told


def test_the_command_prints_json_alone_and_exits_by_what_was_found(box, tmp_path):
    spec_of(tmp_path, OURS)

    def lift(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "toolkit.cli", "audit", "spec.yml", *arguments],
            cwd=tmp_path,
            env=os.environ
            | box.environment()
            | {"LIFT_HOME": str(tmp_path / "lake"), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    assert lift("--apply").returncode == 2
    done = lift("--scaffold", "--apply", "--json", "-")
    assert (done.returncode, json.loads(done.stdout)["safe"]) == (0, True)
    box.launchdarkly.retarget("ours", fallthrough={"variation": 0})
    done = lift()
    assert done.returncode == 1
    assert "can be served true" in done.stdout
