"""Customer.io's warehouse sync: what its files say together, whatever their order, and what is wrong with one."""

from __future__ import annotations

import os
import random
import shutil
import time
from contextlib import suppress
from datetime import timedelta

import pytest

from tests.lake.syncing import NOW, SPEC, Folder, later
from toolkit.errors import DataError, SpecError, StorageError, ToolkitError
from toolkit.lake.cohort import customers_with, qualify
from toolkit.lake.engine import connect
from toolkit.lake.same_people import grouped, held_as_another
from toolkit.lake.sync_tables import open_sync, sync_files
from toolkit.lake.tables import Lake
from toolkit.steps.assign import assign
from toolkit.steps.measure import measure
from toolkit.steps.pull import pull
from toolkit.steps.workspace import Spec

FOUR = {"c1": "treatment", "c2": "holdout", "silent": "treatment", "quiet": "holdout"}


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path)
    made.people(1, ("a3", "c1", 0), ("b3", "c2", 0), ("d3", "c3", 0))
    made.tiers(1, ("a3", "gold", 0), ("b3", "gold", 0), ("d3", "steel", 0))
    made.sent(1, ("d-1", "a3", 31), ("d-2", "b3", 31), ("d-3", "a3", 99))
    made.metrics(1, ("m1", "d-1", "sent", 1), ("m2", "d-3", "sent", 1))
    made.orders(1, ("e1", "a3", 2, "49.90"), ("e2", "b3", 3, '"12.5"'))
    return made


def rows(folder, query):
    with connect() as con:
        open_sync(con, sync_files(str(folder.sync), what="x"))
        return con.rows(query)


def pulled(folder, now=NOW):
    return pull(folder.workspace(now), folder.spec)


# ---- how things stand ----------------------------------------------------------------------------


def test_the_latest_attribute_and_person_count_whatever_the_order_of_files(folder):
    folder.tiers(9, ("a3", "steel", 5))
    folder.tiers(12, ("a3", "gold", 4), ("d3", "gold", 4))  # came later, says what was before
    folder.people(8, ("b3", "c2-new", 3))
    folder.people(11, ("b3", "c2-old", 2))
    found = rows(folder, "SELECT id, tier FROM sync.people ORDER BY id")
    assert found == [("c1", "steel"), ("c2-new", "gold"), ("c3", "gold")]


def test_of_equal_instants_the_later_file_counts(folder):
    folder.tiers(2, ("a3", "steel", 0))
    folder.tiers(10, ("a3", "lead", 0))  # 10 is after 2 though its name sorts before
    assert rows(folder, "SELECT tier FROM sync.people WHERE id = 'c1'") == [("lead",)]


def test_the_same_state_results_from_any_order_of_the_same_rows(tmp_path):
    told = [(person, f"tier{n}", n) for n in range(30) for person in ("a3", "b3")]
    seen = set()
    for seed in range(5):
        random.Random(seed).shuffle(told)
        folder = Folder(tmp_path / str(seed)) if (tmp_path / str(seed)).mkdir() is None else None
        folder.people(1, ("a3", "c1", 0), ("b3", "c2", 0))
        for sequence, at in enumerate(range(0, 60, 7)):
            folder.tiers(sequence, *told[at : at + 7])
        seen.add(tuple(rows(folder, "SELECT id, tier FROM sync.people ORDER BY id")))
    assert seen == {(("c1", "tier29"), ("c2", "tier29"))}


def test_deleted_and_suppressed_people_do_not_qualify_and_are_still_known(folder):
    folder.people(2, ("a3", "", 4), deleted=True, email_addr=None)
    folder.people(3, ("b3", "c2", 4), suppressed=True)
    assert rows(folder, "SELECT id FROM sync.people") == [("c3",)]
    assert rows(folder, "SELECT id, deleted FROM sync.everyone WHERE cio_id = 'a3'") == [("c1", True)]


