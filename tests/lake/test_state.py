"""A measurement that goes on from what the last one kept says what one that reads everything says."""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from toolkit.errors import ToolkitError
from toolkit.lake import advance, customers, keeping, outcomes, running, state
from toolkit.lake.tables import Lake, schema_of
from toolkit.readout.record import as_json, record_of
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace

NUMBER = re.compile(r"\d+(?:\.\d+)?")
CAPPED = "  - {name: capped, kind: mean, event: Order Completed, value: amount, cap: 0.9}\n"
START = datetime(2026, 3, 2, tzinfo=UTC)
WEEKS = 5
SHARES = '{"holdout": 40000, "one": 60000}'
SPEC = """\
key: {key}
start: 2026-03-02
end: 2026-05-04
timezone: {zone}
cohort: {{source: customerio, segment: 7, entry: rolling}}
arms: {{holdout: 0.4, one: 0.6}}
control: holdout
events: {{source: customerio}}
metrics:
  - {{name: purchase_rate, kind: conversion, event: Order Completed, window: 14d, role: primary}}
  - {{name: revenue, kind: mean, event: Order Completed, value: amount, window: {window}, covariates: [{{lookback: 14d}}{also}]}}
{capped}  - {{name: aov, kind: ratio, numerator: {{event: Order Completed, value: amount}}, denominator: {{event: Order Completed}}}}
  - {{name: visits, kind: mean, event: Visited}}
analysis: {{looks: {looks}}}
"""


