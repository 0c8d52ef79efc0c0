"""The whole way over real HTTP: a webhook, the ledger, LaunchDarkly, its own SDK, and Customer.io's “ready”."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest
from ldclient import Config, Context, LDClient

from tests.receiver.served import Receiver, crossing
from toolkit.design.assignment import arm_of, bounds_of, digits, held_out_below
from toolkit.lake.tables import Lake
from toolkit.sandbox import Sandbox
from toolkit.steps.workspace import Spec

ROOT = Path(__file__).parents[2]
KEY = "cart-free-shipping"
SECONDS = 60.0  # on a quiet machine one or two


@pytest.fixture
def box():
    with Sandbox(seed=3, scale=0.05, limits=False) as served:
        yield served


@pytest.fixture
def receiver(tmp_path, box):
    (tmp_path / "experiments").mkdir()
    path = tmp_path / "experiments" / f"{KEY}.yml"
    path.write_text((ROOT / "experiments" / f"{KEY}.yml").read_text())
    started = Receiver(tmp_path, **box.environment()).start()
    yield started
    if started.process.poll() is None:
        started.process.kill()
    started.process.wait(10)


def strangers(box, spec, arm):
    """Return customers outside the cohort whom the experiment's hash would put into `arm`, and nothing protects."""
    experiment, people = spec.experiment, box.world.people
    cohort = set(box.world.audience(KEY))
    below = held_out_below(experiment.cohort.universal_holdout.share)
    bounds = bounds_of(experiment.arms)
    for at, customer in enumerate(people.ids):
        drawn = customer and arm_of(bounds, experiment.prefix, customer)
        free = digits(experiment.cohort.universal_holdout.key, customer) >= below
        if drawn == arm and free and at not in cohort and not people.do_not_offer[at]:
            yield customer


def within(receiver, fact):
    started = time.monotonic()
    while time.monotonic() < started + SECONDS:
        if fact():
            return time.monotonic() - started
        time.sleep(0.02)
    pytest.fail(f"not within {SECONDS} s: {receiver.said}")


def test_an_entry_is_served_the_offer_within_seconds_and_an_exit_ends_it(box, receiver, tmp_path):
    spec = Spec.read(tmp_path / "experiments" / f"{KEY}.yml")
    treated, other = (
        customer for customer, _ in zip(strangers(box, spec, "free_shipping"), "ab", strict=False)
    )
    held = next(strangers(box, spec, "holdout"))
    at = {"base_uri": box.url, "stream_uri": box.url, "events_uri": box.url, "send_events": False}
    sdk = LDClient(Config(box.environment()["LAUNCHDARKLY_SDK_KEY"], stream=True, **at), start_wait=10)

    def offered(customer):
        return sdk.variation("free-shipping-banner", Context.create(customer), False)

    def ready(customer):
        person = next(each for each in box.customerio.people if each.id == customer)
        return person.attributes.get(f"ready_{KEY}")

    with closing(sdk):
        assert not offered(treated)
        for customer in (treated, other, held):
            assert receiver.post_crossing(crossing(customer, "enter", 1, experiment=KEY)) == 200
        seconds = within(receiver, lambda: offered(treated) and offered(other))
        within(receiver, lambda: ready(treated))
        assert not offered(held)
        assert not ready(held)
        print(f"served the offer {seconds:.1f} s after its entry")
        seen = len(box.requests)
        assert receiver.post_crossing(crossing(treated, "exit", 2, experiment=KEY)) == 200
        within(receiver, lambda: not offered(treated))
        assert not ready(treated)
        assert offered(other)
        wrote = [each.path for each in box.requests[seen:] if each.method in {"PATCH", "POST"}]
        withdrawn = next(at for at, path in enumerate(wrote) if path.startswith("/api/v2/batch"))
        removed = next(at for at, path in enumerate(wrote) if "/segments/" in path)
        assert withdrawn < removed, "the message is withdrawn before its offer is"
    assert receiver.end() == 0
    ledger = Lake(str(tmp_path / "lake")).read("assignments", experiment=KEY).to_pylist()
    assert {row["id"]: row["arm"] for row in ledger} == {
        treated: "free_shipping",
        other: "free_shipping",
        held: "holdout",
    }
    said = "".join(receiver.said)
    assert not any(customer in said for customer in (treated, other, held))