def test_deliveries_metrics_and_outputs_stand_once(folder):
    for sequence in (2, 3):
        folder.sent(sequence, ("d-1", "a3", 31))
        folder.metrics(sequence, ("m1", "d-1", "sent", 1))
        folder.write("outputs", sequence, [{"output_id": "x", "branch_index": 1, "created_at": later(1)}])
    counts = "SELECT (SELECT count(*) FROM sync.deliveries), (SELECT count(*) FROM sync.metrics), (SELECT count(*) FROM sync.outputs)"
    assert rows(folder, counts) == [(3, 2, 1)]


# ---- the cohort ----------------------------------------------------------------------------------


def qualified(folder):
    with connect() as con:
        qualify(con, folder.lake, folder.spec.experiment, str(folder.path))
        return sorted(row[0] for row in con.rows("SELECT id FROM qualified"))


def test_a_condition_chooses_people_by_their_attributes(folder):
    assert qualified(folder) == ["c1", "c2"]


def test_without_a_condition_everybody_qualifies(folder):
    folder.path.write_text(SPEC.replace(""", where: "tier = 'gold'\"""", ""))
    assert qualified(folder) == ["c1", "c2", "c3"]


def test_the_cohort_is_told_by_the_identity_key(folder):
    folder.path.write_text(SPEC.replace("start:", "identity: {key: cio_id}\nstart:"))
    assert qualified(folder) == ["a3", "b3"]
    folder.path.write_text(SPEC.replace("start:", "identity: {key: email}\nstart:").replace("banner", "b"))
    assert qualified(folder) == ["c1@x.example", "c2@x.example"]


def test_a_query_sees_the_folder_as_the_schema_sync_beside_the_lake(folder):
    (folder.root / "who.sql").write_text(
        "SELECT p.id, p.tier FROM sync.people p JOIN sync.deliveries d ON d.internal_customer_id = p.cio_id "
        "JOIN sync.metrics m USING (delivery_id) WHERE m.metric = 'sent' AND d.campaign_id = 99"
    )
    folder.path.write_text(SPEC.replace("""where: "tier = 'gold'\"""", "sql: who.sql"))
    assert qualified(folder) == ["c1"]


def test_a_condition_on_what_is_no_attribute_says_so(folder):
    folder.path.write_text(SPEC.replace("tier = ", "tear = "))
    with pytest.raises(DataError, match=r"cohort\.where.*tear.*cannot be asked"):
        qualified(folder)


def test_a_condition_without_a_folder_or_beside_a_query_is_refused(folder):
    for wrong in ("where: x, sql: a.sql, path: sync", "where: x, sql: a.sql"):
        folder.path.write_text(SPEC.replace("""path: sync, where: "tier = 'gold'\"""", wrong))
        with pytest.raises(SpecError, match="`where` goes with `path`"):
            Spec.read(folder.path)


def test_who_must_not_be_offered_anything_is_read_from_the_sync(folder):
    folder.path.write_text(SPEC + "do_not_offer: {attribute: angry}\n")
    folder.write(
        "attributes",
        4,
        [
            {
                "internal_customer_id": "a3",
                "attribute_name": "angry",
                "attribute_value": "true",
                "timestamp": later(1),
            },
            {
                "internal_customer_id": "b3",
                "attribute_name": "angry",
                "attribute_value": "false",
                "timestamp": later(1),
            },
        ],
    )
    assert customers_with(folder.lake, folder.spec.experiment, str(folder.path), "angry") == {"c1"}


def test_a_cohort_of_the_sync_is_assigned_with_its_attributes(folder):
    folder.path.write_text(SPEC + "analysis: {breakdowns: [tier]}\n")
    done = assign(folder.workspace(later(20)), folder.spec)
    assert sum(done.enrolment.assigned.values()) == 2
    assert {row[1] for row in folder.kept("people", "id", "attributes")} == {'{"tier":"gold"}'}


# ---- events --------------------------------------------------------------------------------------


