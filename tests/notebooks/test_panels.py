"""Values show themselves: accessible, escaped, and in plain text where there is no HTML."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.dom import minidom

import pytest
from IPython.core.interactiveshell import InteractiveShell

from tests.notebooks.conftest import AS_OF
from toolkit.errors import DataError, NotEnoughData, SpecError, StorageError, ToolkitError
from toolkit.notebook import activate, balance, compare, enrolment, pictures_of, show
from toolkit.notebook.panel import Grid, Panel
from toolkit.notebook.picture import Picture
from toolkit.readout import Readout
from toolkit.show.table import table_text
from toolkit.steps.assign import assign
from toolkit.steps.audit import audit, open_flags
from toolkit.steps.check import check
from toolkit.steps.measure import look, measure
from toolkit.steps.pull import pull
from toolkit.steps.push import open_launchdarkly, plan_push, push
from toolkit.steps.readout import record
from toolkit.steps.workspace import Spec

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><svg onload=alert(1)>",
    "'\"><a href=javascript:alert(1)>x</a>",
    "${alert(1)} $x$ \\(y\\)",
]


class Reader(HTMLParser):
    """Tables, pictures and whatever could act, as a browser's parser would find them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.scripts, self.words, self.captions = [], [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in {"img", "input", "br", "meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            self.scripts.append(data)
        elif inside != "style":
            self.words.append(data)
        if inside == "caption":
            self.captions.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def is_accessible(html):
    found = Reader(html)
    assert len(found.captions) == len(found.all("table"))
    assert all(each.get("scope") in {"col", "row"} for each in found.all("th"))
    assert all(len(each["alt"]) > 20 for each in found.all("img"))
    return found


