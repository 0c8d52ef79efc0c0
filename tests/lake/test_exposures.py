"""Who was served the offer: by the real SDK through the hook, and by files of LaunchDarkly's Data Export."""

from __future__ import annotations

import json
import os
import threading
import time

import pandas as pd
import pytest
from ldclient import Config, Context, LDClient
from ldclient.integrations.test_data import TestData

from tests.lake.syncing import SPEC, Folder, later
from toolkit.errors import DataError, SpecError
from toolkit.exposure_hook import ExposureHook
from toolkit.steps.measure import measure
from toolkit.steps.pull import pull
from toolkit.steps.workspace import Spec

ARMS = {f"c{n}": "holdout" if n % 2 else "treatment" for n in range(40)}
WITH = SPEC.replace(
    "deliveries: {campaigns: [31], source: warehouse, path: sync}", "exposures: {path: spool}"
)
ENUM = WITH.replace("{name: offer, type: boolean, arms: [treatment], flag: banner}",
    "{name: offer, type: enum, values: {treatment: ten, more: twenty}, default: none, flag: banner}").replace(
    "treatment: 0.5}", "treatment: 0.25, more: 0.25}")  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path, WITH)
    made.people(1, *((f"p{n}", f"c{n}", 0) for n in range(40)))
    made.orders(1, ("e1", "p2", 2, "49.90"), ("e2", "p3", 3, "12.5"))
    made.assign(ARMS)
    (tmp_path / "spool").mkdir()
    return made


def sdk(hook, **served):
    """Return the real SDK, offline, whose flag `banner` is true for the customers named."""
    source = TestData.data_source()
    flag = source.flag("banner").boolean_flag().fallthrough_variation(False)
    for key in served.get("to", ()):
        flag = flag.variation_for_key("user", key, True)
    source.update(flag)
    return LDClient(Config("sdk-test", update_processor_class=source, send_events=False, hooks=[hook]))


def check(folder, name="holdout_delivered"):
    return next(each for each in measure(folder.workspace(), folder.spec).checks if each.name == name)


def spooled(folder):
    return [
        json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()
    ]


# ---- the hook, in the real SDK -------------------------------------------------------------------


def test_what_the_sdk_served_comes_into_the_lake_and_the_check(folder):
    hook = ExposureHook(folder.root / "spool", clock=later(5).timestamp)
    client = sdk(hook, to=["c0", "c1"])
    for n in range(20):
        client.variation("banner", Context.create(f"c{n}"), False)
    hook.close()
    client.close()
    assert pull(folder.workspace(), folder.spec).exposures.kept.added == 2
    assert folder.kept("exposures", "id", "kind", "value") == [
        ("c0", "flag:banner", "true"),
        ("c1", "flag:banner", "true"),
    ]
    said = check(folder)
    assert said.status == "fail"
    assert said.detail.endswith("whom messages reached is not known; 1 was served the offer")
    assert pull(folder.workspace(), folder.spec).exposures.files == 0


def test_a_holdout_that_was_served_the_control_only_passes(folder):
    hook = ExposureHook(folder.root / "spool", clock=later(5).timestamp)
    client = sdk(hook, to=[f"c{n}" for n in range(0, 24, 2)])
    for n in range(40):
        client.variation("banner", Context.create(f"c{n}"), False)
    hook.close()
    pull(folder.workspace(), folder.spec)
    assert check(folder).status == "pass"
    assert measure(folder.workspace(), folder.spec).lifts[0].exposed.exposed_share == pytest.approx(0.6)


def test_an_evaluation_is_written_once_an_hour_and_variation(tmp_path):
    now = [3600.0 * 1000]
    hook = ExposureHook(tmp_path, clock=lambda: now[0])
    client = sdk(hook, to=["c0"])
    for at in (0, 10, 3500, 3600, 3700):
        now[0] = 3600.0 * 1000 + at
        client.variation("banner", Context.create("c0"), False)
        client.variation("banner", Context.create("c1"), False)
    hook.close()
    found = [
        (row["context_key"], row["variation_value"], row["timestamp"][11:16]) for row in spooled(tmp_path)
    ]
    assert sorted(found) == [
        ("c0", "true", "16:00"),
        ("c0", "true", "17:00"),
        ("c1", "false", "16:00"),
        ("c1", "false", "17:00"),
    ]