def test_events_are_kept_once_with_amount_currency_and_order(folder):
    assert pulled(folder).added == 2
    assert pulled(folder).added == 0
    assert folder.kept("events", "id", "name", "currency", "order_id") == [
        ("c1", "Order Completed", "USD", "o-e1"),
        ("c2", "Order Completed", "USD", "o-e2"),
    ]
    assert sorted(str(row[0]) for row in folder.kept("events", "amount")) == ["12.5000", "49.9000"]


def test_a_file_that_comes_late_and_one_that_comes_twice_add_what_is_new(folder):
    pulled(folder)
    path = folder.orders(5, ("e2", "b3", 3, "12.5"), ("e3", "a3", 9, "7"))
    shutil.copy(path, folder.sync / "events_v5_7_6.parquet")
    folder.orders(3, ("e4", "a3", 8, "7"))
    assert pulled(folder).added == 2
    assert [row[0] for row in folder.kept("events", "event_id")] == ["e1", "e2", "e3", "e4"]


def test_an_event_of_a_person_not_told_of_yet_waits_for_the_people(folder):
    folder.orders(2, ("e9", "z9", 4, "5"))
    first = pulled(folder)
    assert (first.added, first.files.kept.waiting) == (2, 1)
    folder.people(7, ("z9", "c9", 5))
    second = pulled(folder)
    assert (second.added, second.files.files, second.files.kept.waiting) == (1, 1, 0)
    assert pulled(folder).files.files == 0


def test_an_event_of_somebody_without_the_identity_key_is_counted_and_left_out(folder):
    folder.people(2, ("k1", "", 1))
    folder.orders(2, ("e5", "k1", 4, "5"))
    done = pulled(folder)
    assert (done.added, done.files.kept.without_key, done.files.kept.waiting) == (2, 1, 0)


def test_reading_the_columns_otherwise_keeps_the_events_anew_and_measures_only_those(folder):
    pulled(folder)
    folder.path.write_text(SPEC.replace("amount: total", "amount: money.nothing"))
    assert pulled(folder).files.kept.without_amount == 2
    folder.assign(FOUR)
    with pytest.raises(
        SpecError, match="none of the 2 events named 'Order Completed' has a number as `amount`"
    ):
        measure(folder.workspace(), folder.spec)


def test_what_was_pulled_from_the_sync_is_measured(folder):
    pulled(folder)
    folder.assign(FOUR)
    found = measure(folder.workspace(), folder.spec)
    assert found.lifts[1].means == {"treatment": pytest.approx(49.9 / 2), "holdout": pytest.approx(12.5 / 2)}


def test_the_data_reach_as_far_as_any_event_does_though_nobody_ordered(folder):
    folder.orders(2, ("v1", "a3", 24 * 20, "0"), name="Page Viewed")
    folder.orders(3, ("v2", "a3", 24 * 365, "0"), name="Page Viewed")  # by a clock that goes wrong
    pulled(folder, later(24 * 21))
    assert len(folder.kept("events", "id")) == 2
    folder.assign(FOUR)
    assert measure(folder.workspace(), folder.spec).data_through == later(24 * 20)


# ---- what is wrong with a file -------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 3, 200])
def test_a_file_cut_short_is_named_and_left_and_all_others_are_taken(folder, cut):
    path = folder.orders(2, ("e7", "a3", 4, "5"))
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    folder.orders(3, ("e8", "a3", 5, "6"))
    with pytest.raises(DataError, match=r"events_v5_7_2\.parquet.*everything else in .* was"):
        pulled(folder)
    assert [row[0] for row in folder.kept("events", "event_id")] == ["e1", "e2", "e8"]
    path.write_bytes(whole)
    assert pulled(folder).added == 1


