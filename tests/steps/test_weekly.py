"""The weekly job: reruns say the same, rebuilds say what was said, and a digest says what has changed, once."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date, timedelta

import pandas as pd
import pytest

from tests.example import FILES, OnFiles
from tests.steps.pulled_world import AS_OF, END, Pulled, columns
from toolkit.errors import DataError, NotEnoughData, SpecError
from toolkit.lake.tables import Lake
from toolkit.readout.digest import Entry, changes_of, digest_of
from toolkit.settings import Settings
from toolkit.show.published import outcomes_text
from toolkit.steps import readout as step
from toolkit.steps import weekly as weeks
from toolkit.steps.weekly import weekly, write_digest
from toolkit.steps.workspace import Spec, Workspace

FIRST, SECOND = date(2026, 1, 14), date(2026, 1, 21)


@pytest.fixture
def published(monkeypatch):
    """Publish records as JSON alone: what a page looks like is asked elsewhere."""

    def publish(record, reports, **_):
        place = reports / record["experiment"] / record["as_of"]
        place.mkdir(parents=True, exist_ok=True)
        (place / "readout.json").write_text(json.dumps(record))
        return place / "index.html"

    monkeypatch.setattr(step, "publish", publish)


@pytest.fixture
def case(tmp_path):
    folder = tmp_path / "experiments"
    folder.mkdir()
    return OnFiles(folder, FILES)


def workspace_of(case):
    home = case.folder.parent
    settings = Settings(lift_home=str(home / "lake"), lift_reports=home / "reports")
    return Workspace(settings, Lake(settings.lift_home))


def run(case, as_of, **named):
    case.write()
    (outcome,) = weekly(workspace_of(case), case.folder, as_of=as_of, **named)
    return outcome


def kept_bytes(case, as_of):
    return (case.folder.parent / "reports" / "on-files" / f"{as_of}" / "readout.json").read_bytes()


def twice_delivered(case):
    """Let so many orders stand there twice that the check of duplicate orders fails."""
    case.events = pd.concat([case.events, case.events.assign(event_id=case.events["event_id"] + "b")])


def test_a_rerun_of_a_past_date_gives_the_same_bytes(case, published):
    run(case, FIRST)
    before = kept_bytes(case, FIRST)
    run(case, SECOND)
    run(case, FIRST)
    assert kept_bytes(case, FIRST) == before


def test_a_rebuild_gives_what_was_said_whatever_has_come_since(tmp_path, published):
    world = Pulled(tmp_path, every=1, late=0.3)
    spec = Spec.read(world.path)
    said, _ = step.readout(world.workspace(), spec, as_of=AS_OF)
    world.lake.append(
        "events",
        columns(
            "events",
            event_id=["late"],
            id=["c0"],
            name=["Order Completed"],
            timestamp=[END - timedelta(days=3)],
            amount=[500],
            currency=["USD"],
            order_id=["late"],
            source=["customerio:id"],
            received_at=[END + timedelta(days=1)],
        ),
    )
    again, _ = step.readout(world.workspace(), spec, as_of=AS_OF, rebuild=True)
    fresh, _ = step.readout(world.workspace(), spec, as_of=AS_OF)
    assert json.dumps(again) == json.dumps(said)
    assert fresh["lifts"] != said["lifts"]


def test_a_rebuild_refuses_what_it_cannot_find_again(case, published):
    with pytest.raises(NotEnoughData, match="no readout of 2026-01-14 was kept"):
        step.rebuilt(workspace_of(case), Spec.read(case.write()), as_of=FIRST)
    run(case, FIRST)
    case.events["amount"] += 1
    with pytest.raises(
        DataError, match=r"was .* and is .* has a file that it reads changed.* version of lift"
    ):
        step.rebuilt(workspace_of(case), Spec.read(case.write()), as_of=FIRST)
    case.spec += "name: Another\n"
    with pytest.raises(SpecError, match="has changed since the readout of 2026-01-14"):
        step.rebuilt(workspace_of(case), Spec.read(case.write()), as_of=FIRST)


def test_a_readout_of_before_a_field_was_added_is_rebuilt_all_the_same(case, published):
    said = run(case, FIRST).record
    older = {name: value for name, value in said.items() if name != "reach"}
    step.keep(workspace_of(case), older)
    assert step.rebuilt(workspace_of(case), Spec.read(case.write()), as_of=FIRST) == older


def test_a_check_that_turns_red_is_told_once_and_so_is_its_return_to_green(case, published):
    good = case.events
    first = run(case, FIRST)
    assert changes_of(first.record, first.before) == ()
    twice_delivered(case)
    red = run(case, SECOND)
    assert red.exit_status == 1
    told = changes_of(red.record, red.before)
    assert any("has failed" in each for each in told)
    assert len(told) == 1
    still = run(case, SECOND)
    assert changes_of(still.record, still.before) == ()
    case.events = good
    green = run(case, SECOND)
    assert any("no longer red" in each for each in changes_of(green.record, green.before))


def test_a_verdict_that_changed_is_told_once(case, published):
    record = run(case, FIRST).record
    before = record | {"verdict": {"status": "incremental", "text": ""}}
    assert changes_of(record, before) == ("the verdict was gain and is not readable",)
    assert changes_of(record, record) == ()


def test_the_digest_names_what_changed_first_and_links_every_page(case, published, tmp_path):
    run(case, FIRST)
    twice_delivered(case)
    outcome = run(case, SECOND)
    target = tmp_path / "digest.md"
    write_digest([outcome], target, workspace_of(case).reports, base="https://reports.example.com/lift/")
    said = target.read_text()
    assert said.index("## Needs a look") < said.index("## Where they stand")
    assert "](https://reports.example.com/lift/on-files/2026-01-21/index.html)" in said
    assert len(said) < 2000
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".digest")] == []


def test_an_experiment_that_fails_is_told_in_the_digest_and_stops_no_other(case, published):
    (case.folder / "broken.yml").write_text("key: broken\n")
    case.write()
    outcomes = weekly(workspace_of(case), case.folder, as_of=FIRST)
    assert [bool(each.record) for each in outcomes] == [False, True]
    target = case.folder.parent / "digest.md"
    write_digest(outcomes, target, workspace_of(case).reports)
    said = target.read_text()
    assert "**broken**" in said
    assert max(each.exit_status for each in outcomes) == 2


def test_a_first_digest_compares_with_no_week_before_and_a_verdict_is_named_once(case, published):
    record = run(case, FIRST).record
    record["verdict"] = {"status": "provisional", "text": "Provisional: enrolment ends soon."}
    first, later = (Entry("x.yml", record, before, "x/index.html", None) for before in (None, record))
    assert "\nNothing needs a look.\n" in digest_of([first], as_of="2026-01-14")
    assert "Nothing needs a look that did not last week." in digest_of([later], as_of="2026-01-14")
    line = outcomes_text([weeks.Outcome("x.yml", None, record, None, None, 0)], "reports").splitlines()[0]
    assert line == "x.yml: provisional: enrolment ends soon."


@pytest.mark.parametrize(
    "name",
    ["<b>x</b>", "[a](http://evil.example)", "@channel", "*x*", "`x`", "a\n# b", "<!channel>", "| a |"],
)
def test_a_hostile_name_is_nothing_but_text_in_the_digest(case, published, name):
    record = run(case, FIRST).record
    record["design"]["name"] = name
    record["verdict"]["text"] = name
    said = digest_of([Entry("x.yml", record, None, "x/index.html", None)], as_of="2026-01-14")
    links = re.findall(r"(?<!\\)\]\(([^)]*)\)", said)
    assert set(links) == {"x/index.html", "index.html"}
    assert not re.search(r"(?<!\\)[<@`]", said)
    assert len([line for line in said.splitlines() if line.startswith("#")]) == 2


def test_a_digest_reads_as_written_where_markdown_finds_nothing_in_it(case, published):
    record = run(case, FIRST).record
    text = "Provisional: enrolment ends (soon). It moved purchase_rate by +1.2 to +3.4 points! Up 5%, net_of_a {x}"
    record["verdict"] = {"status": "provisional", "text": text}
    said = digest_of([Entry("x.yml", record, None, "x/index.html", None)], as_of="2026-01-14")
    assert f": {text.replace('purchase_rate', 'purchase rate')}\n" in said
    record["verdict"]["text"] = (
        "_so_ 2*3 ~ www.evil.example https://evil.example :smile: #general &lt; ||no||"
    )
    said = digest_of([Entry("x.yml", record, None, "x/index.html", None)], as_of="2026-01-14")
    told = r"\_so\_ 2\*3 \~ www\.evil.example https\://evil.example \:smile: \#general \&lt; \||no\||"
    assert f": provisional. {told}\n" in said


def test_a_digest_marks_what_is_simulated(case, published):
    record = run(case, FIRST).record
    made_up = record | {"provenance": record["provenance"] | {"simulated": True}}
    real, simulated = (Entry(name, each, None, None, None) for name, each in (("a", record), ("b", made_up)))
    said = digest_of([real, simulated], as_of="2026-01-14")
    assert (said.count("(simulated)"), "made-up shoppers" in said) == (1, False)
    assert "**Simulated: made-up shoppers and vendors**" in digest_of([simulated], as_of="2026-01-14")
    assert "imulated" not in digest_of([real], as_of="2026-01-14")


def test_a_digest_that_cannot_be_written_leaves_nothing_behind(case, published, tmp_path):
    outcome = run(case, FIRST)
    with pytest.raises(Exception, match="cannot be written"):
        write_digest([outcome], tmp_path / "nowhere" / "digest.md", workspace_of(case).reports)
    shutil.rmtree(case.folder)


def test_a_fault_in_one_experiment_takes_no_others_page(case, published, monkeypatch, capsys):
    case.write()
    (case.folder / "broken.yml").write_text(case.spec.replace("on-files", "broken"))
    plain = weeks.readout

    def faulty(workspace, spec, **named):
        if spec.experiment.key == "broken":
            raise TypeError("unhashable")
        return plain(workspace, spec, **named)

    monkeypatch.setattr(weeks, "readout", faulty)
    broken, sound = weekly(workspace_of(case), case.folder, as_of=FIRST)
    assert (sound.error, sound.record["experiment"]) == (None, "on-files")
    assert (broken.exit_status, broken.page) == (3, None)
    assert broken.error.startswith("a fault of lift itself: TypeError: unhashable")
    assert "Traceback" in capsys.readouterr().err


def test_a_rebuild_reads_nothing_of_a_table_that_came_later(tmp_path, published):
    world = Pulled(tmp_path, every=1)
    workspace, spec = world.workspace(), Spec.read(world.path)
    before, _ = step.readout(workspace, spec, as_of=AS_OF)
    world.lake.append("deliveries", columns("deliveries", id=["c0"], metric=["sent"], delivery_id=["d"]))
    again, _ = step.readout(workspace, spec, as_of=AS_OF, rebuild=True)
    assert again == before


def test_an_experiment_that_has_yet_to_begin_is_told_and_fails_nothing(case, tmp_path):
    case.assignments = None
    outcome = run(case, date(2025, 12, 31))
    assert (outcome.page, outcome.exit_status) == (None, 0)
    said = "enrolment starts on 2026-01-01"
    assert said in outcome.error
    assert "Failed this time" not in (tmp_path / "reports" / "index.html").read_text()
    assert "failed" not in outcomes_text([outcome], tmp_path / "reports")
    write_digest([outcome], tmp_path / "digest.md", tmp_path / "reports")
    assert "Nothing needs a look" in (tmp_path / "digest.md").read_text()
