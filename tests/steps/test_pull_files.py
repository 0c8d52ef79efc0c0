"""`lift pull` and what others write: track files, messages asked of Customer.io, exports for large cohorts."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from tests.example import FILES, OnFiles
from tests.lake.syncing import AT, SPEC, Folder, later
from toolkit.demo import push_now, workspace_of
from toolkit.errors import DataError, SpecError, StorageError
from toolkit.lake.arrivals import Kept, Taken
from toolkit.lake.tables import Lake
from toolkit.sandbox import PROGRAMS, Sandbox
from toolkit.settings import Settings
from toolkit.show.pulled import pulled_text
from toolkit.steps import bulk_attributes
from toolkit.steps.assign import assign
from toolkit.steps.deliveries import pull_deliveries
from toolkit.steps.measure import measure
from toolkit.steps.pull import Pulled, pull
from toolkit.steps.workspace import Spec, Workspace

ROOT = Path(__file__).parents[2]
WINBACK = PROGRAMS["winback-dormant"]
TRACKS = (
    SPEC.replace("events: {source: warehouse, path: sync,", "events: {source: pipelines, path: tracks,")
    .replace("deliveries: {campaigns: [31], source: warehouse, path: sync}\n", "")
    .replace("""cohort: {source: warehouse, path: sync, where: "tier = 'gold'"}""", "cohort: {source: files}")
)


def track(n, customer, hours, total, **more):
    return {
        "messageId": f"m{n}",
        "userId": customer,
        "event": "Order Completed",
        "timestamp": later(hours).isoformat(),
        "properties": {"total": total, "order_id": f"o{n}", "money": {"currency": "usd"}},
    } | more


ROWS = [track(1, "c1", 2, 49.9), track(2, "c2", 3, "12.5"), track(3, "c1", 4, 1, event="Page Viewed")]


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path, TRACKS)
    (tmp_path / "tracks").mkdir()
    return made


def flat(rows):
    return pd.DataFrame([row | {"properties": json.dumps(row["properties"])} for row in rows])


def write(folder, form, rows=ROWS, name="tracks"):
    path = folder.root / "tracks" / f"{name}.{form}"
    if form == "parquet":
        flat(rows).to_parquet(path)
    elif form == "csv":
        flat(rows).to_csv(path, index=False)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "jsonl.gz":
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    else:  # a struct, as pandas writes dicts
        pd.DataFrame(rows[:1]).to_parquet(path.with_suffix(".parquet"))
    return path


def pulled(folder):
    return pull(folder.workspace(), folder.spec)


# ---- track files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "jsonl.gz"])
def test_track_calls_are_read_in_every_form(folder, form):
    write(folder, form)
    assert pulled(folder).added == 2
    kept = folder.kept("events", "event_id", "id", "timestamp", "currency", "order_id")
    assert kept == [("m1", "c1", later(2), "USD", "o1"), ("m2", "c2", later(3), "USD", "o2")]
    assert [str(row[0]) for row in folder.kept("events", "amount")] == ["12.5000", "49.9000"]


def test_properties_may_be_a_structure_or_columns_of_their_own(folder):
    write(folder, "struct", name="a")
    flattened = flat(ROWS[1:2]).drop(columns="properties")
    flattened["properties_total"], flattened["properties_order_id"] = 12.5, "o2"
    flattened["messageId"] = "m9"
    flattened.to_csv(folder.root / "tracks" / "b.csv", index=False)
    assert pulled(folder).added == 2
    assert [(row[0], str(row[1])) for row in folder.kept("events", "order_id", "amount")] == [
        ("o1", "49.9000"),
        ("o2", "12.5000"),
    ]


def test_files_in_folders_by_hour_in_several_forms_are_one_stream(folder):
    (folder.root / "tracks" / "2026" / "01").mkdir(parents=True)
    write(folder, "jsonl", ROWS[:1], "2026/01/a")
    write(folder, "csv", ROWS[1:], "2026/01/b")
    write(folder, "parquet", [*ROWS, track(4, "c2", 5, 3)], "2026/c")
    assert pulled(folder).added == 3
    assert pulled(folder).files.files == 0


def test_a_call_without_a_customer_is_left_out_and_counted(folder):
    write(folder, "jsonl", [*ROWS, track(5, None, 6, 3), track(6, "", 6, 3)])
    done = pulled(folder)
    assert (done.added, done.files.kept.without_key) == (2, 2)
    assert "2 rows are of people without the identity key" in pulled_text(done)


def test_calls_without_an_id_are_kept_once_though_their_file_comes_twice(folder):
    rows = [{name: value for name, value in row.items() if name != "messageId"} for row in ROWS]
    write(folder, "jsonl", rows)
    write(folder, "jsonl", rows, "again")
    assert pulled(folder).added == 2


def test_a_line_cut_short_costs_its_file_and_no_other(folder):
    path = write(folder, "jsonl", name="torn")
    whole = path.read_text()
    path.write_text(whole[:-30])
    write(folder, "csv", [track(7, "c1", 6, 3)])
    with pytest.raises(DataError, match=r"torn\.jsonl: cannot be read"):
        pulled(folder)
    assert folder.kept("events", "event_id") == [("m7",)]
    path.write_text(whole)
    assert pulled(folder).added == 2


def test_an_instant_that_cannot_be_read_names_the_file(folder):
    write(folder, "jsonl", [*ROWS, track(8, "c1", 6, 3, timestamp="yesterday")], "odd")
    with pytest.raises(DataError, match=r"odd\.jsonl: 1 rows have no timestamp that can be read"):
        pulled(folder)


def test_columns_may_be_called_otherwise(folder):
    folder.path.write_text(
        TRACKS.replace("path: tracks,", "path: tracks, columns: {id: who, name: what, timestamp: when_ms},")
    )
    rows = [
        {
            "who": row["userId"],
            "what": row["event"],
            "when_ms": int((AT + timedelta(hours=n)).timestamp() * 1000),
            "properties": row["properties"],
        }
        for n, row in enumerate(ROWS)
    ]
    write(folder, "jsonl", rows)
    assert pulled(folder).added == 2
    assert folder.kept("events", "id", "timestamp") == [("c1", AT), ("c2", later(1))]


def test_a_folder_without_files_and_one_that_is_not_there_are_named(folder):
    with pytest.raises(DataError, match=r"tracks: no file ends in .parquet, .csv or .jsonl"):
        pulled(folder)
    (folder.root / "tracks").rmdir()
    with pytest.raises(DataError, match="tracks: no such folder"):
        pulled(folder)


def test_an_amount_that_is_no_number_is_kept_without_it_and_counted(folder):
    write(folder, "jsonl", [track(1, "c1", 2, "a lot"), track(2, "c1", 2, 5)])
    done = pulled(folder)
    assert (done.added, done.files.kept.without_amount) == (2, 1)


def test_what_was_pulled_is_measured(folder):
    write(folder, "jsonl")
    pulled(folder)
    folder.assign({"c1": "treatment", "c2": "holdout", "c3": "treatment", "c4": "holdout"})
    found = measure(folder.workspace(), folder.spec)
    assert found.lifts[1].means == {"treatment": pytest.approx(49.9 / 2), "holdout": pytest.approx(12.5 / 2)}


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("{source: warehouse}", "`source: warehouse` needs `path`"),
        ("{source: files, columns: {id: who}}", "`columns` goes with"),
        ("{source: customerio, path: x}", "`path` goes with"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(folder, part, said):
    folder.path.write_text(
        TRACKS.replace(
            "{source: pipelines, path: tracks, order: {amount: total, currency: money.currency}}", part
        )
    )
    with pytest.raises(SpecError, match=said):
        Spec.read(folder.path)


def test_the_command_takes_what_it_can_and_ends_in_2_naming_what_is_broken(folder):
    write(folder, "jsonl")
    (folder.root / "tracks" / "x.parquet").write_bytes(b"PAR1")
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.cli", "pull", str(folder.path)],
        env={"LIFT_HOME": str(folder.root / "lake"), "PATH": "", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "x.parquet: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(folder.kept("events", "event_id")) == 2
    assert pulled_text(Pulled(files=Taken(1, Kept(seen=3, added=2), ()))).startswith("2 new events (3 rows")


# ---- Customer.io ---------------------------------------------------------------------------------


@pytest.fixture
def box():
    with Sandbox(seed=3, scale=0.1, limits=False) as served:
        yield served


def spec_with(tmp_path, key="winback-dormant", **parts):
    path = tmp_path / f"{key}.yml"
    more = "".join(f"{name}: {said}\n" for name, said in parts.items())
    path.write_text((ROOT / "experiments" / path.name).read_text() + more)
    return Spec.read(path)


def lived(box, tmp_path, spec):
    """Return a workspace after nine days of the sandbox's shoppers."""
    workspace = workspace_of(box, tmp_path / "home", tmp_path)
    assign(workspace, spec)
    push_now(workspace, spec)
    box.advance(9)
    return workspace_of(box, tmp_path / "home", tmp_path)