def test_a_file_damaged_in_its_middle_is_never_half_taken(folder):
    path = folder.orders(2, *((f"x{n}", "a3", n / 10, "5") for n in range(2000)))
    whole = bytearray(path.read_bytes())
    whole[500:900] = b"\x00" * 400
    path.write_bytes(bytes(whole))
    folder.orders(3, ("e8", "a3", 5, "6"))
    with pytest.raises(DataError, match=r"events_v5_7_2\.parquet"):
        pulled(folder)
    assert [row[0] for row in folder.kept("events", "event_id")] == ["e1", "e2", "e8"]


def test_a_file_without_a_column_is_named_with_the_mend(folder):
    import pyarrow.parquet as pq

    path = folder.orders(2, ("e7", "a3", 4, "5"))
    pq.write_table(pq.read_table(path).drop_columns(["timestamp"]), path)
    with pytest.raises(
        DataError, match=r"events_v5_7_2\.parquet: no column for the timestamp.*events\.columns"
    ):
        pulled(folder)
    assert len(folder.kept("events", "event_id")) == 2


def test_a_file_without_rows_is_taken(folder):
    folder.orders(2)
    assert pulled(folder).files.files == 2


def test_people_that_cannot_be_read_stop_the_pull_and_are_named(folder):
    (folder.sync / "people_v4_7_3.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"people_v4_7_3\.parquet: cannot be read"):
        pulled(folder)
    assert folder.kept("events", "event_id") == []


def test_a_folder_without_a_sync_and_one_of_two_workspaces_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        sync_files(str(tmp_path / "elsewhere"), what="x")
    (folder.sync / "people_v4_8_1.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match="workspaces 7, 8"):
        pulled(folder)


RUNS = 150 if os.environ.get("LIFT_LONG") else 1


@pytest.mark.parametrize("seed", range(RUNS))
def test_any_order_with_repeats_damage_and_crashes_ends_in_the_same_lake(tmp_path, monkeypatch, seed):
    draw = random.Random(seed)
    folder = Folder(tmp_path)
    events = [(f"e{n}", f"p{draw.randrange(12)}", n / 7, str(n)) for n in range(40)]
    folder.people(1, *((f"p{n}", f"c{n}", 0) for n in range(6)))
    folder.people(2, *((f"p{n}", f"c{n}", 0) for n in range(6, 12)))
    folder.sent(1, *((f"d{n}", f"p{n}", 31) for n in range(12)))
    folder.metrics(1, *((f"m{n}", f"d{n}", "sent", 1) for n in range(12)))
    for sequence in range(8):
        own = events[sequence * 5 : sequence * 5 + 5]
        folder.orders(sequence, *own, *draw.choices(events, k=3))
    whole = {path.name: path.read_bytes() for path in folder.sync.iterdir()}
    for path in folder.sync.iterdir():
        path.unlink()
    names = list(whole)
    draw.shuffle(names)
    append = Lake.append

    def fails_sometimes(lake, table, rows):
        if draw.random() < 0.3:
            raise StorageError("the disk is full")
        append(lake, table, rows)

    monkeypatch.setattr(Lake, "append", fails_sometimes)
    hours = 0
    while names:
        for name in [names.pop() for _ in range(min(3, len(names)))]:
            cut = draw.randrange(8, len(whole[name])) if draw.random() < 0.2 else None
            (folder.sync / name).write_bytes(whole[name][:cut])
        hours += 1
        with suppress(ToolkitError):
            pulled(folder, NOW + timedelta(hours=hours))
    monkeypatch.undo()
    for name, content in whole.items():
        (folder.sync / name).write_bytes(content)
    pulled(folder, NOW + timedelta(hours=hours + 1))
    owners = {own: f"c{inner[1:]}" for own, inner, _, _ in events}
    assert folder.kept("events", "event_id", "id") == sorted(owners.items())
    assert folder.kept("deliveries", "event_id", "id") == sorted((f"m{n}", f"c{n}") for n in range(12))


# ---- people who are one --------------------------------------------------------------------------


@pytest.fixture
def merged(folder):
    folder.assign(
        {"c1": "treatment", "c2": "holdout", "c3": "treatment", **{f"n{k}": "holdout" for k in range(400)}}
    )
    folder.people(2, ("a3", "c1", 4), deleted=True, email_addr="one@x.example")
    folder.people(3, ("b3", "c2", 5), email_addr="One@x.example")
    return folder


def test_a_merge_across_arms_shows_in_the_crossover_and_both_count(merged):
    assert pulled(merged).same_people == 1
    assert pulled(merged).same_people == 0
    found = measure(merged.workspace(), merged.spec)
    check = next(each for each in found.checks if each.name == "crossover")
    assert check.status == "warn"
    assert (
        "2 of 403 customers (0.50%) turned out to be one person with a customer of another arm"
        in check.detail
    )
    assert found.customers == {"holdout": 401, "treatment": 2}


def test_whoever_is_held_out_as_another_must_not_be_offered_anything(merged):
    pulled(merged)
    experiment, arms = merged.spec.experiment, {"c1": "treatment", "c2": "holdout"}
    assert held_as_another(merged.lake, experiment, arms) == {"c1"}
    assert held_as_another(merged.lake, experiment, {"c1": "treatment"}) == frozenset()
    assert held_as_another(merged.lake, experiment, {"c1": "treatment"}, universal={"c2"}) == {"c1"}


def test_one_person_with_two_ids_one_after_the_other_is_found(folder):
    folder.assign({"c1": "treatment", "c1-new": "holdout"})
    folder.people(2, ("a3", "c1-new", 4))
    pulled(folder)
    assert folder.kept("same_people", "id", "person") == [("c1", "c1"), ("c1-new", "c1")]


def test_people_who_become_one_after_another_are_all_one(folder):
    """c1 and c3 meet first, then c3 and c2: all three are one, whatever their own two have to do with each other."""
    arms = {"c1": "treatment", "c2": "holdout", "c3": "treatment"}
    folder.assign(arms)
    folder.people(2, ("a3", "c1", 4), deleted=True, email_addr="one@x.example")
    folder.people(3, ("d3", "c3", 5), email_addr="one@x.example")
    pulled(folder)
    assert held_as_another(folder.lake, folder.spec.experiment, arms) == frozenset()
    folder.people(4, ("d3", "c3", 8), deleted=True, email_addr="two@x.example")
    folder.people(5, ("b3", "c2", 9), email_addr="two@x.example")
    pulled(folder)
    assert held_as_another(folder.lake, folder.spec.experiment, arms) == {"c1", "c3"}
    check = next(each for each in measure(folder.workspace(), folder.spec).checks if each.name == "crossover")
    assert check.detail.startswith("3 of 3 customers")


def test_a_merge_within_an_arm_is_no_crossover(merged):
    merged.lake.append_rows(
        "assignments",
        [
            {"experiment": "synced", "id": "c2", "arm": "treatment", "assigned_at": later(-1)}
        ],  # before the other
    )
    pulled(merged)
    check = next(each for each in measure(merged.workspace(), merged.spec).checks if each.name == "crossover")
    assert "turned out" not in check.detail


def test_an_address_of_two_who_are_there_says_nothing_of_one_who_is_gone(folder):
    folder.people(2, ("a3", "c1", 4), ("b3", "c2", 4), email_addr="home@x.example")
    folder.people(3, ("d3", "c3", 5), email_addr="home@x.example", deleted=True)
    assert pulled(folder).same_people == 0


def test_many_customers_under_one_address_are_one_person_in_time(tmp_path):
    pairs = [(f"c{n}", "c0") for n in range(50_000)]
    began = time.process_time()
    assert set(grouped(pairs).values()) == {"c0"}
    assert time.process_time() - began < 5


def test_people_who_share_an_address_and_are_both_there_are_two(folder):
    folder.people(2, ("a3", "c1", 4), email_addr="home@x.example")
    folder.people(3, ("b3", "c2", 5), email_addr="home@x.example")
    assert pulled(folder).same_people == 0
