"""Pages in a real browser, from a file, with the network off."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from tests.readout.pages import changed, site
from tests.readout.payloads import PAYLOADS, planted

LONG = os.environ.get("LIFT_LONG") == "1"
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]
DESK, PHONE = (1280, 800), (390, 844)
STATES = ("win", "inconclusive", "not-readable", "provisional")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium)"
)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def reports(told, tmp_path_factory):
    """Return the index and state → page of a folder with every week of all stories."""
    folder = tmp_path_factory.mktemp("reports")
    index = site(folder, [record for records in told.values() for record in records])
    last = {state: records[-1] for state, records in told.items()}
    return {"index": index} | {
        state: folder / record["experiment"] / record["as_of"] / "index.html"
        for state, record in last.items()
    }


@pytest.fixture
def open_page(browser):
    """Return a function that opens a page offline; nothing may be asked of the network, nothing may fail."""
    contexts, problems, asked = [], [], []

    def opened(target, size=DESK, **more):
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, offline=True, **more)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(target.as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert problems == []
    assert all(each.startswith("file://") for each in asked)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_first_screen_holds_question_verdict_picture_sizes_dates_and_checks(
    open_page, reports, state, size
):
    tab = open_page(reports[state], size)
    parts = ["h1", ".question", ".verdict", ".advice", ".facts", ".traffic p", ".badge"]
    parts.append(".headline .stop" if state == "not-readable" else ".headline .figure svg:visible")
    for part in parts:
        box = tab.locator(part).first.bounding_box()
        assert box, part
        assert box["y"] >= 0, part
        assert box["y"] + box["height"] <= size[1], part
    facts = tab.inner_text(".facts")
    assert all(each in facts for each in ("holdout", "28 Sep 2026", "As of", "Data through"))
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_page_shows_its_content_within_a_second(open_page, reports):
    tab = open_page(reports["win"])
    painted = tab.evaluate(
        "new Promise(done => new PerformanceObserver(all => done(all.getEntries()[0].startTime))"
        ".observe({type: 'largest-contentful-paint', buffered: true}))"
    )
    assert painted < 1000


@pytest.mark.parametrize("way", ["pointer", "keyboard"])
def test_marks_say_what_they_are_when_pointed_at_or_reached_by_key(open_page, reports, way):
    tab = open_page(reports["win"])
    mark = tab.locator(".headline svg.wide .row")
    tip = tab.locator("#tip")
    assert not tip.is_visible()
    if way == "pointer":
        mark.locator(".mark").hover()
    else:
        mark.focus()
    assert tip.is_visible()
    assert tip.inner_text().startswith("Purchase rate (primary): +4.")
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= DESK[0]
    tab.keyboard.press("Escape")
    assert not tip.is_visible()


def test_on_a_phone_no_column_of_a_table_is_out_of_sight_and_each_cell_names_its_own(open_page, reports):
    tab = open_page(reports["win"], (375, 812))
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    wide = (
        "[...document.querySelectorAll('.scroll')].filter(each => each.scrollWidth > each.clientWidth).length"
    )
    assert tab.locator(".scroll").count() > 10
    assert tab.evaluate(wide) == 0
    named = "getComputedStyle(document.querySelector('#checks td:nth-child(3)'), '::before').content"
    assert tab.evaluate(named) == '"What was found, and what to do"'
    assert tab.get_by_role("cell", name="passed").count() > 5


@pytest.mark.parametrize("width", [1280, 768, 375])
def test_long_names_run_off_no_page_and_no_index(open_page, told, tmp_path, width):
    long = ("free_shipping_with_a_personal_greeting_and_a_reminder_after_three_days", "x_" + "donaudampf" * 6)
    record = changed(told["win"][-1])
    arm = record["arms"][1]["arm"]
    text = json.dumps(record).replace(f'"{arm}"', f'"{long[0]}"')
    for field in ("metric", "name"):
        text = text.replace(f'"{field}": "revenue"', f'"{field}": "{long[1]}"')
    record = json.loads(text)
    for name in ("lifts", "curve", "history"):
        record[name] += [each | {"arm": long[1]} for each in record[name]]
    record["arms"].append(record["arms"][1] | {"arm": long[1]})
    record["design"]["name"] = "Предложения-для-возвращающихся-клиентов " * 2
    index = site(tmp_path / "reports", [record])
    for target in (index, index.parent / record["experiment"] / record["as_of"] / "index.html"):
        tab = open_page(target, (width, 900))
        assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        cut = "[...document.querySelectorAll('.key, .badge, .facts dd, tbody th')].filter(each => {const box = each.getBoundingClientRect(); return box.width && box.right > innerWidth}).length"
        assert tab.evaluate(cut) == 0


@pytest.mark.parametrize("width", [1280, 768, 600, 375])
def test_words_in_charts_are_large_enough_to_read(open_page, reports, width):
    tab = open_page(reports["win"], (width, 900))
    smallest = (
        "Math.min(...[...document.querySelectorAll('svg.chart text')].filter(each => each.getBoundingClientRect().width)"
        ".map(each => parseFloat(getComputedStyle(each).fontSize) * each.getScreenCTM().a))"
    )
    assert tab.evaluate(smallest) >= 9.5


def test_every_mark_can_be_reached_by_key_on_a_phone_too(open_page, reports):
    tab = open_page(reports["win"], PHONE)
    marks = tab.locator("svg.chart.narrow [tabindex]")
    assert marks.count() > 20
    marks.nth(3).focus()
    box = tab.locator("#tip").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE[0]


def test_the_colours_can_be_turned_and_follow_the_reader_otherwise(open_page, reports):
    def paper(tab):
        return tab.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = open_page(reports["win"]), open_page(reports["win"], color_scheme="dark")
    assert paper(light) == "rgb(255, 255, 255)"
    assert paper(dark) == "rgb(20, 23, 27)"
    for tab, other in ((light, "rgb(20, 23, 27)"), (dark, "rgb(255, 255, 255)")):
        tab.locator("#theme").press("Enter")
        assert paper(tab) == other


def test_the_index_is_searched_sorted_and_filtered_by_key(open_page, reports):
    tab = open_page(reports["index"])
    names = tab.locator("#experiments article:visible h2")
    assert names.count() == 4
    tab.focus("#find")
    tab.keyboard.type("voucher")
    assert names.all_inner_texts() == ["A voucher for the second order"]
    assert tab.inner_text("#shown") == "1 of 4 shown"
    tab.fill("#find", "")
    tab.select_option("#status", "incremental")
    assert names.all_inner_texts() == ["Free shipping for high-value cart abandoners"]
    tab.select_option("#status", "")
    tab.select_option("#order", "name")
    assert names.all_inner_texts() == sorted(names.all_inner_texts())
    tab.select_option("#order", "status")
    assert names.first.inner_text() == "A voucher for the second order"
    tab.select_option("#order", "newest")
    assert names.last.inner_text() == "Early access to the new collection for loyal customers"


def test_the_index_leads_to_a_page_and_back(open_page, reports):
    tab = open_page(reports["index"])
    tab.click("text=Free shipping for high-value cart abandoners")
    assert tab.inner_text("h1") == "Free shipping for high-value cart abandoners"
    tab.click("text=All experiments")
    assert tab.inner_text("h1") == "Experiments"
    tab.locator("details", has_text="2 weeks").locator("summary").first.press("Enter")
    assert tab.locator(".weeks:visible li").count() == 2


def test_the_first_page_on_paper_holds_the_headline_and_tables_are_open(open_page, reports):
    tab = open_page(reports["win"], size=(680, 1010))  # A4 within its margins, in CSS pixels
    tab.emulate_media(media="print")
    box = tab.locator(".headline").bounding_box()
    assert box["y"] + box["height"] < 1010
    assert not tab.locator("#theme").is_visible()
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("figure table:visible").count() == tab.locator("figure").count()
    assert tab.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("name", ["index", "win", "not-readable", "provisional"])
def test_axe_finds_nothing(open_page, reports, name):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    tab = open_page(reports[name])
    tab.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    every, colours = {"resultTypes": ["violations"]}, {"runOnly": ["color-contrast"]}
    part = ".headline" if name == "provisional" else None  # the rest is as on a win's page
    for scheme, rules in (("light", every), ("dark", colours)):
        tab.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(tab, context=part, options=rules)
        assert found.violations_count == 0, f"{scheme}: {found.generate_report()}"


def test_the_policy_stops_what_is_not_the_pages_own(browser, reports):
    tab = browser.new_page()
    tab.goto(reports["win"].as_uri())
    tab.evaluate(
        "() => { const own = document.createElement('script'); own.textContent = 'window.struck = 1';"
        "document.body.append(own); const seen = new Image(); seen.src = 'https://evil.example/x.png';"
        "document.body.append(seen); }"
    )
    assert tab.evaluate("window.struck") is None
    tab.close()


def test_hostile_names_strike_nothing_in_a_browser(open_page, told, tmp_path):
    """A browser parses what it would parse of plain names, and a page that is opened runs nothing and goes nowhere."""
    from tests.readout.pages import page

    record = told["win"][-1]
    plain = page(planted(record, " x"))
    blank = tmp_path / "blank.html"
    blank.write_text("<!doctype html><html lang=en><title>-</title>")
    tab = open_page(blank)
    names = "text => [...new DOMParser().parseFromString(text, 'text/html').querySelectorAll('*')].map(each => each.tagName)"
    expected = tab.evaluate(names, plain)
    for text in PAYLOADS if LONG else PAYLOADS[::20]:
        assert tab.evaluate(names, page(planted(record, text))) == expected, text
    for at, text in enumerate(PAYLOADS if LONG else PAYLOADS[3::67]):
        hostile = changed(planted(record, text), experiment=f"hostile-{at}")
        index = site(tmp_path / str(at), [hostile])
        for target in (index, index.parent / hostile["experiment"] / hostile["as_of"] / "index.html"):
            tab.goto(target.as_uri())
            tab.mouse.move(640, 200)
            assert tab.evaluate("window.struck") is None
            assert tab.url == target.as_uri()
        tab.goto(blank.as_uri())
