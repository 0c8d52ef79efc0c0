"""The headline: one sentence with the money, and a recommendation that follows from the verdict."""

from __future__ import annotations

import re

import pytest

from tests.readout.pages import changed, page
from toolkit.readout import Readout, story
from toolkit.readout.figures import Unit, span, total


def told(record):
    made = Readout(record)
    return story.told(made.record, made.views, status=made.status, level=made.level, failed=len(made.failed))


def test_a_win_says_the_lift_its_interval_the_money_the_time_and_to_keep_it(stories):
    said = told(stories["win"])
    assert re.fullmatch(
        r"Free shipping raised purchase rate by \d+% \(95% interval \+\d+% to \+\d+%\) and brought \$[\d,]+ of "
        r"profit \(\$[\d,]+ to \$[\d,]+\) within 14 days of assignment\.",
        said.sentence,
    )
    assert said.advice == "Keep free shipping."


def test_the_headlines_span_does_not_grow_once_windows_are_closed(stories):
    record = stories["win"]
    later = changed(record, as_of="2027-06-30")
    assert told(later).sentence == told(record).sentence
    later["design"]["metrics"][1]["window"] = "30d"
    assert told(later).sentence.endswith(" in 8 weeks.")
    for metric in later["design"]["metrics"]:
        metric["window"] = None
    assert told(later).sentence.endswith(" in 39 weeks.")


def test_the_headlines_numbers_are_the_records(stories):
    record = stories["win"]
    lift = next(each for each in record["lifts"] if each["role"] == "primary" and not each["breakdown"])
    relative = lift[lift["decision"]]["relative"]
    profit = record["worth"][0]["total_profit"]
    said = told(record).sentence
    assert f"by {relative['value']:.0%}" in said
    assert f"+{relative['low']:.0%} to +{relative['high']:.0%}" in said
    brought = float(re.search(r"brought \$([\d,]+)", said)[1].replace(",", ""))
    assert abs(brought - profit["value"]) <= 50


def test_comparisons_for_which_there_is_no_room_are_counted_after_the_sentence(stories):
    record = stories["win"]
    first = next(each for each in record["lifts"] if each["role"] == "primary" and not each["breakdown"])
    record["lifts"] += [first | {"arm": f"arm_{each}"} for each in range(4)]
    assert told(record).sentence.endswith(
        " within 14 days of assignment; 2 more comparisons of 1 metric below."
    )