def acts_not(html, *, scripts=0):
    found = Reader(html)
    assert len(found.all("script")) == scripts
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("href", "src"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
    assert "svg" not in {tag for tag, _ in found.tags}
    return found


@pytest.fixture(scope="module")
def shown(files, designed):
    workspace, spec = files
    found = record(workspace, spec, as_of=AS_OF)
    return {
        "spec": show(spec),
        "experiment": show(spec.experiment),
        "preview": show(check(workspace, spec)),
        "design": show(designed),
        "measurement": show(measure(workspace, spec, as_of=AS_OF)),
        "checks": show(measure(workspace, spec, as_of=AS_OF).checks),
        "balance": balance(look(workspace, spec, as_of=AS_OF), spec.experiment.control),
        "compared": compare([found, found]),
    }


def test_every_panel_is_accessible_and_holds_nothing_that_acts(shown):
    for panel in shown.values():
        html = panel._repr_html_()
        is_accessible(html)
        acts_not(html, scripts=len(panel.pictures))


def test_a_panel_says_the_same_in_plain_text(shown):
    text = repr(shown["measurement"])
    assert "Voucher raised purchase_rate by" in text
    assert "+4.3" in text
    assert "passed" in text
    assert "<" not in text.replace("< 0.0001", "")


def test_in_a_comparison_of_one_metric_rows_are_told_apart_by_their_arm(files):
    found = record(*files, as_of=AS_OF)
    for lift in found["lifts"]:
        lift["arm"] = "free_shipping_for_everybody"
    found["arms"][1]["arm"] = "free_shipping_for_everybody"
    found["arms"].append(found["arms"][1] | {"arm": "another"})
    (picture,) = compare([found]).pictures
    texts = re.findall("<text[^>]*>([^<]*)</text>", picture.svg)
    assert "free shipping for everybody" in texts
    assert not [each for each in texts if each.endswith("…")]


def test_pictures_stand_alone_as_svg_files(shown, tmp_path):
    for name, panel in shown.items():
        for picture in panel.pictures:
            saved = picture.save(tmp_path / f"{name}.svg")
            drawn = minidom.parse(str(saved))
            assert drawn.documentElement.getAttribute("xmlns") == "http://www.w3.org/2000/svg"


def test_a_readouts_charts_are_pictures_too(files, tmp_path):
    readout = Readout(record(*files, as_of=AS_OF))
    (picture,) = pictures_of(readout.intervals())
    assert "Purchase rate" in picture.said
    drawn = minidom.parse(str(picture.save(tmp_path / "lifts.svg")))
    assert len(drawn.getElementsByTagName("text")) > 10


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_name_is_shown_and_does_nothing(files, hostile):
    workspace, spec = files
    arms = dict(zip((hostile, "holdout"), (0.5, 0.5), strict=True))
    experiment = spec.experiment.model_copy(
        update={"name": hostile, "hypothesis": hostile, "arms": arms, "control": "holdout"}
    )
    panel = show(replace(spec, path=hostile, experiment=experiment))
    assert "".join(acts_not(panel._repr_html_()).words).count(hostile) >= 4
    found = measure(workspace, spec, as_of=AS_OF)
    renamed = replace(
        found,
        experiment=hostile,
        customers={hostile: 5, "holdout": 5},
        shares={hostile: 0.5, "holdout": 0.5},
        notes=(hostile,),
    )
    acts_not(show(renamed)._repr_html_(), scripts=1)
    picture = Picture("<svg/>", hostile)
    assert acts_not(picture._repr_html_(), scripts=1).all("img")[0]["alt"] == hostile


def test_an_experiment_with_a_failed_check_shows_no_lift(files):
    found = measure(*files, as_of=AS_OF)
    first, *others = found.checks
    broken = replace(found, checks=(replace(first, status="fail"), *others))
    text = repr(show(broken))
    assert "Lifts" not in text
    assert "+4.3" not in text.replace(found.verdict.text, "")
    failed = record(*files, as_of=AS_OF)
    failed["checks"][0]["status"] = "fail"
    assert "+46" in repr(compare([record(*files, as_of=AS_OF)]))
    assert "+46" not in repr(compare([failed]))


def test_a_table_for_a_spreadsheet_holds_no_formula(tmp_path):
    grid = Grid("x", ("=1+1", "b"), (("@SUM(A1)", "+1"), ("plain", "-2")))
    saved = Panel("t", "s", (grid,)).save(tmp_path / "x.csv")
    rows = list(csv.reader(io.StringIO(saved.read_text())))
    assert not any(cell.startswith(("=", "@", "+", "-")) for row in rows for cell in row)


def test_what_cannot_be_saved_is_said_with_the_mend(tmp_path):
    panel = Panel("Nothing", "to see")
    with pytest.raises(ToolkitError, match=r"can be saved as \.html"):
        panel.save(tmp_path / "x.svg")
    with pytest.raises(StorageError, match="cannot be written"):
        panel.save(panel.save(tmp_path / "new" / "x.html") / "y.html")
    with pytest.raises(StorageError, match=r"saved as \.svg"):
        Picture("<svg/>", "said").save(tmp_path / "x.png")
    with pytest.raises(ToolkitError, match="a int has no panel"):
        show(3)
    with pytest.raises(DataError, match="no record to compare"):
        compare([])


def test_activated_values_show_themselves_and_a_mistake_is_a_sentence(files, capsys):
    shell = InteractiveShell.instance()
    try:
        activate(shell)
        shown, _ = shell.display_formatter.format(files[1])
        assert shown["text/html"].startswith('<div class="lift-panel')
        assert shown["text/plain"].startswith("A voucher for the second order")
        shell.user_ns["Spec"] = Spec
        done = shell.run_cell("Spec.read('absent.yml')")
        assert isinstance(done.error_in_exec, SpecError)
        said = capsys.readouterr().out
        assert "no such file" in said
        assert "Traceback" not in said
    finally:
        InteractiveShell.clear_instance()


def test_a_text_table_is_text_in_a_notebook_too(monkeypatch):
    import rich.console

    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    assert "purchases" in table_text(["metric"], [["purchases"]])


def test_the_loop_on_the_sandbox_shows_no_customers_key(tmp_path, monkeypatch):
    from pathlib import Path

    from toolkit.demo import workspace_of
    from toolkit.sandbox import Sandbox

    root = Path(__file__).parents[2]
    with Sandbox(seed=3, scale=0.1, limits=False) as box:
        workspace = workspace_of(box, tmp_path / "lake", tmp_path / "reports")
        spec = Spec.read(root / "experiments" / "cart-free-shipping.yml")
        with pytest.raises(NotEnoughData, match="nobody is assigned"):
            enrolment(workspace, spec.experiment)
        panels = [show(assign(workspace, spec)), enrolment(workspace, spec.experiment)]
        with open_launchdarkly(workspace, spec) as client:
            plan = plan_push(workspace, spec, client)
            panels.append(show(plan))
            assert "Nothing was changed yet" in repr(panels[-1])
            panels.append(show(push(workspace, spec, client, plan)))
            panels.append(show(plan_push(workspace, spec, client)))
            assert "Nothing to change" in repr(panels[-1])
        with open_flags(workspace, spec) as flags:
            panels.append(show(audit(workspace, spec, flags)))
        panels.append(show(pull(workspace, spec)))
    for panel in panels:
        html, text = panel._repr_html_(), repr(panel)
        is_accessible(html)
        assert not [key for key in plan.arms if f">{key}<" in html or f" {key} " in text]