def test_of_a_context_only_kind_and_key_are_written_and_no_address(tmp_path):
    hook = ExposureHook(tmp_path)
    client = sdk(hook)
    person = Context.builder("c0").name("Jane").set("email", "jane@x.example").build()
    several = Context.create_multi(Context.create("o1", "org"), Context.create("c9"))
    for context in (
        person,
        several,
        Context.create("jane@x.example"),
        Context.builder("anon").anonymous(True).build(),
    ):
        client.variation("banner", context, False)
    hook.close()
    said = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "jane" not in said.lower()
    assert "anon" not in said
    assert {(row["context_kind"], row["context_key"]) for row in spooled(tmp_path)} == {
        ("user", "c0"),
        ("user", "c9"),
        ("org", "o1"),
    }


def test_flags_that_are_not_asked_for_are_not_noted(tmp_path):
    hook = ExposureHook(tmp_path, flags={"other"})
    sdk(hook).variation("banner", Context.create("c0"), False)
    hook.close()
    assert list(tmp_path.iterdir()) == []


def test_when_full_it_drops_and_counts_and_the_application_goes_on(tmp_path):
    hook = ExposureHook(tmp_path, most=10, every=60)
    client = sdk(hook, to=["c3"])
    served = [client.variation("banner", Context.create(f"c{n}"), False) for n in range(25)]
    assert served.count(True) == 1
    hook.close()
    assert (len(spooled(tmp_path)), hook.dropped) == (10, 15)


def test_a_spool_that_cannot_be_written_raises_nothing_and_is_tried_again(tmp_path):
    (tmp_path / "file").write_text("in the way")
    hook = ExposureHook(tmp_path / "file", every=60)
    client = sdk(hook)
    assert client.variation("banner", Context.create("c0"), True) is False
    assert hook.flush() is False
    assert hook.dropped == 0
    (tmp_path / "file").unlink()
    assert hook.flush() is True
    assert len(spooled(tmp_path / "file")) == 1
    hook.close()
    assert hook.dropped == 0


def test_a_callable_that_fails_costs_rows_and_nothing_else():
    def refuse(rows):
        raise RuntimeError("no")

    hook = ExposureHook(refuse, every=60)
    assert sdk(hook).variation("banner", Context.create("c0"), True) is False
    hook.close()
    assert hook.dropped == 1


def test_the_application_does_not_wait_for_a_slow_disk():
    slow = threading.Event()
    hook = ExposureHook(lambda _: slow.wait(20), every=0.01)
    client = sdk(hook)
    client.variation("banner", Context.create("first"), False)
    time.sleep(0.1)  # the thread is stuck in handing over now
    began = time.perf_counter()
    for n in range(1000):
        client.variation("banner", Context.create(f"c{n}"), False)
    took = time.perf_counter() - began
    slow.set()
    hook.close()
    assert took < 5


