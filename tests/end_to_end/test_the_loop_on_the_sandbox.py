"""The whole loop over real HTTP against the stand-in vendors, seen from the vendors' own logs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from toolkit.demo import last_day, live_weeks, push_now, truths, workspace_of
from toolkit.errors import Conflict, NotReady, PushRefused, Unauthorized
from toolkit.sandbox import Fault, Sandbox
from toolkit.settings import Settings
from toolkit.steps.assign import assign
from toolkit.steps.pull import pull
from toolkit.steps.push import open_launchdarkly, plan_push
from toolkit.steps.workspace import Spec, Workspace

WRITES = {"POST", "PATCH", "PUT", "DELETE"}


def specs(folder):
    return [Spec.read(path) for path in sorted(folder.glob("*.yml"))]


def writes(box):
    """Return the requests that can change something; look-ups by POST are none."""
    looks = ("/v1/customers", "/bulk", "/diagnostic")
    return [
        each
        for each in box.requests
        if each.method in WRITES and not any(each.path.split("?")[0].startswith(look) for look in looks)
    ]


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Three simulated weeks of a small world, with everything that was left behind."""
    folder = tmp_path_factory.mktemp("lived")
    from tests.end_to_end.conftest import ROOT

    with Sandbox(seed=3, scale=0.4, limits=False) as box:
        known = specs(ROOT / "experiments")
        looks = live_weeks(box, known, folder / "lake", folder / "reports", weeks=3)
        yield box, workspace_of(box, folder / "lake", folder / "reports"), known, looks


def ledger(workspace, spec):
    return {
        row["id"]: row["arm"]
        for row in workspace.lake.read("assignments", experiment=spec.experiment.key).to_pylist()
    }


def members(box, key):
    segment = box.launchdarkly.segments.get(key)
    return set(segment.included.get("user", ())) if segment else set()


def test_no_held_out_customer_is_eligible_messaged_or_served_the_treatment(lived):
    box, workspace, known, _ = lived
    universal = {
        row["id"]
        for row in workspace.lake.read("assignments", experiment="always-on-2026h2").to_pylist()
        if row["arm"] == "holdout"
    }
    assert universal
    for spec in known:
        experiment = spec.experiment
        arms = ledger(workspace, spec)
        held = {customer for customer, arm in arms.items() if arm == experiment.control} | universal
        for trait in experiment.traits:
            for segment in trait.segments():
                assert not members(box, segment) & held
        assert members(box, experiment.holdout_segment) == held - universal
        messaged = {each.customer_id for each in box.messages if each.experiment == experiment.key}
        assert messaged
        assert not messaged & held
        assert messaged <= set(arms)
        controls = {False, "none"}
        served = {
            each.customer_id
            for each in box.evaluations
            if each.flag == experiment.traits[0].flag and each.value not in controls
        }
        assert served
        assert not served & held
        assert served <= set(arms)


def test_whoever_must_not_be_offered_anything_is_not(lived):
    box, _, known, _ = lived
    people = box.world.people
    protected = {people.ids[at] for at in range(len(people)) if people.do_not_offer[at]} - {""}
    assert protected
    for spec in known:
        for trait in spec.experiment.traits:
            for segment in trait.segments():
                assert not members(box, segment) & protected


def test_the_message_goes_only_after_the_segment_was_read_back(lived):
    box, _, _, _ = lived
    seen = box.requests
    first_told = next(at for at, each in enumerate(seen) if each.path.startswith("/api/v2/batch"))
    before = seen[:first_told]
    patched = max(at for at, each in enumerate(before) if each.method == "PATCH")
    assert any(each.method == "GET" and "/segments/" in each.path for each in before[patched:])


def test_pushing_again_writes_nothing(lived):
    box, workspace, known, _ = lived
    for spec in known:
        push_now(workspace, spec)
    before = len(writes(box))
    receipts = workspace.lake.version("sync_receipts")
    for spec in known:
        done = push_now(workspace, spec)
        assert (done.writes, done.told) == (0, 0)
    assert len(writes(box)) == before
    assert workspace.lake.version("sync_receipts") == receipts


def test_pulling_again_adds_nothing(lived):
    _, workspace, known, _ = lived
    rows = workspace.lake.read("events").num_rows
    assert rows > 500
    for spec in known:
        assert pull(workspace, spec).added == 0
    later = Workspace.open(
        workspace.settings.model_copy(update={"lift_now": workspace.now() + timedelta(minutes=5)})
    )
    for spec in known:
        pull(later, spec)
    events = later.lake.read("events")
    assert events.num_rows == rows
    assert len(set(events.column("event_id").to_pylist())) == rows


