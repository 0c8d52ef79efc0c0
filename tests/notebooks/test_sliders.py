"""Sliders say what the functions say, without a server, a network or a trusted notebook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from os import environ
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter

from tests.notebooks.conftest import AS_OF
from toolkit.errors import NotEnoughData, SpecError
from toolkit.notebook import explore_cap, explore_power, show, start_with_files
from toolkit.notebook.explore_power import planned_of
from toolkit.notebook.explorer import Answer, Explorer, Slider
from toolkit.readout import Readout
from toolkit.readout.figures import percent
from toolkit.settings import Settings
from toolkit.stats.trade_offs import smallest_at
from toolkit.steps.caps import caps
from toolkit.steps.design import design
from toolkit.steps.readout import record
from toolkit.steps.workspace import Spec, Workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def power(files, designed):
    return explore_power(designed, files[1].experiment.value)


@pytest.fixture(scope="module")
def cap(files):
    return explore_cap(caps(*files, "revenue", as_of=AS_OF), "USD")


def moved(explorer, *places):
    return explorer.at(
        **{each.name: each.stops[at] for each, at in zip(explorer.sliders, places, strict=True)}
    )


def test_every_answer_of_the_power_sliders_is_the_functions(designed, power):
    plan = planned_of(designed, designed.rows[0])
    for at, share in ((0, "1.0%"), (5, "10.0%"), (11, "50.0%")):
        shown = moved(power, at, 6, 0)
        held = 3 * designed.customers * float(share.removesuffix("%")) / 100
        expected = percent(smallest_at(plan, 3 * designed.customers - held, held))
        assert shown.sliders[0].stops[at] == share
        assert shown.grid.rows[0][1] == expected


def test_money_of_the_sliders_is_that_of_a_design_for_the_same_lift(files, power):
    again = design(*files, as_of=AS_OF, lift=0.2)
    chosen = power.at(**{"true lift": "+20.0%"})
    revenue, profit = (f"{abs(each):,.0f}" for each in (again.cost.revenue, again.cost.profit))
    assert f"forgo ${revenue} of revenue" in chosen._sentences[0]
    assert f"${profit} of profit" in chosen._sentences[0]


def test_a_chance_is_never_said_to_be_certain(power):
    told = [text for _, cells in power.rows for text in cells[1].said]
    assert "99%" in told
    assert "100%" not in told


def test_caps_cut_more_the_lower_they_are_and_show_no_lift(files):
    found = caps(*files, "revenue", as_of=AS_OF)
    assert [each.kept for each in found.choices] == sorted(each.kept for each in found.choices)
    assert found.choices[-1].kept == 1
    assert found.choices[-1].quantile is None
    assert found.auto in [each.quantile for each in found.choices]
    text = repr(explore_cap(found, "USD"))
    assert "larger numbers count as" in text
    assert not re.search(r"voucher|holdout|lift", text.partition("\n")[2])


def test_the_pictures_say_what_they_show_and_what_their_lines_are(power, cap):
    for explorer, title, names in (
        (power, "Smallest effect by share held out", {"share chosen", "true lift"}),
        (cap, "Smallest effect by cap", {"cap chosen"}),
    ):
        texts = re.findall("<text[^>]*>([^<]*)</text>", explorer.picture.svg)
        assert {title, "smallest relative effect"} | names <= set(texts)
        assert len(names) == explorer.picture.svg.count('class="mark"')


def test_a_cap_says_of_whom_its_quantile_is(cap):
    assert (
        "Quantiles are of these numbers alone; a measurement takes them over all arms' customers" in cap.said
    )


def test_where_few_have_bought_the_caps_that_would_cut_everybody_are_left_out(tmp_path):
    path = start_with_files(tmp_path)
    path.write_text(path.read_text().replace("value: amount, window", "value: amount, cap: 0.99, window"))
    assigned = (tmp_path / "assignments.csv").read_text().splitlines()
    held = {row.split(",")[0] for row in assigned if ",holdout," in row}
    header, *rows = (tmp_path / "events.csv").read_text().splitlines()
    orders = sorted(
        (row for row in rows if "Order Completed" in row), key=lambda row: row.split(",")[0] in held
    )
    files = Workspace.open(Settings(lift_home=str(tmp_path / "lake"))), Spec.read(path)

    def with_orders(count):
        (tmp_path / "events.csv").write_text("\n".join([header, orders[0], *orders[-count:]]))
        return caps(*files, "revenue", as_of=AS_OF)

    found = with_orders(6)
    assert 0.99 not in [each.quantile for each in found.choices]
    assert found.choices[-1].quantile is None
    assert all(each.value > 0 for each in found.choices[:-1])
    shown = explore_cap(found, "USD")
    assert "The planned 0.99 lies among customers who have nothing" in shown.said
    assert shown.sliders[0].at == 0
    orders = orders[:2]
    with pytest.raises(NotEnoughData, match="nobody has a number above zero"):
        with_orders(1)


def test_caps_of_what_is_no_mean_are_refused(files):
    with pytest.raises(
        SpecError, match="'purchase_rate' is no mean that could be capped; the means are revenue"
    ):
        caps(*files, "purchase_rate", as_of=AS_OF)


def test_a_design_without_an_effect_has_no_sliders(designed):
    from dataclasses import replace

    unknown = replace(
        designed, rows=tuple(replace(each, effect=None, why="nobody did it") for each in designed.rows)
    )
    with pytest.raises(NotEnoughData, match="nobody did it"):
        explore_power(unknown)


def test_texts_cannot_leave_the_data_that_sliders_choose_from():
    hostile = "</script><img src=x onerror=alert(1)>"
    explorer = Explorer(
        hostile,
        hostile,
        (Slider(hostile, (hostile,), 0),),
        (hostile,),
        ((hostile, (Answer((0,), (hostile,)),)),),
    )
    html = explorer._repr_html_()
    held = re.search(r'<script type="application/json">(.*?)</script>', html)[1]
    assert json.loads(held)["cells"][0]["said"] == [hostile]
    assert "<img" not in html


def exported(folder, values, *, sanitize=False):
    """Write a notebook that shows `values`, exported as a page, and return its address."""
    cells = [
        nbformat.v4.new_code_cell(
            f"value_{at}",
            outputs=[
                nbformat.v4.new_output(
                    "execute_result",
                    {"text/html": value._repr_html_(), "text/plain": repr(value)},
                    execution_count=1,
                )
            ],
        )
        for at, value in enumerate(values)
    ]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "shown.ipynb")
    page = folder / f"shown-{sanitize}.html"
    page.write_text(HTMLExporter(sanitize_html=sanitize).from_notebook_node(notebook)[0])
    return page.as_uri()


def test_sliders_move_in_an_exported_page_without_a_network(chromium, tmp_path, power, cap):
    context = chromium.new_context(offline=True)
    page = context.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)) if "require" not in str(error) else None)
    page.goto(exported(tmp_path, [power, cap]))
    panels = page.locator(".lift-panel")
    first, second = panels.nth(0), panels.nth(1)
    before = first.locator("figure img").get_attribute("src")
    for slider, key in ((0, "ArrowLeft"), (1, "End"), (2, "ArrowRight")):
        first.locator("input[type=range]").nth(slider).press(key)
    places = [power.sliders[0].at - 1, len(power.sliders[1].stops) - 1, power.sliders[2].at + 1]
    chosen = moved(power, *places)
    assert first.locator(".answers caption").inner_text() == chosen.grid.caption
    shown = [row.split("\t") for row in first.locator(".answers tbody tr").all_inner_texts()]
    assert [tuple(cell.strip() for cell in row) for row in shown] == list(chosen.grid.rows)
    assert first.locator("p.sentence").all_inner_texts() == chosen._sentences
    assert first.locator("figure img").get_attribute("src") != before
    assert first.locator("figure img").evaluate("image => image.naturalWidth") == 720
    assert first.locator("input").first.get_attribute("aria-valuetext") == chosen.sliders[0].stops[places[0]]
    second.locator("input[type=range]").press("Home")
    assert [row.split("\t")[1] for row in second.locator(".answers tbody tr").all_inner_texts()] == [
        row[1] for row in moved(cap, 0).grid.rows
    ]
    with page.expect_download() as saved:
        first.locator("figure a", has_text="PNG").click()
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    assert wrong == []
    context.close()


def test_a_readout_keeps_its_looks_text_at_the_left_and_numbers_at_the_right(chromium, tmp_path, files):
    found = Readout(record(*files, as_of=AS_OF))
    page = chromium.new_page()
    page.goto(exported(tmp_path, [found, found.headline(), found.lift_table(), found.checks()]))
    floats = page.locator(".lift dt").evaluate_all("terms => terms.map(each => getComputedStyle(each).float)")
    assert set(floats) == {"none"}
    sides = page.locator(".lift table :is(th, td)").evaluate_all(
        "cells => cells.map(each => [each.classList.contains('n'), getComputedStyle(each).textAlign])"
    )
    assert {(True, "right"), (False, "left")} == {tuple(each) for each in sides}
    page.close()


def test_panels_have_no_accessibility_violation(chromium, tmp_path, power, files):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = chromium.new_page()
    page.goto(exported(tmp_path, [power, show(files[1])]))
    found = axe.run(page, context=".lift-panel", options={"runOnly": ["wcag2a", "wcag2aa"]})
    assert [each["id"] for each in found.response["violations"]] == []
    page.close()


def test_where_scripts_may_not_run_the_planned_answer_stands_there(chromium, tmp_path, power):
    page = chromium.new_page()
    page.goto(exported(tmp_path, [power], sanitize=True))
    assert page.locator("input[type=range]").count() == 0
    tables = page.locator("table").all_inner_texts()
    assert any(power.grid.rows[0][1] in each for each in tables)
    assert any(power.others.rows[0][2] in each for each in tables)
    page.close()


@pytest.mark.skipif("LIFT_LONG" not in environ, reason="starts JupyterLab; LIFT_LONG=1 runs it")
@pytest.mark.timeout(600)
def test_jupyterlab_shows_panels_untrusted_and_moves_sliders_by_keyboard_once_run(
    chromium, tmp_path, power, cap
):
    exported(tmp_path, [power, cap])
    notebook = nbformat.read(tmp_path / "shown.ipynb", as_version=4)
    code = "from tests.notebooks.in_lab import power"
    notebook.cells.append(nbformat.v4.new_code_cell(f"{code}\npower()"))
    nbformat.write(notebook, tmp_path / "shown.ipynb")
    jupyter, port = shutil.which("jupyter", path=str(sys.prefix) + "/bin"), 18_893
    root = f"--ServerApp.root_dir={tmp_path}"
    quiet = ["--no-browser", "--ServerApp.token=", "--ServerApp.password=", "--allow-root"]
    server = subprocess.Popen(
        [jupyter, "lab", f"--port={port}", root, *quiet], env=environ | {"PYTHONPATH": str(ROOT)}
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{port}/lab/tree/shown.ipynb?reset", timeout=120_000)
        page.wait_for_selector(".jp-OutputArea table", timeout=120_000)
        assert page.locator(".jp-OutputArea input[type=range]").count() == 0
        assert page.locator(".jp-OutputArea caption").count() >= 2
        assert page.locator(".jp-OutputArea img[alt]").count() >= 2
        page.locator(".jp-Cell").last.click()
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(".jp-OutputArea input[type=range]", timeout=120_000)
        slider, told = (
            page.locator(".jp-OutputArea input[type=range]").first,
            page.locator(".answers caption").last,
        )
        before = told.inner_text()
        slider.press("ArrowRight")
        assert told.inner_text() != before
        assert page.locator(".lift-panel mjx-container").count() == 0
        page.close()
    finally:
        server.terminate()
        server.wait(30)
