"""What came in goes on: into the ledger as `lift assign` would, to LaunchDarkly as `lift push` would, and no further."""

from __future__ import annotations

import logging

import pandas as pd
import pytest
from pydantic import SecretStr

from benchmarks.storm import report
from tests.receiver.served import SPEC, crossing
from toolkit.errors import PushRefused, ToolkitError, WaitingForPerson
from toolkit.lake.inbox import Inbox
from toolkit.lake.received import Waiting
from toolkit.receiver.bodies import crossing_of, delivery_of
from toolkit.receiver.chores import apply_once
from toolkit.receiver.tallies import Tallies
from toolkit.receiver.worker import Worker
from toolkit.sandbox import Fault, Sandbox
from toolkit.settings import Settings
from toolkit.steps.assign import assign
from toolkit.steps.inbox import Folder, inbox_path
from toolkit.steps.push import open_launchdarkly, plan_push, push
from toolkit.steps.workspace import Workspace

ELIGIBLE = "lift-free-shipping-eligible"
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def served():
    with Sandbox(seed=3, scale=0.05, limits=False) as box:
        yield box


class Shop:
    """A lake, an inbox and a folder of experiments, with LaunchDarkly's stand-in behind them."""

    def __init__(self, box, folder):
        self.box, self.experiments = box, folder / "experiments"
        self.experiments.mkdir()
        box.launchdarkly.segments.clear()
        box.launchdarkly.approvals = False
        told = box.environment()
        self.settings = Settings(
            lift_home=str(folder / "lake"),
            launchdarkly_url=box.url,
            launchdarkly_project=told["LAUNCHDARKLY_PROJECT"],
            launchdarkly_environment=told["LAUNCHDARKLY_ENVIRONMENT"],
            launchdarkly_access_token=SecretStr(told["LAUNCHDARKLY_ACCESS_TOKEN"]),
        )
        self.workspace = Workspace.open(self.settings)
        self.folder = Folder(str(self.experiments))
        self.inbox = Inbox(inbox_path(self.workspace))
        self.seconds = 0.0
        self.worker = Worker(
            self.workspace, self.inbox.path, self.folder, Tallies(), clock=lambda: self.seconds
        )
        self.moment = 0

    def with_messages(self, customers):
        """Let Customer.io know these customers, and be told of them."""
        for each in customers:
            self.box.customerio.create(id=each)
        names = ("customerio_site_id", "customerio_track_api_key", "customerio_track_url")
        told = {name: self.box.environment()[name.upper()] for name in names}
        self.settings = Settings.model_validate(self.settings.model_dump() | told)
        self.workspace = Workspace.open(self.settings)
        self.worker = Worker(
            self.workspace, self.inbox.path, self.folder, Tallies(), clock=lambda: self.seconds
        )

    def write(self, key, *changes):
        """Write the file of an experiment."""
        text = SPEC.format(key=key)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (self.experiments / f"{key}.yml").write_text(text)
        return self.folder.specs()[key]

    def tell(self, action, *customers, experiment="cart"):
        """Let a webhook come for each customer."""
        self.moment += 1
        bodies = [crossing(each, action, self.moment, experiment=experiment) for each in customers]
        keys = self.folder.identity_keys()
        self.inbox.accept([crossing_of(each, keys) for each in bodies], at=NOW)

    def apply(self):
        """Apply what is there, and return what was refused."""
        return self.worker.apply(self.inbox)

    def ledger(self, key="cart"):
        rows = self.workspace.lake.read("assignments", experiment=key).to_pylist()
        assert len({row["id"] for row in rows}) == len(rows)
        return {row["id"]: row["arm"] for row in rows}

    def members(self, key=ELIGIBLE):
        segment = self.box.launchdarkly.segments.get(key)
        return set(segment.included.get("user", ())) if segment else set()

    def push_by_hand(self, spec, **more):
        with open_launchdarkly(self.workspace, spec) as client:
            return push(self.workspace, spec, client, plan_push(self.workspace, spec, client), **more)


@pytest.fixture
def shop(served, tmp_path):
    opened = Shop(served, tmp_path)
    yield opened
    opened.inbox.close()


def treated(shop, key="cart"):
    return {customer for customer, arm in shop.ledger(key).items() if arm == "treatment"}


