"""Whom messages reached: kept once, whoever told it, and what the check on the holdout makes of it."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pandas as pd
import pytest

from tests.lake.syncing import AT, NOW, SPEC, Folder, later
from toolkit.errors import DataError, SpecError
from toolkit.lake.deliveries import append_deliveries
from toolkit.lake.tables import Lake
from toolkit.steps.measure import measure
from toolkit.steps.pull import pull
from toolkit.steps.workspace import Spec

ARMS = {f"c{n}": "holdout" if n % 2 else "treatment" for n in range(40)}
FILES = SPEC.replace("source: warehouse, path: sync}\nmetrics", "source: files, path: told}\nmetrics")


def row(n, metric="sent", **more):
    return {
        "delivery_id": f"d{n}",
        "id": f"c{n}",
        "metric": metric,
        "timestamp": AT,
        "campaign_id": 31,
    } | more


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path)
    made.people(1, *((f"p{n}", f"c{n}", 0) for n in range(40)))
    made.sent(1, *((f"d{n}", f"p{n}", 31) for n in range(40)))
    made.orders(1, ("e1", "p2", 2, "49.90"), ("e2", "p3", 3, "12.5"))
    made.assign(ARMS)
    return made


def check(folder, name="holdout_delivered", as_of=None):
    found = measure(folder.workspace(), folder.spec, as_of=as_of)
    return next(each for each in found.checks if each.name == name)


# ---- rows that a receiver brings -----------------------------------------------------------------


def test_what_happened_is_kept_once_however_often_and_in_whatever_order_it_is_told(tmp_path):
    lake, told = Lake(str(tmp_path)), [row(n, metric) for n in range(20) for metric in ("sent", "opened")]
    draw = random.Random(4)
    for _ in range(4):
        draw.shuffle(told)
        append_deliveries(lake, [*told[:30], *told[:5]], at=NOW)
    assert append_deliveries(lake, told, at=NOW) == 0 or len(told) == 40
    kept = lake.read("deliveries", ["delivery_id", "metric"]).to_pylist()
    assert sorted((each["delivery_id"], each["metric"]) for each in kept) == sorted(
        (each["delivery_id"], each["metric"]) for each in told
    )


def test_an_event_id_of_the_vendor_tells_rows_apart_that_look_the_same(tmp_path):
    lake = Lake(str(tmp_path))
    assert append_deliveries(lake, [row(1, "clicked", event_id=str(n)) for n in (1, 2, 2)]) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"id": ""}, "delivery 1: `id` is missing"),
        ({"timestamp": datetime(2026, 1, 1)}, "delivery 1: `timestamp` has no time zone"),  # noqa: DTZ001
        ({"id_type": "phone"}, "delivery 1: id_type 'phone' is none of id, email, cio_id"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_none_is_kept(tmp_path, wrong, said):
    lake = Lake(str(tmp_path))
    with pytest.raises(DataError, match=said):
        append_deliveries(lake, [row(0), row(1, **wrong)])
    assert lake.read("deliveries").num_rows == 0


# ---- the sync ------------------------------------------------------------------------------------


def test_the_sync_tells_whom_this_experiments_messages_reached_and_no_others(folder):
    folder.sent(2, ("other", "p1", 99))
    folder.metrics(1, ("m0", "d0", "sent", 1), ("m1", "other", "sent", 1))
    done = pull(folder.workspace(), folder.spec)
    assert (done.deliveries.seen, done.deliveries.added) == (2, 1)
    assert folder.kept("deliveries", "id", "metric", "campaign_id") == [("c0", "sent", 31)]
    assert check(folder).status == "pass"
    assert pull(folder.workspace(), folder.spec).deliveries.added == 0


def test_metrics_that_come_before_their_deliveries_wait_for_them(folder):
    folder.metrics(1, ("m9", "d-late", "sent", 1))
    assert pull(folder.workspace(), folder.spec).deliveries.waiting == 1
    assert check(folder).status == "pass"
    folder.sent(5, ("d-late", "p1", 31))
    assert pull(folder.workspace(), folder.spec).deliveries.added == 1
    assert check(folder).status == "fail"


def test_a_message_to_a_held_out_customer_withholds_the_verdict(folder):
    folder.metrics(1, ("m0", "d0", "sent", 1), ("m1", "d1", "sent", 1))
    pull(folder.workspace(), folder.spec)
    found = measure(folder.workspace(), folder.spec)
    assert found.verdict.status == "not_readable"
    said = check(folder)
    assert said.status == "fail"
    assert said.detail == (
        "1 of 20 held-out customers got the treatment: 1 got the message; "
        "whom the offer was served to is not known"
    )


def test_what_came_before_the_assignment_or_after_the_readout_does_not_count(folder):
    folder.metrics(1, ("m1", "d1", "sent", -1), ("m3", "d3", "sent", 24 * 20))
    pull(folder.workspace(), folder.spec)
    assert check(folder).status == "fail"
    assert check(folder, as_of=later(24 * 5).date()).status == "pass"


def test_a_message_that_bounced_reached_nobody(folder):
    folder.metrics(1, ("m1", "d1", "sent", 1), ("m2", "d1", "bounced", 2), ("m3", "d3", "attempted", 2))
    pull(folder.workspace(), folder.spec)
    assert check(folder).status == "pass"


def test_whom_a_message_reached_is_exposed(folder):
    folder.metrics(1, *((f"m{n}", f"d{n}", "sent", 1) for n in range(0, 40, 4)))
    pull(folder.workspace(), folder.spec)
    found = measure(folder.workspace(), folder.spec)
    assert found.lifts[0].exposed.exposed_share == pytest.approx(0.5)


def test_nothing_is_said_where_nobody_told_anything(folder):
    for spec in (SPEC, SPEC.replace("deliveries: {campaigns: [31], source: warehouse, path: sync}\n", "")):
        folder.path.write_text(
            spec.replace("source: warehouse, path: sync}\nmetrics", "source: webhooks}\nmetrics")
        )
        pull(folder.workspace(), folder.spec)
        said = check(folder)
        assert said.status == "skip"
        assert "name `deliveries` and `exposures` in the experiment file" in said.detail


def test_what_webhooks_brought_counts(folder):
    folder.path.write_text(
        SPEC.replace("source: warehouse, path: sync}\nmetrics", "source: webhooks}\nmetrics")
    )
    pull(folder.workspace(), folder.spec)
    append_deliveries(folder.lake, [row(1, timestamp=later(1)), row(3, campaign_id=99, timestamp=later(1))])
    assert check(folder).detail.startswith("1 of 20 held-out customers got the treatment")


# ---- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_an_export_with_a_column_per_metric_is_read(folder, form):
    (folder.root / "told").mkdir()
    folder.path.write_text(FILES)
    at = int(later(1).timestamp())
    frame = pd.DataFrame(
        {
            "delivery_id": ["d0", "d1", "d2", "d3"],
            "customer_id": ["c0", "c1", "c2", "c3"],
            "campaign_id": [31, 31, 31, 99],
            "created": at,
            "sent": [at, at, None, at],
            "bounced": [None, at, None, None],
        }
    )
    path = folder.root / "told" / f"export.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    elif form == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    assert pull(folder.workspace(), folder.spec).deliveries.added == 3
    kept = folder.kept("deliveries", "id", "metric", "timestamp")
    assert kept == [("c0", "sent", later(1)), ("c1", "bounced", later(1)), ("c1", "sent", later(1))]
    assert check(folder).status == "pass"


def test_a_file_with_a_row_per_thing_is_read(folder):
    folder.path.write_text(FILES.replace("told}", "told.csv}"))
    (folder.root / "told.csv").write_text(
        "delivery_id,customer_id,campaign_id,metric,timestamp\nd1,c1,31,sent,2026-01-05T09:00:00Z\n"
    )
    pull(folder.workspace(), folder.spec)
    assert folder.kept("deliveries", "id", "metric") == [("c1", "sent")]
    assert check(folder).status == "fail"


def test_a_file_that_does_not_say_whose_message_it_was_is_named(folder):
    folder.path.write_text(FILES.replace("told}", "told.csv}"))
    (folder.root / "told.csv").write_text("delivery_id,campaign_id,sent\nd1,31,1767600000\n")
    with pytest.raises(
        DataError, match=r"told\.csv: no column for the customer \(customer_id or customerId\)"
    ):
        pull(folder.workspace(), folder.spec)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("{source: webhooks}", "needs `campaigns` or `newsletters`"),
        ("{campaigns: [1], source: files}", "`source: files` needs `path`"),
        ("{campaigns: [1], path: x}", "`source: customerio` takes no `path`"),
    ],
)
def test_a_part_that_cannot_be_meant_is_refused(folder, part, said):
    folder.path.write_text(SPEC.replace("{campaigns: [31], source: warehouse, path: sync}", part))
    with pytest.raises(SpecError, match=said):
        Spec.read(folder.path)


def test_instants_without_a_zone_are_utc(folder):
    folder.path.write_text(FILES.replace("told}", "told.csv}"))
    (folder.root / "told.csv").write_text(
        "delivery_id,customer_id,campaign_id,sent\nd1,c1,31,2026-01-05 09:00:00\n"
    )
    pull(folder.workspace(), folder.spec)
    assert folder.kept("deliveries", "timestamp") == [(datetime(2026, 1, 5, 9, tzinfo=UTC),)]