def evaluations(box, path):
    """Write down what the site's flags served, as LaunchDarkly's Data Export does."""
    rows = [
        {
            "flag_key": each.flag,
            "context_key": each.customer_id,
            "context_kind": "user",
            "variation_value": json.dumps(each.value),
            "received_time": each.at,
        }
        for each in box.evaluations
    ]
    pd.DataFrame(rows).to_parquet(path)


def test_whom_messages_reached_and_who_saw_the_offer_meet_the_ledger(box, tmp_path):
    """The simulated shop's own record of messages and of flags served, read as the vendors tell it."""
    (tmp_path / "spool").mkdir()
    spec = spec_with(tmp_path, exposures="{path: spool}")
    assert list(spec.experiment.deliveries.campaigns) == [WINBACK.campaign]
    workspace = lived(box, tmp_path, spec)
    evaluations(box, tmp_path / "spool" / "evaluation_events.parquet")
    done = pull(workspace, spec)
    reached = {each.customer_id for each in box.messages if each.campaign_id == WINBACK.campaign}
    served = {
        each.customer_id for each in box.evaluations if each.flag == WINBACK.flag and each.value != "none"
    }
    kept = workspace.lake.read("deliveries").to_pylist()
    assert {row["id"] for row in kept} == reached - {""}
    assert {row["id"] for row in workspace.lake.read("exposures").to_pylist()} == served
    assert min(len(reached), len(served)) > 20
    assert done.deliveries.added == len(kept)
    again = pull(workspace, spec)
    assert (again.deliveries.added, again.exposures.files) == (0, 0)
    found = measure(workspace, spec)
    checks = {each.name: each for each in found.checks}
    assert checks["holdout_delivered"].status == checks["crossover"].status == "pass"
    assert checks["holdout_delivered"].detail.endswith("none got the message; none were served the offer")
    assert found.lifts[0].exposed.exposed_share > 0.3