def test_assigning_again_assigns_only_the_new(lived):
    _, workspace, known, _ = lived
    for spec in known:
        before = ledger(workspace, spec)
        assign(workspace, spec)
        after = ledger(workspace, spec)
        assert {customer: after[customer] for customer in before} == before
        rows = workspace.lake.read("assignments", experiment=spec.experiment.key).num_rows
        assert rows == len(after)


def test_escalating_customers_move_on_after_two_weeks_without_an_order(lived):
    box, workspace, known, _ = lived
    winback = next(spec for spec in known if spec.experiment.key == "winback-dormant")
    push_now(workspace, winback)
    arms = ledger(workspace, winback)
    moved = members(box, "lift-winback-offer-ten-percent")
    first = members(box, "lift-winback-offer-free-shipping")
    assert moved
    assert {arms[customer] for customer in moved} == {"escalating"}
    assert not moved & first
    events = workspace.lake.read("events").to_pylist()
    bought = {
        row["id"]
        for row in events
        if row["name"] == "Order Completed" and row["timestamp"] >= box.world.starts_at
    }
    assert not moved & bought


def test_every_trusted_interval_holds_the_truth_or_nearly_all_do(lived):
    box, workspace, known, looks = lived
    told = [each for spec in known for each in truths(box, workspace, spec, looks[-1][spec.experiment.key])]
    trusted = [each for each in told if each.covered is not None]
    assert len(trusted) >= 3
    assert Counter(each.covered for each in trusted)[True] >= len(trusted) - 1


def test_every_weeks_record_is_kept_with_its_history(lived):
    _, workspace, _, looks = lived
    rows = workspace.lake.read("readouts", experiment="vip-early-access").to_pylist()
    assert len(rows) == 3
    last = json.loads(max(rows, key=lambda row: row["as_of"])["readout"])
    assert sorted({each["as_of"] for each in last["history"]}) == [
        look["vip-early-access"]["as_of"] for look in looks
    ]


def test_a_hand_edit_is_mended_by_the_next_push(lived):
    box, workspace, known, _ = lived
    vip = next(spec for spec in known if spec.experiment.key == "vip-early-access")
    push_now(workspace, vip)
    held = sorted(customer for customer, arm in ledger(workspace, vip).items() if arm == "holdout")[:3]
    with open_launchdarkly(workspace, vip) as client:
        client.change_targets("lift-early-access-eligible", add=held, comment="by hand")
        plan = plan_push(workspace, vip, client)
    (change,) = [each for each in plan.sync.changes if each.segment == "lift-early-access-eligible"]
    assert change.remove == tuple(held)
    push_now(workspace, vip)
    assert not members(box, "lift-early-access-eligible") & set(held)


# ---- what goes wrong at the vendors ------------------------------------------------------------------


@pytest.fixture
def vip(box, experiments, tmp_path):
    return workspace_of(box, tmp_path / "lake", tmp_path / "reports"), Spec.read(
        experiments / "vip-early-access.yml"
    )


def with_settings(workspace, **changes):
    return Workspace.open(Settings(**(workspace.settings.model_dump() | changes)))


def test_a_segment_still_building_is_not_read(box, vip):
    workspace, spec = vip
    box.customerio.building.add(21)
    with pytest.raises(NotReady, match="21"):
        assign(workspace, spec)
    assert workspace.lake.version("assignments") is None


def test_wrong_keys_are_told_by_variable_and_never_shown(vip):
    workspace, spec = vip
    with pytest.raises(Unauthorized, match="CUSTOMERIO_APP_API_KEY") as refused:
        assign(with_settings(workspace, customerio_app_api_key="secret-and-wrong"), spec)
    assert "secret-and-wrong" not in str(refused.value)
    assign(workspace, spec)
    with pytest.raises(Unauthorized, match="LAUNCHDARKLY_ACCESS_TOKEN"):
        push_now(with_settings(workspace, launchdarkly_access_token="secret-and-wrong"), spec)


def test_a_segment_of_someone_else_is_not_touched(box, vip):
    workspace, spec = vip
    assign(workspace, spec)
    with open_launchdarkly(workspace, spec) as client:
        client.create_segment("lift-early-access-eligible", name="theirs", description="", tags=["theirs"])
    with pytest.raises(Conflict, match="does not carry our tag"):
        push_now(workspace, spec)
    assert not members(box, "lift-early-access-eligible")