def test_what_cannot_be_judged_is_waited_for_only_while_more_is_to_come(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        if lift["role"] == "guardrail":
            lift |= {"trusted": False, "notes": ["too few"]}
    for as_of, said in (("2026-11-22", "judged yet."), (record["as_of"], "judged.")):
        assert f"Harm to unsubscribe rate cannot be {said}" in page(changed(record, as_of=as_of))


@pytest.mark.parametrize(("high", "unit"), [(2.9, "%"), (34.7, "points")])
def test_a_relative_interval_without_a_near_end_is_said_in_the_metrics_own_unit(stories, high, unit):
    record = stories["inconclusive"]
    for lift in record["lifts"]:
        lift[lift["decision"]]["relative"] |= {"low": -0.35, "high": high}
    interval = re.search(r"by anything from (.*?) \(", told(record).sentence)[1]
    assert interval.endswith(unit)
    assert "3,470" not in interval


def test_money_that_is_not_trusted_is_not_said(stories):
    record = stories["win"]
    record["worth"][0] |= {"trusted": False, "notes": ["revenue is so uneven"]}
    assert "$" not in told(record).sentence
    shown = page(record)
    assert "Money cannot be told." in shown
    assert "$6,7" not in shown


@pytest.mark.parametrize(
    ("low", "high", "advice"),
    [
        (100.0, 900.0, "Keep free shipping."),
        (-100.0, 900.0, "Keep free shipping, and watch what it costs."),
        (-900.0, -100.0, "Change the offer before you keep it."),
    ],
)
def test_what_is_recommended_heeds_whether_the_offer_pays(stories, low, high, advice):
    record = stories["win"]
    record["worth"][0]["total_profit"] = {"value": (low + high) / 2, "low": low, "high": high}
    assert told(record).advice == advice


def test_provisional_is_said_loudly_with_the_day_it_ends(stories):
    said = told(stories["provisional"])
    assert said.sentence.startswith("Provisional: Early access ")
    assert said.advice == "Wait: do not decide before 23 Nov 2026."
    head = str(Readout(stories["provisional"]).headline().html)
    assert "<strong>Provisional.</strong> The data are complete on 23 Nov 2026." in head
    assert "Provisional" not in told(stories["win"]).sentence


def test_data_that_have_not_all_come_in_are_provisional_whatever_the_verdict(stories):
    record = stories["win"]
    record["maturity"] = {
        "share": 0.91,
        "arrived": 0.93,
        "settled": 0.98,
        "provisional": True,
        "text": "91% of what will count has come in",
    }
    head = str(Readout(record).headline().html)
    assert "<strong>Provisional.</strong> 91% of what will count has come in." in head
    assert "91% of that has come in" in head
    assert told(record).why.endswith("confirm it on the next page.")


def test_what_a_decision_before_its_time_is_worth_stands_beside_what_to_do(stories):
    record = stories["win"]
    caution = "One look is planned, and enrolment ends on 2026-03-01."
    record["verdict"] |= {"text": f"{record['verdict']['text']} {caution}", "caution": caution}
    assert told(record).why.endswith(f" {caution}")
    record["maturity"] = None
    assert "Provisional" not in str(Readout(record).headline().html)


def test_an_open_effect_is_said_as_a_range_and_never_as_no_effect(stories):
    said = told(stories["inconclusive"])
    assert "may have changed purchase rate by anything from −" in said.sentence
    assert said.advice.startswith("Not proven")
    assert "raised" not in said.sentence


def test_a_harmed_guardrail_comes_first_and_stops_the_offer(stories):
    record = stories["win"]
    record["verdict"]["status"] = "harm"
    for lift in record["lifts"]:
        if lift["role"] == "guardrail" and not lift["breakdown"]:
            lift["answer"] = "harm"
            block = lift[lift["decision"]]
            for each in ("absolute", "relative"):
                block[each] |= {"value": 0.03, "low": 0.02, "high": 0.04}
    said = told(record)
    assert said.sentence.startswith("Free shipping did harm: it raised unsubscribe rate by 3.0%")
    assert said.advice == "Stop free shipping."


def test_harm_that_is_not_ruled_out_is_said_beside_a_win(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        if lift["role"] == "guardrail":
            lift["answer"] = "unclear"
    assert "Harm to unsubscribe rate is not ruled out" in told(record).why


def test_a_gain_beside_a_guardrail_that_looks_harmed_is_to_be_looked_at_first(stories):
    record = stories["win"]
    record["verdict"]["status"] = "inconclusive"
    for lift in record["lifts"]:
        if lift["role"] == "guardrail":
            lift |= {"answer": "harm", "trusted": False}
    said = told(record)
    assert said.advice == "Look at unsubscribe rate before anything is rolled out."
    assert "look like harm" in said.why


def test_a_guardrail_that_cannot_be_judged_is_said_beside_a_win(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        if lift["role"] == "guardrail":
            lift["trusted"] = False
    said = told(record)
    assert said.advice == "Keep free shipping."
    assert "Harm to unsubscribe rate cannot be judged yet." in said.why


def test_without_a_relative_lift_the_page_speaks_in_the_metrics_own_unit(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        for block in (lift[lift["decision"]], lift["corrected"]):
            if block:
                block["relative"] |= {"value": None, "low": None, "high": None}
    assert re.search(r"raised purchase rate by [\d.]+ points \(95% interval \+", told(record).sentence)
    shown = page(record)
    assert re.search(r"Purchase rate \(primary\): \+[\d.]+ points, interval \+", shown)
    assert not re.search(r"interval \.|None", re.sub(r"<[^>]*>", "", shown))


def test_several_arms_are_each_said_and_not_ranked(stories):
    record = changed(stories["win"])
    record["arms"].append(record["arms"][1] | {"arm": "ten_percent"})
    record["lifts"] += [each | {"arm": "ten_percent"} for each in record["lifts"]]
    said = told(record)
    assert "; ten percent raised purchase rate by" in said.sentence
    assert said.advice == "Keep free shipping or ten percent."
    assert "not compared with each other" in said.why


def test_where_nothing_is_trusted_the_verdicts_own_words_stand(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        lift["trusted"] = False
    record["verdict"] = {"status": "not_readable", "text": "No lift can be read yet: too few."}
    assert told(record).sentence == "No lift can be read yet: too few."
    assert told(record).advice == "Do not decide by this page."


def test_amounts_are_rounded_to_what_their_interval_carries():
    money = Unit("money", "USD")
    said = total({"value": 41233.1, "low": 12004.0, "high": 70410.0}, money)
    assert said == ("$41,000", "$12,000 to $70,000")
    assert total({"value": -0.5, "low": None, "high": None}, money) == ("−\u2060$0", "")
    assert total(None, money) == ("—", "")


def test_spans_are_said_in_days_until_two_weeks():
    assert span("2026-09-28", "2026-09-28") == "1 day"
    assert span("2026-09-28", "2026-10-10") == "13 days"
    assert span("2026-09-28", "2026-11-22") == "8 weeks"


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.004, 0.28, "+0.4% to +28.0%"), (-0.31, -0.002, "−31.0% to −0.2%")]
)
def test_an_end_that_is_not_zero_is_not_said_as_zero(low, high, said):
    unit = Unit("percent")
    assert unit.interval(low, high, unit.decimals(low, high, (low + high) / 2)) == said
