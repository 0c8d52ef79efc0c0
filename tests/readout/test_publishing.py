"""From records to files: the notebook's pipeline, and the index of all experiments."""

from __future__ import annotations

import json
import re

import nbformat
import pytest

from tests.readout.pages import Nodes, changed, page, site
from tests.readout.screenshots import IMAGES
from tests.readout.stories import STORIES
from toolkit.errors import DataError, ToolkitError
from toolkit.readout import Readout, render
from toolkit.readout.index import write_index
from toolkit.readout.render import NOTEBOOK, publish


def put(folder, record, experiment, on):
    place = folder / experiment / on
    place.mkdir(parents=True)
    (place / "readout.json").write_text(json.dumps(changed(record, as_of=on)))


def test_a_failed_cell_publishes_nothing_and_leaves_the_last_page_alone(record, tmp_path):
    target = site(tmp_path, [record]).parent / "on-files" / "2026-01-22" / "index.html"
    before = target.read_text()
    broken = nbformat.read(NOTEBOOK, as_version=4)
    broken.cells = [*broken.cells[:4], nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(broken, tmp_path / "broken.ipynb")
    with pytest.raises(ToolkitError, match="ZeroDivisionError") as failed:
        publish(record, tmp_path, notebook=tmp_path / "broken.ipynb")
    assert target.read_text() == before
    assert (tmp_path / "on-files" / "2026-01-22.failed" / "readout.ipynb").exists()
    assert "2026-01-22.failed" in str(failed.value)


def test_what_killed_runs_left_is_put_in_order_by_the_next_and_what_is_in_the_making_is_not_touched(
    record, tmp_path
):
    home = publish(record, tmp_path).parents[1]
    (home / "2026-01-22").rename(home / ".2026-01-22.old.4711")
    for name in (".2026-01-15.x1y2z3ab", ".2026-01-29.old.4711", "2026-01-29", "2026-01-29.failed", ".notes"):
        (home / name).mkdir()
    before = {each.name for each in home.iterdir()}
    with render._at_work(home):
        (home / ".2026-02-05.in-the-making").mkdir()
        with render._at_work(home):
            assert (home / ".2026-02-05.in-the-making").exists()
    assert {each.name for each in home.iterdir()} - before == {"2026-01-22", ".2026-02-05.in-the-making"}
    publish(record, tmp_path)
    assert {each.name for each in home.iterdir()} == {
        "2026-01-22",
        "2026-01-29",
        "2026-01-29.failed",
        ".notes",
    }
    assert (home / "2026-01-22" / "index.html").exists()


def test_the_same_record_gives_the_same_bytes_in_any_folder(record, tmp_path):
    first, second = publish(record, tmp_path / "a"), publish(record, tmp_path / "{b}")
    for name in ("readout.json", "readout.csv", "readout.ipynb", "index.html"):
        assert (first.parent / name).read_bytes() == (second.parent / name).read_bytes()
    sections = re.findall(r'<(?:section id|header class)="([\w-]+)', first.read_text())
    assert sections == re.findall(r'<(?:section id|header class)="([\w-]+)', page(record))
    assert first.read_text().count("<style>") == 1
    assert str(tmp_path) not in (first.parent / "readout.ipynb").read_text()


def test_the_notebook_shows_every_section_in_the_pages_order(stories):
    cells = [each.source for each in nbformat.read(NOTEBOOK, as_version=4).cells[3:]]
    made = [
        getattr(Readout(stories["win"]), cell.removeprefix("readout.").removesuffix("()"))() for cell in cells
    ]
    assert [each.key for each in made if each.html] == [
        each.key for each in Readout(stories["win"]).sections()
    ]


@pytest.mark.parametrize("given", [{"recrod": "readout.json"}, {"record": 7}])
def test_parameters_are_refused_before_a_kernel_starts(record, tmp_path, given):
    with pytest.raises(ToolkitError, match="parameter"):
        publish(record, tmp_path, parameters=given)
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize("more", [{"experiment": "../out"}, {"as_of": "../../out"}])
def test_a_record_cannot_lead_out_of_the_reports_folder(record, tmp_path, more):
    with pytest.raises(DataError, match="an experiment's key"):
        publish(changed(record, **more), tmp_path / "reports")
    assert not (tmp_path / "out").exists()


def test_the_index_lists_every_experiment_every_week_and_what_failed(record, tmp_path):
    for name, on in (("on-files", "2026-01-15"), ("on-files", "2026-01-22"), ("other", "2026-01-22")):
        put(tmp_path, record, name, on)
    (tmp_path / "bad" / "2026-01-22").mkdir(parents=True)
    (tmp_path / "bad" / "2026-01-22" / "readout.json").write_text("{")
    (tmp_path / "on-files" / "2026-01-22.failed").mkdir()
    shown = write_index(tmp_path, {"third": "<b>no</b> network"}).read_text()
    assert shown.count("<article") == 2
    assert "on-files/2026-01-15/readout.json" in shown
    assert "bad, 2026-01-22" in shown
    assert "&lt;b&gt;no&lt;/b&gt; network" in shown


def test_the_index_links_the_page_the_json_and_the_csv_of_a_week(stories, tmp_path):
    shown = site(tmp_path, stories.values()).read_text()
    links = {value for name, value in Nodes(shown).attributes if name == "href"}
    for record in stories.values():
        place = f"{record['experiment']}/{record['as_of']}"
        assert {f"{place}/{name}" for name in ("index.html", "readout.json", "readout.csv")} <= links
    assert all((tmp_path / each).is_file() for each in links)


def test_the_index_shows_each_arms_trend_and_no_number_that_is_not_to_be_trusted(stories, tmp_path):
    record = stories["win"]
    for name in ("arms", "lifts", "history"):
        record[name] += [each | {"arm": "ten_percent"} for each in record[name] if each["arm"] != "holdout"]
    shown = site(tmp_path / "trusted", [record]).read_text()
    for arm in ("free shipping", "ten percent"):
        assert f'aria-label="purchase rate, {arm}: +' in shown
    for lift in record["lifts"]:
        lift["trusted"] = False
    shown = site(tmp_path / "not", [record]).read_text()
    for arm in ("free shipping", "ten percent"):
        assert f">purchase rate, {arm}: not to be trusted<" in shown
    assert (
        "<svg class" not in shown.split('class="spark-lines"')[1].split("</article>")[0].split("<details")[0]
    )


def test_a_week_without_a_page_begins_with_its_day_too(record, tmp_path):
    put(tmp_path, record, "on-files", "2026-01-15")
    week = write_index(tmp_path).read_text().split('<ul class="weeks">')[1]
    assert week.index("15 Jan 2026") < week.index("JSON")


def test_the_universal_holdouts_own_experiment_stands_on_top_and_nothing_is_summed(stories, tmp_path):
    total = changed(stories["win"], experiment="always-on-2026h2")
    total["design"] |= {"name": "Everything against the universal holdout"}
    others = [stories["provisional"], stories["inconclusive"]]
    for each in others:
        each["design"]["universal"] = "always-on-2026h2"
    shown = site(tmp_path, [total, *others]).read_text()
    assert shown.index("What did all of them bring?") < shown.index("<article")
    assert shown.count("<article") == 2
    assert "never added to another" in shown
    alone = site(tmp_path / "without", others).read_text()
    assert "What did all of them bring?" not in alone


def test_a_simulated_experiment_among_real_ones_is_marked_alone(stories, tmp_path):
    simulated, real = stories["win"], stories["provisional"]
    simulated["provenance"]["simulated"] = True
    shown = site(tmp_path, [simulated, real]).read_text()
    assert shown.count(">simulated</span>") == 1
    assert "Simulated: made-up" not in shown
    assert "Simulated: made-up" in page(simulated)
    assert "Simulated: made-up" not in page(real)


def test_one_odd_record_does_not_stop_the_index(record, tmp_path):
    put(tmp_path, record, "good", "2026-01-22")
    put(tmp_path, changed(record, verdict={"status": "splendid", "text": ""}), "odd", "2026-01-22")
    put(tmp_path, changed(record, arms=[{}]), "odder", "2026-01-22")
    shown = write_index(tmp_path).read_text()
    assert shown.count("<article") == 1
    assert "odd, 2026-01-22" in shown
    assert "odder, 2026-01-22" in shown


def test_a_folder_that_is_no_experiments_is_left_alone(record, tmp_path):
    put(tmp_path, record, "javascript:alert(1)", "2026-01-22")
    assert "<article" not in write_index(tmp_path).read_text()


def test_a_look_that_is_not_to_be_trusted_is_not_in_the_sparkline(record, tmp_path):
    for look in record["history"]:
        look["trusted"] = False
    put(tmp_path, record, "on-files", "2026-01-22")
    assert 'class="spark"' not in write_index(tmp_path).read_text()


def test_the_documentations_pictures_show_every_state_and_are_small():
    for state in STORIES:
        assert 20_000 < (IMAGES / f"{state}.png").stat().st_size < 200_000


def test_an_index_of_nothing_says_how_to_begin(tmp_path):
    assert "No readout has been published yet." in write_index(tmp_path).read_text()