def test_emptying_a_segment_is_refused_unless_told_so_by_number(box, vip, experiments):
    workspace, spec = vip
    assign(workspace, spec)
    push_now(workspace, spec)
    before = members(box, "lift-early-access-eligible")
    assert len(before) > 150
    text = (
        (experiments / "vip-early-access.yml")
        .read_text()
        .replace("do_not_offer: {attribute: do_not_offer}", "do_not_offer: {attribute: ltv_tier}")
    )
    (experiments / "vip-early-access.yml").write_text(text)
    changed = Spec.read(experiments / "vip-early-access.yml")
    with pytest.raises(PushRefused, match="--allow-removals"):
        push_now(workspace, changed)
    assert members(box, "lift-early-access-eligible") == before


def test_a_refused_write_stops_before_any_message(box, vip):
    workspace, spec = vip
    assign(workspace, spec)
    box.fail(Fault(vendor="launchdarkly", status=400, times=100, method="PATCH"))
    with pytest.raises(Exception, match="LaunchDarkly"):
        push_now(workspace, spec)
    assert not [each for each in box.requests if each.path.startswith("/api/v2/batch")]


def test_an_interrupted_pull_goes_on_at_the_page_it_was_at(box, vip, tmp_path):
    workspace, spec = vip
    pages = []

    def stop(*told):
        pages.append(told)
        if len(pages) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(workspace, spec, progress=stop)
    kept = workspace.lake.read("events").num_rows
    assert 0 < kept <= 200
    rest = pull(workspace, spec)
    whole = pull(workspace_of(box, tmp_path / "another", tmp_path / "reports"), spec)
    assert kept + rest.added == whole.added
    assert rest.events.pages == whole.events.pages - 2
    rows = workspace.lake.read("events").column("event_id").to_pylist()
    assert len(rows) == len(set(rows)) == whole.added


def test_without_a_network_the_host_is_named(lift, experiments):
    done = lift(
        "check",
        experiments / "vip-early-access.yml",
        CUSTOMERIO_APP_URL="http://127.0.0.1:9",
        CUSTOMERIO_APP_API_KEY="any",
    )
    assert "127.0.0.1" in done.stdout


def test_the_commands_run_the_loop_against_the_sandbox(box, lift, experiments):
    lift.variables |= box.environment()
    spec = experiments / "vip-early-access.yml"
    assert "VIP" in lift("check", spec).stdout
    assert "newly assigned" in lift("assign", spec).stdout
    plan = lift("push", spec).stdout
    assert "nothing was changed; add --apply" in plan
    assert not [each for each in box.requests if each.method == "PATCH"]
    assert "read back" in lift("push", spec, "--apply").stdout
    assert "nothing to change" in lift("push", spec, "--apply").stdout
    box.advance(7)
    lift.variables |= box.environment()
    assert "new events" in lift("pull", spec).stdout
    done = lift("readout", spec, "--as-of", last_day(box).isoformat())
    assert "index.html" in done.stdout


def told_lately(box, **changed):
    """Let one more order be in the activity log, like the last but for what is `changed`; return its id."""
    log = box.customerio.activities
    last = next(each for each in reversed(log) if each.name == "Order Completed")
    log.append(replace(last, **({"id": f"odd{len(log)}"} | changed)))
    return log[-1].id


@pytest.mark.parametrize(
    ("order", "amount"),
    [({"id": 7}, 5), (["x"], 5), ("\ud800", 5), ("o1", 10**15), ("o1", {"net": 5}), ("o1", "1e40")],
)
def test_an_odd_event_is_kept_without_what_cannot_be_read_of_it(box, vip, order, amount):
    workspace, spec = vip
    odd = told_lately(box, data={"order_id": order, "total": amount, "currency": "USD"})
    pull(workspace, spec)
    (row,) = [each for each in workspace.lake.records("events") if each["event_id"] == odd]
    assert (row["amount"] is None) == (amount != 5)
    assert row["order_id"] in {None, "?", "o1"}


def test_an_event_of_long_ago_among_new_ones_does_not_end_a_pull(box, vip):
    workspace, spec = vip
    pull(workspace, spec)
    new = {told_lately(box) for _ in range(150)}
    box.advance(1)
    told_lately(box, at=box.now - timedelta(days=25))
    pull(Workspace(workspace.settings.model_copy(update={"lift_now": box.now}), workspace.lake), spec)
    assert new <= {row["event_id"] for row in workspace.lake.records("events")}


def test_a_place_that_the_vendor_forgot_is_begun_anew(box, vip):
    workspace, spec = vip

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(workspace, spec, progress=stop)
    box.fail(Fault(vendor="customerio", status=400, times=1, path="/v1/activities"))
    pull(workspace, spec)
    rows = [row["event_id"] for row in workspace.lake.records("events")]
    assert len(rows) == len(set(rows)) > 100