def test_entries_are_enrolled_as_assign_would_and_exits_end_eligibility_but_no_assignment(shop):
    spec = shop.write("cart")
    everyone = [f"c{number}" for number in range(60)]
    shop.tell("enter", *everyone)
    assert shop.apply() == []
    ledger = shop.ledger()
    assert set(ledger) == set(everyone)
    assert shop.members() == treated(shop)
    assert shop.members("lift-cart-holdout") == set(everyone) - treated(shop)

    leaver, held = min(treated(shop)), min(set(everyone) - treated(shop))
    shop.tell("exit", leaver, held)
    assert shop.apply() == []
    assert shop.ledger() == ledger
    assert shop.members() == treated(shop) - {leaver}
    assert held in shop.members("lift-cart-holdout")
    assert shop.push_by_hand(spec).writes == 0, "a push by hand knows who left"

    shop.tell("enter", leaver)
    assert shop.apply() == []
    assert shop.members() == treated(shop)
    assert shop.ledger() == ledger
    assert shop.inbox.waiting() == Waiting(0, 0, 0)


def test_a_webhook_gives_every_customer_the_arm_that_a_file_would(shop, tmp_path):
    universal = "cohort: {source: files, entry: rolling, layer: winback, universal_holdout: {key: always, share: 0.2}}"
    files = ("cohort: {source: files, entry: rolling}", universal)
    spec = shop.write("cart", files)
    shop.write("mail", files, ("free_shipping_eligible", "mail_eligible"))
    everyone = [f"c{number}" for number in range(300)]
    shop.tell("enter", *everyone)
    assert shop.apply() == []
    by_webhook, held_by_webhook = shop.ledger(), shop.ledger("always")

    other = Workspace.open(Settings(lift_home=str(tmp_path / "other")))
    pd.DataFrame({"id": everyone}).to_parquet(shop.experiments / "people.parquet")
    assign(other, spec)
    for key, mine in (("cart", by_webhook), ("always", held_by_webhook)):
        rows = other.lake.read("assignments", experiment=key).to_pylist()
        assert {row["id"]: row["arm"] for row in rows} == mine
    assert 0 < len(by_webhook) < len(everyone)


def test_what_launchdarkly_refuses_waits_and_holds_up_nothing_else(shop, caplog):
    shop.write("cart")
    shop.write("mail", ("free_shipping_eligible", "mail_eligible"))
    shop.tell("enter", "c1", "c2", "c3", "c4")
    shop.tell("enter", "m1", "m2", "m3", "m4", experiment="mail")
    shop.inbox.accept([delivery_of(report(1))], at=NOW)
    shop.box.fail(Fault("launchdarkly", status=400, path=f"/{ELIGIBLE}"))
    refused = shop.apply()
    assert len(refused) == 1
    assert shop.inbox.waiting() == Waiting(0, 4, 0)
    assert shop.members("lift-mail-eligible") == treated(shop, "mail")
    assert len(shop.workspace.lake.read("deliveries")) == 1

    assert shop.apply() == [], "not at once again"
    assert shop.inbox.waiting().crossings == 4
    shop.seconds += 3
    assert shop.apply() == []
    assert shop.inbox.waiting() == Waiting(0, 0, 0)
    assert shop.members() == treated(shop)
    assert len(shop.workspace.lake.read("crossings", experiment="cart")) == 4


def test_an_approval_is_waited_for(shop):
    shop.write("cart")
    shop.tell("enter", "c1", "c2", "c3", "c4")
    shop.box.launchdarkly.approvals = True
    (refused,) = shop.apply()
    assert isinstance(refused, WaitingForPerson)
    assert shop.inbox.waiting().crossings == 4
    shop.box.launchdarkly.approvals = False
    shop.seconds += 60
    assert shop.apply() == []
    assert shop.members() == treated(shop)


def test_exits_of_a_large_part_of_a_segment_need_a_person(shop):
    spec = shop.write("cart")
    everyone = [f"c{number}" for number in range(400)]
    shop.tell("enter", *everyone)
    assert shop.apply() == []
    shop.tell("exit", *everyone)
    (refused,) = shop.apply()
    assert isinstance(refused, PushRefused)
    assert shop.members() == treated(shop)
    shop.push_by_hand(spec, allow_removals=len(everyone))
    assert shop.members() == set()
    shop.seconds += 60
    assert shop.apply() == []
    assert shop.inbox.waiting().crossings == 0


@pytest.mark.parametrize(
    "changes",
    [
        [("entry: rolling", "entry: snapshot")],
        [("start: 2020-01-01", "start: 2099-01-01")],
        [("end: 2099-12-31", "end: 2020-02-01")],
    ],
    ids=["snapshot", "before its start", "after its end"],
)
def test_who_comes_when_nobody_is_enrolled_is_not(shop, changes):
    shop.write("cart", *changes)
    shop.tell("enter", "c1", "c2")
    assert shop.apply() == []
    assert shop.ledger() == {}
    assert shop.members() == set()
    assert shop.inbox.waiting().crossings == 0