def test_an_interrupted_pull_of_messages_goes_on_where_it_was(box, tmp_path):
    key = "cart-free-shipping"  # enrols, and messages, every week anew
    spec = spec_with(tmp_path, key)
    assert list(spec.experiment.deliveries.campaigns) == [PROGRAMS[key].campaign]
    lived(box, tmp_path, spec)
    workspace = lived(box, tmp_path, spec)

    def stop(what, *_):
        if what == "messages":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(workspace, spec, progress=stop)
    kept = workspace.lake.read("deliveries").num_rows
    whole = pull(workspace_of(box, tmp_path / "another", tmp_path), spec).deliveries.added
    assert 0 < kept < whole
    assert kept + pull(workspace, spec).deliveries.added == whole


def test_an_experiment_that_began_earlier_asks_for_its_own_time_though_another_asked_first(box, tmp_path):
    spec = spec_with(tmp_path, "cart-free-shipping")
    lived(box, tmp_path, spec)
    workspace = lived(box, tmp_path, spec)
    began = (workspace.now() - timedelta(days=3)).date()
    text = (
        (ROOT / "experiments" / "cart-free-shipping.yml").read_text().replace("key: cart-", "key: other-", 1)
    )
    other = tmp_path / "other.yml"
    other.write_text(re.sub("(?m)^start: .*", f"start: {began}", text))
    others = pull_deliveries(workspace, Spec.read(other), spec.experiment.deliveries).added
    own = pull_deliveries(workspace, spec, spec.experiment.deliveries).added
    fresh = workspace_of(box, tmp_path / "another", tmp_path)
    assert own > 0
    assert others + own == pull_deliveries(fresh, spec, spec.experiment.deliveries).added