class World:
    """A lake that grows by a week at a time, with all that happens in a real one."""

    def __init__(self, home, seed, *, refunds=True, key="grows", attributed=False):
        self.home, self.key, self.refunds, self.attributed = home, key, refunds, attributed
        self.twice = [0.05, 0.0][seed // 2 % 2]  # share of assignments of somebody who stands there already
        self.rng = np.random.default_rng(seed)
        self.told, self.number = [], 0
        self.reach = [60, 9, 16][seed % 3]  # days that some events come late
        self.late = [0.0, 0.2][seed // 3 % 2]  # share of assignments that come late
        self.refunds_from = [0, 2][seed // 2 % 2]  # the first week that has refunds, if any has
        self.free = [f"c{n}" for n in range(70)]
        self.rng.shuffle(self.free)

    def one(self, name, who, at, order, amount):
        self.number += 1
        event = f"e{self.number}" if self.rng.random() < 0.9 else None
        return {
            "event_id": event, "id": who, "name": name, "timestamp": at, "amount": amount, "currency": "USD",
            "order_id": order, "properties": None, "source": "customerio:id",
        }  # fmt: skip

    def within(self, week, late):
        back = self.rng.integers(0, self.reach) if self.rng.random() < late else 0
        second = int(self.rng.integers(0, 7 * 86_400))
        return START + timedelta(days=7 * week - int(back), seconds=second)

    def week(self, week, events=60):
        rng, rows = self.rng, []
        for _ in range(events):
            at = self.within(week, 0.25)
            if rng.random() < 0.03:
                at += timedelta(days=9)  # a clock that runs ahead: counts only later
            who, kind = f"c{rng.integers(0, 75)}", rng.random()
            orders = [row for row in self.told + rows if row["name"] == "Order Completed"]
            if kind < 0.2:
                row = self.one("Visited", who, at, None, None)
            elif kind < 0.35 and orders and self.refunds and week >= self.refunds_from:
                of = orders[rng.integers(max(0, len(orders) - self.reach * 8), len(orders))]
                named = (
                    of["order_id"]
                    if rng.random() < 0.8
                    else [None, f"lost{rng.integers(0, 9)}"][rng.integers(0, 2)]
                )
                amount = of["amount"] if rng.random() < 0.5 or of["amount"] is None else of["amount"] / 2
                row = self.one("Order Refunded", of["id"] if rng.random() < 0.9 else who, at, named, amount)
                others = [each for each in self.told if each["name"] == "Order Refunded"]
                if others and rng.random() < 0.15:  # the same refund once more, or one id for two
                    row["event_id"] = others[rng.integers(0, len(others))]["event_id"]
            elif kind < 0.5 and orders:
                row = dict(orders[rng.integers(max(0, len(orders) - self.reach * 8), len(orders))])
                if rng.random() < 0.7:
                    row |= {"timestamp": at, "event_id": f"again{self.number}{week}{rng.integers(0, 9)}"}
                if rng.random() < 0.15:
                    row["id"] = who
            else:
                order = (
                    None
                    if rng.random() < 0.05
                    else (f"o{self.number}" if rng.random() < 0.9 else f"lost{rng.integers(0, 9)}")
                )
                amount = None if rng.random() < 0.05 else Decimal(int(rng.lognormal(8, 1))) / 100
                row = self.one("Order Completed", who, at, order, amount)
            rows.append(row)
        for row in rows:
            row["received_at"] = START + timedelta(days=7 * week + 7)
        self.told += rows
        for part in np.array_split(np.arange(len(rows)), rng.integers(1, 4)):
            write_deltalake(
                f"{self.home}/events",
                pa.Table.from_pylist([rows[at] for at in part], schema=schema_of("events")),
                mode="append",
            )
        self.assign(week, 20 if week == 0 else 8)

    def assign(self, week, many):
        rows = []
        for _ in range(many):
            known = self.free.pop() if self.free else f"late{week}{len(rows)}"
            if self.rng.random() < self.twice:
                known = f"c{self.rng.integers(0, 70)}"  # somebody stands there twice, perhaps earlier
            at = max(self.within(week, self.late), START)
            arm = "holdout" if self.rng.random() < 0.4 else "one"
            rows.append({"experiment": self.key, "id": known, "arm": arm, "assigned_at": at, "prefix": self.key, "shares": SHARES, "layer": None})  # fmt: skip
        if week == 0:
            rows[0]["assigned_at"] = START  # the first of all stays the first
        write_deltalake(
            f"{self.home}/assignments",
            pa.Table.from_pylist(rows, schema=schema_of("assignments")),
            mode="append",
            partition_by=["experiment"],
        )
        if self.attributed:
            people = [
                {"experiment": self.key, "id": row["id"], "recorded_at": row["assigned_at"],
                 "attributes": json.dumps({"spent": int(self.rng.integers(0, 99))} if self.rng.random() < 0.9 else {})}
                for row in rows
            ]  # fmt: skip
            write_deltalake(
                f"{self.home}/people",
                pa.Table.from_pylist(
                    [{**dict.fromkeys(schema_of("people").names), **row} for row in people],
                    schema=schema_of("people"),
                ),
                mode="append",
                partition_by=["experiment"],
            )


def said(home, path, as_of):
    try:
        spec = Spec.read(path)
        found = measure(Workspace(Settings(lift_home=str(home)), Lake(str(home))), spec, as_of=as_of)
    except ToolkitError as wrong:
        return str(wrong)
    return json.loads(as_json(record_of(spec.experiment, found, spec_digest="")))


def fresh(home, path, as_of, aside):
    """Return what a measurement says of the same lake when nothing was kept."""
    kept = home / "state"
    if kept.exists():
        shutil.move(kept, aside)
    try:
        return said(home, path, as_of)
    finally:
        shutil.rmtree(kept, ignore_errors=True)
        if aside.exists():
            shutil.move(aside, kept)


def same(one, other, place=""):
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            same(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), place
        for at, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{place}[{at}]")
    elif isinstance(one, float) or isinstance(other, float):
        # where all customers of a look have one value, its standard error is the root of what rounding leaves
        assert one == pytest.approx(other, rel=1e-9, abs=1e-6 if ".curve" in place else 1e-10), place
    elif isinstance(one, str) and isinstance(other, str) and one != other:
        # a sum in another order may round the other way in its last digit shown
        assert NUMBER.sub("#", one) == NUMBER.sub("#", other), place
        assert [float(each) for each in NUMBER.findall(one)] == pytest.approx(
            [float(each) for each in NUMBER.findall(other)], rel=2e-3
        ), place
    else:
        assert one == other, place


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch):
    monkeypatch.setattr(outcomes, "STATE_FROM", 1)


class Used(list):
    """Measurements; `step_by_step` says of each whether kept corrections were gone on from."""


@pytest.fixture
def used(monkeypatch):
    """Return the list of measurements that went on from a state that held something."""
    gone_on = Used()
    plain = advance.advance

    def watched(*args, **named):
        found = plain(*args, **named)
        if found and found.before.events:
            gone_on.append(found)
        return found

    def looked(step, told, **named):
        few, anew = correct(step, told, **named)
        if step.state.events:
            step_by_step.append(not anew)
        return few, anew

    correct, step_by_step = advance.correct, []
    gone_on.step_by_step = step_by_step
    monkeypatch.setattr(advance, "correct", looked)
    monkeypatch.setattr(advance, "advance", watched)
    return gone_on


def write_spec(folder, name="spec.yml", **said_of):
    path = folder / name
    path.write_text(
        SPEC.format(
            **(
                {
                    "key": "grows",
                    "zone": "UTC",
                    "window": "21d",
                    "looks": "fixed",
                    "capped": CAPPED,
                    "also": "",
                }
                | said_of
            )
        )
    )
    return path


def day(week):
    return (START + timedelta(days=7 * week + 6)).date()


SEEDS = int(os.environ.get("LIFT_STATE_WORLDS", "4"))


@pytest.mark.parametrize("looks", ["fixed", "weekly"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_week_says_what_reading_everything_says(tmp_path, monkeypatch, used, seed, looks):
    monkeypatch.setattr(running, "ABREAST", [running.ABREAST, 0][seed // 2 % 2])
    monkeypatch.setattr(keeping, "RECENT", [keeping.RECENT, timedelta(0)][seed % 2])
    home = tmp_path / "lake"
    attributed = seed % 4 == 3
    world = World(home, seed, refunds=seed % 5 != 4, attributed=attributed)
    capped = CAPPED if looks == "fixed" or seed % 3 == 2 else ""
    path = write_spec(
        tmp_path,
        looks=looks,
        zone=["UTC", "America/New_York"][seed % 2],
        capped=capped,
        also=", spent" if attributed else "",
    )
    for week in range(WEEKS):
        world.week(week)
        same(said(home, path, day(week)), fresh(home, path, day(week), tmp_path / "aside"), f"week {week}")
    assert len(used) >= WEEKS - 3
    assert any(used.step_by_step) or world.late
    assert all(bool(each.step.needs.attributes) == attributed for each in used)
    if seed == 2:  # every row of the ledger counts, and comes in its week
        assert any(each.step.ledger.enrolment for each in used)
    if looks == "weekly" and seed == 1:
        assert any(each.changed_since > START.timestamp() * 1e6 + 7 * 86_400e6 for each in used)


def test_every_week_says_what_reading_everything_says_while_caps_wait_for_customers_to_buy(tmp_path, used):
    home, readable = tmp_path / "lake", []
    world, path = World(home, 2), write_spec(tmp_path, looks="weekly", capped=CAPPED.replace("0.9", "0.6"))
    for week in range(WEEKS):
        world.week(week)
        found = said(home, path, day(week))
        same(found, fresh(home, path, day(week), tmp_path / "aside"), f"week {week}")
        readable.append(any(lift["capped"] for lift in found["lifts"]))
    assert used
    assert readable == [False, False, False, True, True]


def test_an_earlier_date_and_the_same_date_again_are_measured_as_if_nothing_was_kept(tmp_path, used):
    home, path = tmp_path / "lake", write_spec(tmp_path)
    world = World(home, 11)
    for week in range(4):
        world.week(week)
        for on in (day(week), day(week), day(week) - timedelta(days=9), day(week) + timedelta(days=2)):
            if on >= date(2026, 3, 3):
                same(said(home, path, on), fresh(home, path, on, tmp_path / "aside"), f"{on}")
    assert used


def test_a_changed_experiment_file_does_not_go_on_from_what_another_kept(tmp_path, used):
    home, path = tmp_path / "lake", write_spec(tmp_path)
    world = World(home, 12)
    for week in range(3):
        world.week(week)
        said(home, path, day(week))
    assert used
    used.clear()
    other = write_spec(tmp_path, "other.yml", window="7d")
    same(said(home, other, day(2)), fresh(home, other, day(2), tmp_path / "aside"))
    assert not used
    world.week(3)
    same(said(home, other, day(3)), fresh(home, other, day(3), tmp_path / "aside"))
    assert used


@pytest.mark.parametrize("harm", ["truncated", "scribbled", "gone", "manifest", "another's"])
def test_a_damaged_state_is_as_good_as_none(tmp_path, used, harm):
    home, path = tmp_path / "lake", write_spec(tmp_path)
    world = World(home, 13)
    for week in range(3):
        world.week(week)
        said(home, path, day(week))
    used.clear()
    folder = home / "state" / "grows"
    files = sorted(folder.glob("customers-*")) + sorted(folder.glob("signs-*"))
    if harm == "truncated":
        for each in files:
            each.write_bytes(each.read_bytes()[:-9])
    elif harm == "scribbled":
        for each in files:
            held = bytearray(each.read_bytes())
            held[len(held) // 2] ^= 255
            each.write_bytes(bytes(held))
    elif harm == "gone":
        for each in files:
            each.unlink()
    elif harm == "manifest":
        kept = json.loads((folder / "state.json").read_text())
        kept["upto"] -= 86_400_000_000
        (folder / "state.json").write_text(json.dumps(kept))
    else:
        second = World(home, 14, key="second")
        second.week(0)
        other = write_spec(tmp_path, "second.yml", key="second")
        shutil.copytree(folder, home / "state" / "second")
        same(said(home, other, day(2)), fresh(home, other, day(2), tmp_path / "aside"))
        assert not used
        return
    world.week(3)
    same(said(home, path, day(3)), fresh(home, path, day(3), tmp_path / "aside"))
    assert not used


def test_events_whose_files_were_merged_are_read_anew(tmp_path, used):
    home, path = tmp_path / "lake", write_spec(tmp_path)
    world = World(home, 15)
    for week in range(3):
        world.week(week)
        said(home, path, day(week))
    used.clear()
    DeltaTable(f"{home}/events").optimize.compact()
    same(said(home, path, day(2)), fresh(home, path, day(2), tmp_path / "aside"))
    assert not used
    world.week(3)
    same(said(home, path, day(3)), fresh(home, path, day(3), tmp_path / "aside"))
    assert used


def test_a_lake_that_was_moved_takes_its_state_along(tmp_path, used):
    path = write_spec(tmp_path)
    world = World(tmp_path / "lake", 16)
    for week in range(3):
        world.week(week)
        said(tmp_path / "lake", path, day(week))
    used.clear()
    shutil.copytree(tmp_path / "lake", tmp_path / "moved")
    same(said(tmp_path / "moved", path, day(2)), said(tmp_path / "lake", path, day(2)))
    assert len(used) == 2


def test_a_small_experiment_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.undo()
    path = write_spec(tmp_path)
    world = World(tmp_path / "lake", 17)
    world.week(0)
    said(tmp_path / "lake", path, day(0))
    said(tmp_path / "lake", path, day(0))
    assert not (tmp_path / "lake" / "state").exists()


def test_a_state_that_cannot_be_written_is_no_error(tmp_path):
    path, home = write_spec(tmp_path), tmp_path / "lake"
    world = World(home, 18)
    world.week(0)
    (home / "state").write_text("a file where a folder should be")
    assert isinstance(said(home, path, day(0)), dict)


def test_sums_that_there_is_no_room_for_are_read_from_all_events(tmp_path, monkeypatch, used):
    path, home = write_spec(tmp_path), tmp_path / "lake"
    world = World(home, 21)
    went_on = []
    for week in range(6):
        world.week(week)
        with monkeypatch.context() as small:
            if week == 4:
                small.setattr(customers, "MOST", 2)
            before = len(used)
            same(
                said(home, path, day(week)), fresh(home, path, day(week), tmp_path / "aside"), f"week {week}"
            )
            went_on.append(len(used) > before)
    assert went_on[3:] == [True, False, True]


def test_files_of_older_states_are_removed(tmp_path):
    home, path = tmp_path / "lake", write_spec(tmp_path)
    world = World(home, 19)
    for week in range(WEEKS):
        world.week(week)
        for _ in range(3):
            said(home, path, day(week))
    assert len(list((home / "state" / "grows").glob("customers-*"))) <= 2
    assert len(list((home / "state" / "grows").iterdir())) < 60


def test_another_time_zone_is_another_experiment_to_what_was_kept(tmp_path, used):
    home = tmp_path / "lake"
    world = World(home, 11)
    path = write_spec(tmp_path, zone="Europe/London", looks="weekly")
    for week in range(4):
        world.week(week)
        said(home, path, day(week))
    used.clear()
    path = write_spec(tmp_path, zone="UTC", looks="weekly")
    world.week(4)
    same(said(home, path, day(4)), fresh(home, path, day(4), tmp_path / "aside"))
    assert not used


def test_a_step_that_fails_at_its_end_leaves_nothing_behind_and_all_is_read(tmp_path, monkeypatch):
    home, path = tmp_path / "lake", write_spec(tmp_path)
    world = World(home, 11)
    for week in range(3):
        world.week(week)
        said(home, path, day(week))
    whole = fresh(home, path, day(2), tmp_path / "aside")
    before = {each.name for each in (home / "state" / "grows").iterdir()}

    def gone(*_, **__):
        raise OSError("a file was removed meanwhile")

    monkeypatch.setattr(advance, "changed_since", gone)
    same(said(home, path, day(2)), whole)
    assert {each.name for each in (home / "state" / "grows").iterdir()} == before


def test_a_state_that_finds_no_room_takes_back_what_it_wrote(tmp_path, monkeypatch):
    home, path = tmp_path / "lake", write_spec(tmp_path)
    world = World(home, 11)
    for week in range(3):
        world.week(week)
        said(home, path, day(week))
    before = {each.name for each in (home / "state" / "grows").iterdir()}

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(state.Store, "write", full)
    world.week(3)
    assert isinstance(said(home, path, day(3)), dict)
    assert {each.name for each in (home / "state" / "grows").iterdir()} == before


def test_a_state_that_is_in_place_stays_though_older_files_cannot_be_cleaned_away(
    tmp_path, monkeypatch, used
):
    home, path = tmp_path / "lake", write_spec(tmp_path)
    world = World(home, 11)
    for week in range(3):
        world.week(week)
        said(home, path, day(week))

    def gone(*_, **__):
        raise FileNotFoundError("another process was there before")

    world.week(3)
    with monkeypatch.context() as crowded:
        crowded.setattr(state.Store, "_clean", gone)
        said(home, path, day(3))
    used.clear()
    world.week(4)
    same(said(home, path, day(4)), fresh(home, path, day(4), tmp_path / "aside"))
    assert used


def test_a_look_at_days_to_come_does_not_end_what_is_kept(tmp_path, used):
    home, path = tmp_path / "lake", write_spec(tmp_path)
    world = World(home, 11)
    for week in range(3):
        world.week(week)
        said(home, path, day(week))
    said(home, path, date(2062, 1, 1))
    said(home, path, day(2))
    used.clear()
    world.week(3)
    same(said(home, path, day(3)), fresh(home, path, day(3), tmp_path / "aside"))
    assert used


@pytest.mark.parametrize("amount", [99_999, 99_999_999_999])
def test_a_huge_order_that_is_taken_back_leaves_no_trace_in_the_looks(tmp_path, amount):
    home, path = tmp_path / "lake", write_spec(tmp_path, looks="weekly", capped="")
    world = World(home, 11, refunds=False)
    odd = world.one("Order Completed", world.free[0], START + timedelta(days=3), "odd", Decimal(amount))
    real = odd | {"event_id": "real", "timestamp": START + timedelta(days=2), "amount": Decimal(50)}
    for week in range(5):
        world.week(week)
        for row in [odd] if week == 0 else [real] if week == 3 else []:
            row["received_at"] = START + timedelta(days=7 * week + 7)
            write_deltalake(
                f"{home}/events", pa.Table.from_pylist([row], schema=schema_of("events")), mode="append"
            )
        if week:
            same(
                said(home, path, day(week)), fresh(home, path, day(week), tmp_path / "aside"), f"week {week}"
            )
