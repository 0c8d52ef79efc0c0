"""What a stakeholder's page shows, and what it must never show."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from tests.example import FILES, OnFiles
from toolkit.errors import DataError, ToolkitError
from toolkit.lake.tables import Lake
from toolkit.readout import Readout
from toolkit.readout.index import write_index
from toolkit.readout.record import record_of
from toolkit.readout.render import NOTEBOOK, page_of, publish
from toolkit.settings import Settings
from toolkit.steps.measure import measure
from toolkit.steps.workspace import Spec, Workspace

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</title></svg><script src=//evil.example></script>",
    "<a href=javascript:alert(1)>x</a>",
    "{{ 7*7 }}<iframe src=https://evil.example>",
    "]]><svg onload=alert(1)>",
]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("case")
    case = OnFiles(folder, FILES + "analysis: {breakdowns: [tier]}\n")
    case.people["tier"] = ["a", "a", "b", "b"] * 20
    path = case.write()
    spec = Spec.read(path)
    home = str(folder / "lake")
    from datetime import date

    found = measure(Workspace(Settings(lift_home=home), Lake(home)), spec, as_of=date(2026, 1, 22))
    made = record_of(spec.experiment, found, spec_digest=spec.digest)
    look = {
        "metric": "purchase_rate",
        "arm": "treatment",
        "trusted": True,
        "value": 0.01,
        "low": -0.1,
        "high": 0.1,
    }
    return made | {"history": [look | {"as_of": "2026-01-08"}, look | {"as_of": "2026-01-15"}]}


def page(record):
    return page_of([each.html for each in Readout(record).sections()], "Page")


def changed(record, **more):
    return json.loads(json.dumps(record)) | more


class Nodes(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def hostile(value, text):
    """Return the record with `text` in every text that a person could have written."""
    if isinstance(value, dict):
        kept = {"status", "role", "kind", "decision", "as_of", "answer", "harm", "looks", "start", "end"}
        return {key: each if key in kept else hostile(each, text) for key, each in value.items()}
    if isinstance(value, list):
        return [hostile(each, text) for each in value]
    return f"{value}{text}" if isinstance(value, str) else value


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_become_text_and_never_nodes(record, text):
    nodes, plain = Nodes(page(hostile(record, text))), Nodes(page(hostile(record, " plain")))
    assert nodes.tags == plain.tags
    assert not [name for name, _ in nodes.attributes if name.startswith("on")]
    assert not [value for name, value in nodes.attributes if name in {"href", "src"}]


def test_the_page_asks_nothing_of_the_network(record):
    shown = page(record)
    assert "http://" not in shown
    assert "https://" not in shown
    assert "default-src 'none'" in shown
    assert len(shown) < 150_000


def test_charts_are_drawn_and_described(record):
    nodes = Nodes(page(record))
    assert nodes.tags.count("svg") > 10
    labelled = [value for name, value in nodes.attributes if name == "aria-labelledby"]
    known = {value for name, value in nodes.attributes if name == "id"}
    assert labelled
    assert all(each in known for label in labelled for each in label.split())


def test_the_page_says_the_numbers_of_the_record(record):
    shown = page(record)
    assert record["verdict"]["text"].split(".")[0] in shown
    for name in ("Method", "Checks", "Provenance", "Definitions", "Breakdowns", "Lift by week"):
        assert name in shown
    assert record["provenance"]["spec"] in shown


def test_a_failed_check_stands_where_the_numbers_would(record):
    failed = changed(record)
    failed["checks"][0] |= {"status": "fail", "detail": "the arms do not have the sizes planned"}
    failed["verdict"]["status"] = "not_readable"
    shown = page(failed)
    assert "The arms do not have the sizes planned." in shown
    assert "What to do" in shown
    assert "points" not in shown
    assert "Lift, metric by metric" not in shown
    assert "chart wide" in shown  # the arms' sizes are still drawn


def test_an_untrusted_lift_shows_its_reason_instead_of_an_interval(record):
    doubted = changed(record)
    for lift in doubted["lifts"]:
        lift |= {"trusted": False, "notes": ["rests on 3 customers in holdout who did it"]}
    shown = page(doubted)
    assert "rests on 3 customers in holdout" in shown.replace("Rests", "rests")
    assert 'class="span"' not in shown


def test_an_end_without_bound_is_an_arrow(record):
    unbounded = changed(record)
    for lift in unbounded["lifts"]:
        lift["trusted"] = True
        for block in ("raw", "adjusted", "capped"):
            if lift[block]:
                lift[block]["relative"]["high"] = None
    assert 'class="arrow"' in page(unbounded)
    assert "or more" in page(unbounded)


def test_a_record_that_is_not_there_is_told_with_the_mend(tmp_path):
    with pytest.raises(DataError, match=r"no such file; run `lift readout SPEC`"):
        Readout.read(tmp_path / "readout.json")
    (tmp_path / "readout.json").write_text("{")
    with pytest.raises(DataError, match="is no readout record"):
        Readout.read(tmp_path / "readout.json")


def test_a_failed_cell_publishes_nothing_and_leaves_the_last_page_alone(record, tmp_path):
    target = publish(record, tmp_path)
    before = target.read_text()
    broken = nbformat.read(NOTEBOOK, as_version=4)
    broken.cells.append(nbformat.v4.new_code_cell("1 / 0"))
    nbformat.write(broken, tmp_path / "broken.ipynb")
    with pytest.raises(ToolkitError, match="ZeroDivisionError") as failed:
        publish(record, tmp_path, notebook=tmp_path / "broken.ipynb")
    assert target.read_text() == before
    assert (tmp_path / "on-files" / "2026-01-22.failed" / "readout.ipynb").exists()
    assert "2026-01-22.failed" in str(failed.value)
    assert str(tmp_path) not in (target.parent / "readout.ipynb").read_text()


@pytest.mark.parametrize("given", [{"recrod": "readout.json"}, {"record": 7}])
def test_parameters_are_refused_before_a_kernel_starts(record, tmp_path, given):
    with pytest.raises(ToolkitError, match="parameter"):
        publish(record, tmp_path, parameters=given)
    assert not list(tmp_path.glob("*/*"))


def test_the_index_lists_every_experiment_and_what_failed(record, tmp_path):
    for name, on in (("on-files", "2026-01-15"), ("on-files", "2026-01-22"), ("other", "2026-01-22")):
        place = tmp_path / name / on
        place.mkdir(parents=True)
        (place / "readout.json").write_text(json.dumps(changed(record, as_of=on)))
    (tmp_path / "bad" / "2026-01-22").mkdir(parents=True)
    (tmp_path / "bad" / "2026-01-22" / "readout.json").write_text("{")
    (tmp_path / "on-files" / "2026-01-22.failed").mkdir()
    shown = write_index(tmp_path, {"third": "<b>no</b> network"}).read_text()
    assert shown.count("<article") == 2
    assert "on-files/2026-01-15/readout.json" in shown
    assert "bad, 2026-01-22" in shown
    assert "&lt;b&gt;no&lt;/b&gt; network" in shown


def test_metrics_in_different_units_never_share_an_axis(record):
    several = changed(record)
    for lift in several["lifts"]:
        lift["role"] = "primary"
    drawn = re.findall(r'<desc id="primary[^"]*-wide-desc">(.*?)</desc>', page(several))
    assert len(drawn) == len({lift["metric"] for lift in record["lifts"]})


def test_a_harmed_guardrail_stands_on_the_first_screen(record):
    harmed = changed(record)
    for lift in harmed["lifts"]:
        if lift["metric"] == "revenue":
            lift |= {
                "role": "guardrail",
                "harm": "decrease",
                "margin": 0.1,
                "answer": "harm",
                "trusted": True,
            }
    head = str(Readout(harmed).headline().html)
    assert "revenue: difference to" in head
    assert "margin" in head


def test_the_level_is_not_rounded_to_certainty(record):
    assert Readout(changed(record, design=record["design"] | {"alpha": 0.001})).level == "99.9%"


def test_no_trace_of_a_lift_is_left_where_a_check_failed(record):
    failed = changed(record)
    failed["checks"][0] |= {"status": "fail", "detail": "the arms do not have the sizes planned"}
    for lift in failed["lifts"]:
        for way in ("raw", "adjusted", "capped", "capped_adjusted"):
            if lift[way]:
                lift[way]["absolute"] |= {"value": 0.7531, "low": 0.7531, "high": 0.7531}
                lift[way]["relative"] |= {"value": 0.7531, "low": 0.7531, "high": 0.7531}
        lift["means"] = {"treatment": 0.7531, "control": 0.7531}
    for look in failed["history"]:
        look |= {"value": 0.7531, "low": 0.7531, "high": 0.7531}
    failed["verdict"] = {"status": "incremental", "text": "Raised by 75.31 points."}
    assert "75.31" in page(failed | {"checks": record["checks"]})
    assert not re.search(r"75\.3|0\.75", page(failed))


def test_in_a_notebook_sections_are_styled_without_touching_anything_else(record):
    shown = Readout(record)._repr_html_()
    assert shown.startswith("<style>@scope (.lift){")
    assert ":root" not in shown
    assert "body{" not in shown
    assert Readout(record).headline()._repr_html_().startswith('<div class="lift">')


@pytest.mark.parametrize("text", ["[]", '{"schema": 1}', '{"schema": 99}'])
def test_what_is_no_record_is_told_without_a_traceback(tmp_path, text):
    (tmp_path / "readout.json").write_text(text)
    with pytest.raises(DataError, match="is no readout record"):
        Readout.read(tmp_path / "readout.json")


def test_one_odd_record_does_not_stop_the_index(record, tmp_path):
    for name, made in (
        ("good", record),
        ("odd", changed(record, verdict={"status": "splendid", "text": ""})),
    ):
        place = tmp_path / name / "2026-01-22"
        place.mkdir(parents=True)
        (place / "readout.json").write_text(json.dumps(made))
    shown = write_index(tmp_path).read_text()
    assert shown.count("<article") == 1
    assert "odd, 2026-01-22" in shown


def test_a_look_that_is_not_to_be_trusted_is_not_in_the_sparkline(record, tmp_path):
    doubted = changed(record)
    for look in doubted["history"]:
        look["trusted"] = False
    (tmp_path / "on-files" / "2026-01-22").mkdir(parents=True)
    (tmp_path / "on-files" / "2026-01-22" / "readout.json").write_text(json.dumps(doubted))
    assert 'class="spark"' not in write_index(tmp_path).read_text()


@pytest.mark.parametrize("more", [{"experiment": "../out"}, {"as_of": "../../out"}])
def test_a_record_cannot_lead_out_of_the_reports_folder(record, tmp_path, more):
    with pytest.raises(DataError, match="an experiment's key"):
        publish(changed(record, **more), tmp_path / "reports")
    assert not (tmp_path / "out").exists()


def test_the_same_record_gives_the_same_bytes_in_any_folder(record, tmp_path):
    first, second = publish(record, tmp_path / "a"), publish(record, tmp_path / "{b}")
    for name in ("readout.json", "readout.ipynb", "index.html"):
        assert (first.parent / name).read_bytes() == (second.parent / name).read_bytes()
    assert first.read_text().count("<style>") == 1


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_open_in_a_browser_without_errors_or_requests(record, tmp_path, width):
    from playwright.sync_api import sync_playwright

    place = tmp_path / "on-files" / "2026-01-22"
    place.mkdir(parents=True)
    (place / "readout.json").write_text(json.dumps(record))
    (place / "index.html").write_text(page(record))
    index = write_index(tmp_path)
    problems, asked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        tab = browser.new_page(viewport={"width": width, "height": 800})
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        for target in (index, place / "index.html"):
            tab.goto(target.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator("svg.chart:visible").count() >= 2
        tab.goto(index.as_uri())
        tab.click("article a")
        assert tab.locator("h1").count() == 1
        browser.close()
    assert problems == []
    assert all(each.startswith("file://") for each in asked)