def test_a_large_cohorts_attributes_come_by_one_export_and_are_the_same(box, tmp_path, monkeypatch):
    spec = spec_with(tmp_path)
    one_by_one = workspace_of(box, tmp_path / "a", tmp_path)
    assign(one_by_one, spec)
    before = len(box.requests)
    monkeypatch.setattr("toolkit.steps.assign.EXPORT_FROM", 10)
    at_once = workspace_of(box, tmp_path / "b", tmp_path)
    assign(at_once, spec)
    paths = [each.path for each in box.requests[before:]]
    assert "/v1/exports/customers" in paths
    assert "/v1/customers/attributes" not in paths
    columns = ["id", "attributes"]
    both = [sorted(map(str, each.lake.read("people", columns).to_pylist())) for each in (one_by_one, at_once)]
    assert both[0] == both[1]
    assert len(both[0]) > 20
    assert bulk_attributes.EXPORT_FROM > 1000


def test_an_event_asked_for_later_is_looked_for_in_files_taken_before(folder):
    write(folder, "jsonl")
    assert pulled(folder).added == 2
    folder.path.write_text(
        TRACKS.replace("event: Order Completed, role: primary", "event: Page Viewed, role: primary")
    )
    assert pulled(folder).added == 1
    assert pulled(folder).files.files == 0
    folder.assign({"c1": "treatment", "c2": "holdout"})
    assert measure(folder.workspace(), folder.spec).lifts[0].converters == {"treatment": 1, "holdout": 0}


@pytest.mark.parametrize("value", ["shipping", "totals.shipping", "net/gross"])
def test_a_number_stands_under_its_name_or_deeper(folder, value):
    more = {"shipping": 4, "totals": {"shipping": 4}, "net/gross": 4}
    rows = [track(n, f"c{n}", 2, 10) for n in (1, 2)]
    for row in rows:
        row["properties"] |= more
    write(folder, "jsonl", rows)
    folder.path.write_text(TRACKS.replace("value: amount", f"value: {value}"))
    pulled(folder)
    folder.assign({"c1": "treatment", "c2": "holdout", "c3": "treatment", "c4": "holdout"})
    assert measure(folder.workspace(), folder.spec).lifts[1].means == {"treatment": 2.0, "holdout": 2.0}


def test_a_number_that_no_event_carries_is_refused_and_not_zero(folder):
    write(folder, "jsonl")
    folder.path.write_text(TRACKS.replace("value: amount", "value: shiping"))
    pulled(folder)
    folder.assign({"c1": "treatment", "c2": "holdout"})
    with pytest.raises(SpecError, match="has a number as `shiping`"):
        measure(folder.workspace(), folder.spec)


def test_a_file_of_events_is_kept_as_it_is_measured(tmp_path):
    case = OnFiles(
        tmp_path, FILES.replace("events: {source: files}", "events: {source: files, refund: {amount: back}}")
    )
    refund = case.events.head(1).assign(name="Order Refunded", event_id="r", amount=None, back=4.0)
    case.events = pd.concat([case.events.assign(back=None), refund])
    case.events.loc[case.events.index[:10], "event_id"] = ""
    path = case.write()
    lake = Lake(str(tmp_path / "lake"))
    done = pull(Workspace(Settings(lift_home=lake.home), lake), Spec.read(path))
    assert done.added == 28
    assert [str(row["amount"]) for row in lake.records("events") if row["name"] == "Order Refunded"] == [
        "4.0000"
    ]


def test_two_pulls_at_once_keep_every_event_once(folder):
    write(folder, "jsonl")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: pulled(folder).added, range(2)))
    assert sorted(done) == [0, 2]
    assert len(folder.kept("events", "event_id")) == 2


def test_a_damaged_file_of_the_lake_is_not_laid_to_a_file_that_comes(folder):
    write(folder, "jsonl")
    pulled(folder)
    (path,) = folder.lake.files("events")
    Path(path).write_bytes(Path(path).read_bytes()[:-100])
    write(folder, "jsonl", [track(9, "c1", 3, 5)], "new")
    with pytest.raises(StorageError, match="the lake cannot be read"):
        pulled(folder)


def test_a_damaged_file_that_comes_is_not_laid_to_the_lake_that_its_folder_stands_in(folder):
    write(folder, "jsonl")
    lake = Lake(str(folder.root))
    (folder.root / "tracks" / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"bad\.parquet: .* and everything else"):
        pull(Workspace(folder.workspace().settings, lake), folder.spec)
    assert len(lake.read("events")) == 2