def test_many_threads_lose_nothing(tmp_path):
    hook = ExposureHook(tmp_path, every=0.01)
    client = sdk(hook)

    def visit(part):
        for n in range(300):
            client.variation("banner", Context.create(f"c{part}-{n}"), False)

    threads = [threading.Thread(target=visit, args=(part,)) for part in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    hook.close()
    keys = [row["context_key"] for row in spooled(tmp_path)]
    assert len(keys) == len(set(keys)) == 2400
    assert hook.dropped == 0


def test_what_is_noted_while_the_last_batch_is_handed_over_is_not_lost():
    written, busy, go = [], threading.Event(), threading.Event()

    def slow(rows):
        written.extend(row["context_key"] for row in rows)
        busy.set()
        go.wait(20)

    hook = ExposureHook(slow, every=0.01)
    client = sdk(hook)
    client.variation("banner", Context.create("first"), False)
    assert busy.wait(20)
    client.variation("banner", Context.create("second"), False)
    closing = threading.Thread(target=hook.close)
    closing.start()
    while not hook._closed:
        time.sleep(0.001)
    go.set()
    closing.join()
    assert (written, hook.dropped) == (["first", "second"], 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_of_a_fork_writes_its_own_and_not_its_parents(tmp_path):
    import subprocess
    import sys

    code = (
        "import os, sys\n"
        "from ldclient.context import Context\nfrom ldclient.evaluation import EvaluationDetail\n"
        "from ldclient.hook import EvaluationSeriesContext\nfrom toolkit.exposure_hook import ExposureHook\n"
        "hook = ExposureHook(sys.argv[1], every=60)\n"
        "def note(key):\n"
        "    asked = EvaluationSeriesContext('banner', Context.create(key), False, 'variation')\n"
        "    hook.after_evaluation(asked, {}, EvaluationDetail(True, 0, None))\n"
        "note('parent')\n"
        "child = os.fork()\n"
        "if child == 0:\n    note('child'); hook.close(); os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=30)
    assert sorted(row["context_key"] for row in spooled(tmp_path)) == ["child", "parent"]


# ---- Data Export ---------------------------------------------------------------------------------


def export(**more):
    return pd.DataFrame(
        {
            "event_id": ["1", "2", "3", "4", "5"],
            "flag_key": ["banner", "banner", "banner", "other", "banner"],
            "context_key": ["c0", "c1", "c3", "c5", "c7"],
            "context_kind": ["user", "user", "user", "user", "org"],
            "variation_id": "x",
            "variation_value": ["true", "false", "true", "true", "true"],
            "reason_kind": "RULE_MATCH",
            "received_time": later(5),
        }
        | more
    )


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_the_data_export_is_read_in_every_form(folder, form):
    path = folder.root / "spool" / f"evaluation_events.{form}"
    if form == "csv":
        export().to_csv(path, index=False)
    elif form == "parquet":
        export().to_parquet(path)
    else:
        export(received_time=int(later(5).timestamp() * 1000)).to_json(path, orient="records", lines=True)
    done = pull(folder.workspace(), folder.spec).exposures
    assert (done.kept.seen, done.kept.added) == (3, 2)
    assert folder.kept("exposures", "id", "timestamp") == [("c0", later(5)), ("c3", later(5))]


def test_values_in_quotes_of_json_and_without_are_the_same(folder):
    folder.path.write_text(ENUM)
    export(variation_value=['"ten"', "ten", '"none"', "ten", "ten"]).to_parquet(
        folder.root / "spool" / "a.parquet"
    )
    pull(folder.workspace(), folder.spec)
    assert folder.kept("exposures", "id", "value") == [("c0", "ten"), ("c1", "ten")]


def test_a_customer_served_what_another_arm_should_be_is_a_crossover(folder):
    folder.path.write_text(ENUM)
    export(variation_value=["twenty", "none", "none", "ten", "ten"]).to_parquet(
        folder.root / "spool" / "a.parquet"
    )
    pull(folder.workspace(), folder.spec)
    said = check(folder, "crossover")
    assert said.status == "fail"  # 1 of 40 is more than 0.5 %
    assert (
        said.detail
        == "1 of 40 customers (2.50%) were served what only another arm should be; they count in their own"
    )


def test_other_values_may_be_named_as_the_controls(folder):
    folder.path.write_text(WITH.replace("{path: spool}", "{path: spool, control: ['off', plain]}"))
    export(variation_value=["shown", "off", "plain", "x", "x"]).to_parquet(
        folder.root / "spool" / "a.parquet"
    )
    pull(folder.workspace(), folder.spec)
    assert folder.kept("exposures", "id", "value") == [("c0", "shown")]


def test_the_same_hour_told_by_two_files_is_one_exposure(folder):
    export().to_parquet(folder.root / "spool" / "a.parquet")
    pull(folder.workspace(), folder.spec)
    export(received_time=later(5.5)).to_csv(folder.root / "spool" / "b.csv", index=False)
    assert pull(folder.workspace(), folder.spec).exposures.kept.added == 0
    export(received_time=later(6.5)).to_csv(folder.root / "spool" / "c.csv", index=False)
    assert pull(folder.workspace(), folder.spec).exposures.kept.added == 2


def test_a_file_being_written_is_left_alone_and_a_damaged_one_is_named(folder):
    (folder.root / "spool" / ".exposures-x.jsonl").write_text('{"flag_key": "ban')
    export().to_parquet(folder.root / "spool" / "a.parquet")
    (folder.root / "spool" / "b.jsonl").write_text('{"flag_key": "ban')
    with pytest.raises(DataError, match=r"b\.jsonl: cannot be read"):
        pull(folder.workspace(), folder.spec)
    assert len(folder.kept("exposures", "id")) == 2


def test_a_file_of_something_else_is_named_with_what_it_must_be(folder):
    (folder.root / "spool" / "b.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"b\.csv: no column for the flag.*Data Export"):
        pull(folder.workspace(), folder.spec)


def test_exposures_without_a_trait_that_names_its_flag_are_refused(folder):
    folder.path.write_text(WITH.replace(", flag: banner", ""))
    with pytest.raises(SpecError, match="no trait names its `flag`"):
        Spec.read(folder.path)
