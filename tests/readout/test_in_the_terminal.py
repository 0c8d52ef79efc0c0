"""What a measurement shows in the terminal, and what it must never show."""

from __future__ import annotations

import re

from toolkit.show.measured import record_text

MARK = 0.7531


def marked(value):
    if isinstance(value, dict):
        return {key: marked(each) for key, each in value.items()}
    return MARK if isinstance(value, float) else value


def test_no_number_of_a_lift_that_is_not_to_be_trusted_is_shown_and_its_reason_is(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        blocks = {name: marked(lift[name]) for name in ("raw", "adjusted", "skew_corrected", "corrected")}
        lift.update(blocks, trusted=False, notes=["too few"])
    money = {name: marked(each) for name, each in record["worth"][0].items() if name != "customers"}
    record["worth"] = [money | {"trusted": False, "notes": ["revenue is so uneven"]}]
    record["verdict"] = {"status": "inconclusive", "text": "No lift can be read yet."}
    shown = record_text(record)
    assert "75.31" not in shown
    assert "0.75" not in shown
    assert "not to be trusted" in shown
    assert "too few" in shown
    assert "among 2 (holm)" not in shown
    assert "not to be trusted: revenue is so uneven" in shown


def test_a_difference_and_its_interval_have_the_same_decimals_and_instants_no_fractions(stories):
    record = stories["win"]
    record["data_through"] = "2026-11-16T05:04:02.218972Z"
    for lift in record["lifts"]:
        if lift["corrected"] and not lift["breakdown"]:
            lift["corrected"]["members"] = 1
        block = lift[lift["decision"]]
        if lift["metric"] == "revenue" and not lift["breakdown"]:
            block["absolute"] |= {"value": 0.477, "low": -0.5312, "high": 1.401}
    shown = record_text(record)
    assert "data through 2026-11-16 05:04 UTC" in shown
    assert re.search(r"\+0\.477 +-0\.531 to \+1\.401", shown)
    assert "among 1" not in shown


def test_reasons_stand_once_below_the_table_by_number(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        lift |= {"trusted": False, "notes": ["so uneven", "too few"] if lift["breakdown"] else ["too few"]}
    shown = record_text(record)
    assert shown.count("too few") == 1
    assert "\n(1) too few\n(2) so uneven\n" in shown
    assert "not to be trusted (2, 1)" in shown


def test_a_lift_that_is_trusted_has_its_interval_and_its_familys(stories):
    shown = record_text(stories["win"])
    assert "95% interval" in shown
    assert " pp to " in shown
    assert "revenue (free_shipping) among 2 (holm): " in shown
    assert "incremental profit USD" in shown