@pytest.mark.parametrize("mode", ["rollout", "lookup"])
def test_an_exit_withdraws_the_message_also_where_eligibility_is_in_no_segment(shop, mode):
    customers = [f"m{number}" for number in range(20)]
    shop.with_messages(customers)
    shop.write("cart")
    shop.tell("enter", *customers)
    assert shop.apply() == []
    told = {who for who in customers if shop.box.customerio.find(who).attributes.get("ready_cart")}
    assert told == treated(shop)
    shop.write("cart", ("seed: 61", f"seed: 61\ndelivery: {{mode: {mode}}}"))
    leaver = min(told)
    shop.tell("exit", leaver)
    assert shop.apply() == []
    ready = {who for who in customers if shop.box.customerio.find(who).attributes.get("ready_cart")}
    assert ready == told - {leaver}


def test_an_exit_of_somebody_whom_a_file_assigned_ends_their_eligibility(shop):
    spec = shop.write("cart")
    pd.DataFrame({"id": [f"c{number}" for number in range(40)]}).to_parquet(
        shop.experiments / "people.parquet"
    )
    assign(shop.workspace, spec)
    shop.push_by_hand(spec)
    leaver = min(treated(shop))
    shop.tell("exit", leaver, "nobody")
    assert shop.apply() == []
    assert shop.members() == treated(shop) - {leaver}
    assert "nobody" not in shop.ledger()


def test_a_delivery_is_written_down_by_the_identifier_of_its_experiments_customers(shop):
    shop.write(
        "cart",
        ("start:", "identity: {key: cio_id}\nstart:"),
        ("events:", "deliveries: {campaigns: [7], source: webhooks}\nevents:"),
    )
    who = {"id": "c1", "cio_id": "a1"}
    for number, campaign in ((1, 7), (2, 8)):
        data = {"delivery_id": f"d{number}", "campaign_id": campaign, "identifiers": who}
        shop.inbox.accept([delivery_of(report(number, data=data))], at=NOW)
    assert shop.apply() == []
    rows = shop.workspace.lake.read("deliveries").sort_by("event_id").to_pylist()
    assert [(row["id"], row["id_type"]) for row in rows] == [("a1", "cio_id"), ("c1", "id")]
    assert rows[0]["timestamp"].isoformat() == "2026-09-21T14:13:20+00:00"


def test_many_small_applications_leave_few_files(shop, monkeypatch):
    monkeypatch.setattr("toolkit.steps.inbox.MOST_FILES", 3)
    shop.write("cart")
    for number in range(6):
        shop.tell("enter", f"c{number}")
        assert shop.apply() == []
    before = shop.ledger()
    assert len(before) == 6
    assert len(shop.workspace.lake.files("assignments")) <= 4
    assert shop.members() == treated(shop)


def test_words_on_an_experiment_whose_file_is_gone_wait_for_it(shop):
    shop.write("cart")
    shop.tell("enter", "c1")
    (shop.experiments / "cart.yml").unlink()
    (refused,) = shop.apply()
    assert "not in" in str(refused)
    shop.write("cart")
    done = apply_once(shop.workspace, shop.folder)
    assert (done.before.crossings, done.after.crossings, done.refused) == (1, 0, ())
    assert set(shop.ledger()) == {"c1"}


def test_a_file_that_is_wrong_for_a_moment_counts_as_it_was(shop):
    shop.write("cart")
    (shop.experiments / "cart.yml").write_text("key: [")
    assert set(shop.folder.specs()) == {"cart"}
    (wrong,) = shop.folder.wrong
    assert "cart.yml" in str(wrong)


def test_no_customer_is_named_in_the_log_even_if_a_vendor_or_a_defect_names_one(shop, caplog, monkeypatch):
    shop.write("cart")
    shop.write("mail")
    shop.tell("enter", "c-4711")
    shop.tell("enter", "c-4711", experiment="mail")

    def refuse(workspace, spec, client):
        if spec.experiment.key == "cart":
            raise ToolkitError("LaunchDarkly: the target c-4711 is invalid")
        raise KeyError("c-4711")

    monkeypatch.setattr("toolkit.steps.inbox.plan_push", refuse)
    with caplog.at_level(logging.INFO):
        assert len(shop.apply()) == 2
    assert "the target … is invalid" in caplog.text
    assert "KeyError at" in caplog.text
    assert "4711" not in caplog.text
