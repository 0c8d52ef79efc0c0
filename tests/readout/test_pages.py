"""What a stakeholder's page shows, and what it must never show."""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import b64encode
from hashlib import sha256

import pytest

from tests.readout.pages import Nodes, changed, page
from tests.readout.stories import SPEC
from toolkit.design.parse import parse_experiment
from toolkit.errors import DataError
from toolkit.readout import Readout, words
from toolkit.readout.figures import p_value
from toolkit.readout.previous import extract
from toolkit.readout.spreadsheet import as_csv

QUESTIONS = {
    "intervals": "What moved?",
    "weeks": "Is it settled?",
    "worth": "What did it bring?",
    "guardrails": "Did anything get worse?",
    "exposed": "What did it do for those it reached?",
    "families": "Could one of several be luck?",
    "breakdowns": "For whom did it work?",
    "arms": "Are the arms a fair comparison?",
    "checks": "Can the numbers be believed?",
    "changes": "What changed since 16 Nov 2026?",
    "decisions": "What was decided?",
    "lifts": "Does it depend on how one counts?",
    "method": "How were the numbers made?",
    "definitions": "What do the names mean?",
    "provenance": "Where does this page come from?",
}


def failing(record):
    failed = changed(record)
    failed["checks"][0] |= {"status": "fail", "detail": "the arms do not have the sizes planned"}
    return failed


def card(record, name):
    return str(getattr(Readout(record), name)().html)


def text_of(shown):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown))


def test_every_card_asks_one_question_and_answers_it_first(stories):
    shown = page(stories["win"])
    for key, question in QUESTIONS.items():
        body = shown.split(f'<section id="{key}"')[1].split("</section>")[0]
        assert f">{question}" in body
        assert (
            body.index("<h2")
            < body.index('class="insight"')
            < min([body.find(each) for each in ("<figure", "<table") if each in body] or [len(body)])
        )


def test_the_page_asks_nothing_of_the_network_and_its_policy_names_what_is_inline(stories):
    shown = page(stories["win"])
    assert "http://" not in shown
    assert "https://" not in shown
    assert len(shown) < 150_000
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', shown)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "base-uri 'none'; form-action 'none'" in policy
    for name in ("style", "script"):
        content = re.search(rf"<{name}>(.*?)</{name}>", shown, re.DOTALL)[1]
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert not [name for name, _ in Nodes(shown).attributes if name == "style" or name.startswith("on")]


def test_every_chart_is_described_and_stands_as_a_table_too(stories):
    shown = page(stories["win"])
    nodes = Nodes(shown)
    labelled = [value for name, value in nodes.attributes if name == "aria-labelledby"]
    known = [value for name, value in nodes.attributes if name == "id"]
    assert labelled
    assert len(known) == len(set(known))
    assert all(each in known for label in labelled for each in label.split())
    for figure in shown.split("<figure>")[1:]:
        assert "<table" in figure.split("</figure>")[0]


def test_a_failed_check_stands_where_the_numbers_would(stories):
    shown = page(failing(stories["win"]))
    assert "The arms do not have the sizes planned." in shown
    assert "What to do" in shown
    for key in ("intervals", "weeks", "worth", "guardrails", "exposed", "families", "breakdowns", "lifts"):
        assert f'<section id="{key}"' not in shown
    assert "chart wide" in shown  # the arms' sizes are still drawn


def test_no_trace_of_a_lift_is_left_where_a_check_failed(stories):
    record = stories["win"]
    mark = 0.7531

    def marked(value):
        if isinstance(value, dict):
            return {key: marked(each) for key, each in value.items()}
        if isinstance(value, list):
            return [marked(each) for each in value]
        return mark if isinstance(value, float) else value

    for name in ("lifts", "curve", "history", "worth"):
        record[name] = marked(record[name])
    record["previous"] |= {"lifts": marked(record["previous"]["lifts"])}
    record["restatements"] = [
        {
            "as_of": "2026-11-02",
            "metric": "revenue",
            "arm": "free_shipping",
            "from": 0.1,
            "to": mark,
            "text": "",
        }
    ]
    record["maturity"] = {
        "share": mark,
        "arrived": mark,
        "settled": 1.0,
        "provisional": True,
        "text": "75.31% in",
    }
    record["verdict"] = {"status": "incremental", "text": "Raised by 75.31 points."}
    traces = re.compile(r"75[.,]?3|0\.75|\b75%|\b75 points|\$0\.75")
    assert traces.search(text_of(page(record)))
    assert not traces.search(text_of(page(failing(record))))


def test_an_untrusted_lift_shows_its_reason_instead_of_an_interval(record):
    for lift in record["lifts"]:
        lift |= {"trusted": False, "notes": ["rests on 3 customers in holdout who did it"]}
    shown = page(record)
    assert "Rests on 3 customers in holdout who did it." in shown
    assert 'class="span"' not in shown
    assert 'class="whisker"' not in shown


def test_an_end_without_bound_is_an_arrow(record):
    for lift in record["lifts"]:
        lift |= {"trusted": True, "corrected": None}
        for name in ("raw", "adjusted", "capped", "skew_corrected"):
            if lift[name]:
                lift[name]["relative"]["high"] = None
    assert 'class="arrow"' in page(record)
    assert "or more" in page(record)


def test_metrics_in_different_units_never_share_an_axis(record):
    for lift in record["lifts"]:
        lift["role"] = "primary"
    drawn = re.findall(r'<desc id="primary[^"]*-wide-desc">(.*?)</desc>', page(record))
    assert len(drawn) == len({lift["metric"] for lift in record["lifts"]})


def test_a_harmed_guardrail_stands_on_the_first_screen_before_the_primary_metric(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        if lift["role"] == "guardrail":
            lift["answer"] = "harm"
    head = card(record, "headline")
    assert head.index("Unsubscribe rate: difference to") < head.index("Purchase rate: difference to")
    assert "margin +0.5 points" in head


@pytest.mark.parametrize("harm", ["increase", "decrease"])
def test_the_margin_is_named_at_its_own_line_and_not_at_zero(stories, harm):
    record = stories["win"]
    for lift in record["lifts"]:
        if lift["role"] == "guardrail":
            lift["harm"] = harm
            for block in ("raw", "adjusted", "skew_corrected", "capped", "capped_adjusted"):
                if lift.get(block):
                    lift[block]["absolute"] |= {"value": 0.0, "low": -0.02, "high": 0.02}
    shown = card(record, "guardrails")
    line = float(re.search(r'd="M([\d.]+) [^"]*" class="margin"', shown)[1])
    sign = "+" if harm == "increase" else "−"
    named, width = float(re.search(rf'<text x="([\d.]+)"[^>]*>margin {re.escape(sign)}0.5', shown)[1]), 130
    assert named == pytest.approx(line, abs=0.2) if harm == "increase" else line - width < named < line


def test_a_guardrail_that_cannot_be_judged_says_why_beside_it(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        if lift["role"] == "guardrail":
            lift |= {"trusted": False, "notes": ["rests on 3 customers in holdout who did it"]}
    shown = text_of(card(record, "guardrails"))
    assert "Unsubscribe rate: not to be trusted: rests on 3 customers in holdout who did it." in shown


def test_an_offer_that_sold_more_and_cost_more_is_not_shown_as_a_plain_gain(stories):
    record = stories["win"]
    assert "at a loss" not in card(record, "headline")
    record["worth"][0]["total_profit"] |= {"value": -800.0, "low": -900.0, "high": -700.0}
    head = card(record, "headline")
    assert "Gain, at a loss" in head
    assert 'class="headline incremental loss"' in head
    shown = text_of(card(record, "worth")).replace("\N{WORD JOINER}", "")
    assert "Free shipping cost $800 of profit (−$900 to −$700) after" in shown


def test_of_one_secondary_comparison_it_is_said_that_there_is_nothing_to_correct_for(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        if lift["metric"] == "orders_per_customer":
            lift["corrected"] = None
        elif lift["corrected"]:
            lift["corrected"]["members"] = 1
    shown = text_of(card(record, "families"))
    assert "there is nothing to correct for" in shown
    assert "1 questions" not in shown


def test_a_guardrail_says_its_answer_against_its_margin(stories):
    record = stories["win"]
    answers = {
        "safe": "No harm beyond the margin for",
        "unclear": "Harm is not ruled out for",
        "harm": "Harmed:",
    }
    for answer, said in answers.items():
        for lift in record["lifts"]:
            if lift["role"] == "guardrail":
                lift["answer"] = answer
        assert f"{said} unsubscribe rate." in card(record, "guardrails")


def test_secondary_metrics_are_shown_at_the_level_of_their_family(stories):
    record = stories["win"]
    lift = next(each for each in record["lifts"] if each["metric"] == "revenue" and not each["breakdown"])
    lift["corrected"]["absolute"] |= {"low": -0.5, "high": 6.1}
    lift["corrected"] |= {"p_value": 0.21}
    assert "1 of 2 secondary comparisons stands after correcting" in card(record, "families")
    assert "revenue up" not in card(record, "intervals")
    assert "−\u2060$0.50 to +\u2060$6.10" in card(record, "intervals")


def test_the_curve_shows_the_boundary_and_since_when_it_is_crossed(stories):
    shown = card(stories["win"], "by_week")
    assert 'class="bound"' in shown
    assert re.search(r"Look 9 of 9: purchase rate has lain above zero since \d+ \w+ 2026\.", shown)
    assert "has not crossed the boundary" in card(stories["inconclusive"], "by_week")


def test_looks_that_are_not_to_be_trusted_are_not_drawn_and_have_no_number(stories):
    record = stories["win"]
    plain = card(record, "by_week").count('class="whisker"')
    assert "5 Oct 2026 free shipping not to be trusted" not in text_of(card(record, "by_week"))
    for each in record["curve"]:
        if each["metric"] == "purchase_rate" and each["as_of"] == "2026-10-05":
            each["means"]["control"] = 9 / each["customers"]["control"]
    shown = card(record, "by_week")
    assert shown.count('class="whisker"') == plain - 2  # the wide drawing and the narrow one
    assert "5 Oct 2026 free shipping not to be trusted" in text_of(shown)


def test_a_hollow_mark_means_that_the_interval_holds_zero_wherever_it_stands(stories):
    for state in ("win", "inconclusive"):
        shown = card(stories[state], "by_week")
        marks = re.findall(r'<g class="series s0( open)?"[^>]*><title>[^(]*\((.)[^ ]* to (.)', shown)
        assert marks
        assert all(bool(hollow) == (low != high) for hollow, low, high in marks)
        assert "their interval holds zero" in shown
        assert "Hollow marks: it holds zero" in card(stories[state], "intervals")


def test_of_several_arms_each_mark_of_the_curve_names_its_own(stories):
    record = stories["win"]
    assert "<title>free shipping, " not in card(record, "by_week")
    for name in ("arms", "lifts", "curve"):
        record[name] += [each | {"arm": "ten_percent"} for each in record[name] if each["arm"] != "holdout"]
    shown = card(record, "by_week")
    for arm in ("free shipping", "ten percent"):
        assert f"<title>{arm}, 23 Nov 2026: " in shown


def test_a_number_that_is_not_to_be_trusted_is_not_shown_whichever_way_it_is_counted(record):
    for lift in record["lifts"]:
        for name in ("raw", "adjusted"):
            lift[name] = json.loads(json.dumps(lift["raw"]))
            lift[name]["absolute"] |= {"value": 0.7531, "low": 0.7, "high": 0.8}
            lift[name]["relative"] |= {"value": 0.7531, "low": 0.7, "high": 0.8}
        lift |= {"trusted": False, "notes": ["rests on 3 customers"]}
    shown = card(record, "lift_table")
    assert "not to be trusted" in shown
    assert "75.3" not in page(record)
    assert "0.75" not in page(record)
    assert 'class="mark"' not in page(record)


def test_where_there_is_no_relative_lift_the_difference_is_told_in_the_metrics_unit(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        for name in ("raw", "adjusted", "skew_corrected", "corrected"):
            if lift[name]:
                lift[name]["relative"] = {"value": None, "low": None, "high": None, "method": "fieller"}
    shown = page(record)
    assert "no number" not in shown
    assert re.search(
        r"raised purchase rate by \d\.\d points \(95% interval", text_of(card(record, "headline"))
    )
    assert re.search(r"purchase rate up \d\.\d points", card(record, "intervals"))
    assert "there is no relative lift; the difference is told instead" in card(record, "intervals")


def test_money_that_cannot_be_told_says_that_it_is_not_capped_and_what_would_let_it_be_told(stories):
    record = stories["win"]
    why = "revenue is so uneven that an interval would miss; cap it or hold out more customers"
    record["worth"][0] |= {"trusted": False, "notes": [why]}
    done = text_of(card(record, "worth"))
    assert (
        "Free shipping: revenue is so uneven that an interval would miss. Money is of all revenue, without a cap"
        in done
    )
    assert "cap it" not in done
    assert " yet" not in done
    assert "A next experiment needs more customers held out" in done
    record["as_of"] = "2026-11-02"
    running = text_of(card(record, "worth"))
    assert "Money cannot be told yet." in running
    assert "next experiment" not in running


def test_a_difference_that_is_not_one_mean_less_the_other_says_how_it_was_made(record):
    assert "means as measured" not in card(record, "intervals")
    for lift in record["lifts"]:
        lift |= {"decision": "skew_corrected", "corrects": "adjusted"}
        lift |= {"skew_corrected": lift["raw"], "adjusted": lift["raw"], "trusted": True}
    shown = text_of(card(record, "intervals"))
    assert "treatment, primary, adjusted" in shown
    assert "Arm and control are means as measured" in shown
    (row, *_) = csv.DictReader(io.StringIO(as_csv(record)))
    assert row["corrects"] == "adjusted"
    assert float(row["difference_as_measured"]) == pytest.approx(
        float(row["mean_arm"]) - float(row["mean_control"])
    )


def test_what_counts_is_said_to_be_chosen_before_the_data_only_where_it_was(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        lift |= {"adjusted": lift["raw"], "decision": "adjusted"}
    assert "was chosen before the data" in card(record, "lift_table")
    for lift in record["lifts"]:
        lift |= {"skew_corrected": lift["raw"], "decision": "skew_corrected"}
    shown = card(record, "lift_table")
    assert "was chosen before the data" not in shown
    assert "chosen by their shape and the arms’ sizes, not by the difference" in shown


def test_breakdowns_that_the_file_names_are_not_said_to_be_found_afterwards(stories):
    shown = card(stories["win"], "breakdowns")
    assert "the experiment file names these cuts" in shown
    assert "nobody promised" not in shown


def test_money_is_for_all_and_per_customer_and_says_it_must_not_be_added(stories):
    shown = card(stories["win"], "worth")
    assert "the offer paid for itself" in shown
    assert "Return per 1 spent" in shown
    assert "never added to another" in shown
    record = stories["win"]
    record["worth"][0]["total_profit"] |= {"low": -900.0, "high": 800.0}
    shown = card(record, "worth").replace("\N{WORD JOINER}", "")
    assert "whether the offer pays for itself is not settled" in shown
    assert "Free shipping brought between −$900 and $800 of profit after" in shown


def test_the_effect_on_those_reached_is_shown_or_why_it_is_not(stories):
    record = stories["win"]
    assert re.search(r"The offer reached 6\d\.\d% of free shipping", card(record, "exposed"))
    for lift in record["lifts"]:
        lift["exposed"] = {"value": None, "low": None, "high": None, "refused": "nobody was recorded"}
    assert "Nobody was recorded." in card(record, "exposed")
    assert "<table" not in card(record, "exposed")


def test_where_a_flag_serves_the_offer_unseen_the_effect_is_not_said_to_be_of_those_messaged_alone(stories):
    record = stories["win"]
    assert record["reach"] == ["offer"]
    assert "all of its effect is theirs" in card(record, "exposed")
    record["reach"] = ["message"]
    shown = card(record, "exposed")
    assert "who was served the offer on the site is not known" in shown
    assert "all of its effect is theirs" not in shown
    assert "cannot have been changed" not in shown
    for trait in record["design"]["traits"]:
        trait["flag"] = None
    assert "all of its effect is theirs" in card(record, "exposed")


@pytest.mark.parametrize("block", ["raw", "skew_corrected"])
def test_the_effect_on_those_reached_stands_beside_the_same_estimate_of_all_assigned(stories, block):
    record = stories["win"]
    for lift in record["lifts"]:
        lift["exposed"] = lift["exposed"] and lift["exposed"] | {"block": block}
        lift["adjusted"] = json.loads(json.dumps(lift["raw"]))
        lift["adjusted"]["absolute"] |= {"value": 0.7531, "low": 0.7, "high": 0.8}
        lift["decision"] = "adjusted"
    shown = text_of(card(record, "exposed"))
    assert "75.3" not in shown
    assert "Per customer assigned, unadjusted" in shown


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
def test_what_is_said_to_be_unadjusted_is_so_where_the_adjusted_numbers_were_corrected_for_skewness(
    stories, kept
):
    record = stories["win"]
    for lift in record["lifts"]:
        if not lift["exposed"]:
            continue
        lift["adjusted"] = json.loads(json.dumps(lift["raw"]))
        lift["adjusted"]["absolute"] |= {"value": 0.7531, "low": 0.7, "high": 0.8}
        lift |= {"skew_corrected": lift["adjusted"], "decision": "skew_corrected", "corrects": "adjusted"}
        own = {"value": 0.1357, "low": 0.12, "high": 0.15, "se": 0.01, "df": None}
        lift["exposed"] |= {"block": "skew_corrected", "assigned": own if kept else None}
    shown = text_of(card(record, "exposed"))
    assert "75.3" not in shown
    assert ("+13.6 points" in shown) == kept


def test_the_record_keeps_the_effect_on_all_assigned_that_the_one_on_those_reached_rests_on(stories):
    reached = [each["exposed"] for each in stories["win"]["lifts"] if each["exposed"]]
    assert reached
    for each in reached:
        assert each["assigned"]["value"] == pytest.approx(each["value"] * each["exposed_share"])


def test_an_effect_on_those_reached_that_is_not_to_be_trusted_shows_no_interval(stories):
    record = stories["win"]
    for lift in record["lifts"]:
        if lift["exposed"] and lift["metric"] == "revenue":
            lift["exposed"] |= {"trusted": False, "note": "so uneven"}
    shown = text_of(card(record, "exposed"))
    assert shown.count("not to be trusted") == 1
    assert "Revenue, per customer reached: so uneven." in shown


def test_after_the_plans_end_the_page_says_that_it_has_ended(stories):
    record = stories["win"]
    last = f"look {record['looks']['number']} of {record['looks']['of']}"
    assert f"23 Nov 2026, {last}" in text_of(card(record, "headline"))
    record["looks"] |= {"ended_on": "2026-11-16", "note": f"the plan ended with {last} on 2026-11-16"}
    assert f"23 Nov 2026; the plan ended on 16 Nov 2026, {last}" in text_of(card(record, "headline"))
    shown = text_of(card(record, "by_week"))
    assert "The plan ended on 16 Nov 2026: " in shown
    assert f"{last.capitalize()}: " not in shown


def test_groups_that_are_too_small_are_said_to_be_hidden(stories):
    record = stories["win"]
    assert "These stand out" in card(record, "breakdowns") or "these stand out" in card(record, "breakdowns")
    record["lifts"] = [each for each in record["lifts"] if not each["breakdown"]]
    shown = card(record, "breakdowns")
    assert "No group is large enough to be shown." in shown
    assert "LTV tier is not shown: fewer than two of its groups have ten customers in every arm." in shown


def test_arms_are_shown_against_the_plan_at_every_look(stories):
    shown = card(stories["win"], "arms")
    assert "Share of holdout at each look" in shown
    assert shown.count('class="chance"') == 2 * 8


def test_traits_that_came_late_are_counted(stories):
    record = stories["win"]
    assert card(record, "propagation") == ""
    due = {"trait": "free_shipping_eligible", "customers": 900, "p50_seconds": 42.0, "p95_seconds": 400.0}
    record["propagation"] = [due | {"late": 7, "waiting": 3, "max_age_seconds": 300.0}]
    shown = text_of(card(record, "propagation"))
    assert "A trait was later than it may be at 7 of 903 memberships." in shown
    assert "42 s" in shown
    assert "5 min" in shown
    record["propagation"] = [due | {"late": 0, "max_age_seconds": 300.0}]
    assert "No trait was later than it may be, at 900 memberships." in card(record, "propagation")


def test_what_changed_since_the_page_before_is_said(stories):
    record = stories["win"]
    assert "The verdict is still gain; nobody was added." in card(record, "changes")
    record["previous"] |= {"status": "provisional", "customers": 9000, "spec": "sha256:other"}
    record["previous"]["checks"]["sample_ratio"] = "warn"
    shown = text_of(card(record, "changes"))
    assert "The verdict went from provisional to gain; 3,000 customers more." in shown
    assert "Check: Arm sizes needs a look passed" in shown
    assert "The experiment file was changed" in shown
    record["previous"] = None
    assert card(record, "changes") == ""


def test_the_lake_gives_each_page_the_record_before_it(told):
    first, second, *_ = told["win"]
    assert first["previous"] is None
    assert second["previous"]["as_of"] == first["as_of"]
    assert second["previous"]["status"] == first["verdict"]["status"]


def test_a_page_that_could_not_be_read_hands_no_number_on_to_the_next(stories):
    assert extract(stories["win"])["lifts"]
    after = extract(failing(stories["win"]))
    assert after["status"] == "not_readable"
    assert after["lifts"] == []


def test_a_decision_may_be_written_with_its_bare_day():
    spec = SPEC.format(key="x", name="X", hypothesis="Y", arm="treatment")
    first = parse_experiment(spec, "x.yml").decisions[0]
    assert (first.on.isoformat(), first.by) == ("2026-09-21", "ana@example.com")


def test_restatements_say_what_was_said_then_and_now(stories):
    record = stories["win"]
    change = {
        "as_of": "2026-11-02",
        "metric": "purchase_rate",
        "arm": "free_shipping",
        "from": 0.312,
        "to": 0.287,
    }
    record["restatements"] = [change | {"text": "restated from +31.2% to +28.7%"}]
    shown = text_of(card(record, "restatements"))
    assert "+31.2% +28.7%" in shown
    assert "1 earlier number would be said otherwise" in shown


INTERVALS = {
    "raw": "the 95% interval and the p-value are Welch’s",
    "adjusted": "the 95% interval and the p-value are of the normal distribution",
    "capped": "come from Welch’s statistic after Hall’s transformation",
    "capped_adjusted": "come from Welch’s statistic after Hall’s transformation",
    "skew_corrected": "come from Welch’s statistic after Hall’s transformation",
}


@pytest.mark.parametrize("block", INTERVALS)
def test_the_method_names_the_intervals_that_decide_and_no_others(record, block):
    for lift in record["lifts"]:
        lift |= {"trusted": True, "decision": block, block: lift["raw"] | {"cap": 9.0, "capped_customers": 3}}
    shown = text_of(card(record, "method"))
    assert [each for each in dict.fromkeys(INTERVALS.values()) if each in shown] == [INTERVALS[block]]
    assert "(purchase rate, revenue, " in shown
    for lift in record["lifts"]:
        lift["trusted"] = False
    assert not [each for each in INTERVALS.values() if each in text_of(card(record, "method"))]


BOUNDARIES = {
    None: "hold for one look at a date fixed beforehand",
    "planned": "hardly wider than a single look’s at the end",
    "always_on": "without a planned end: an asymptotic confidence sequence",
}


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_method_names_the_boundary_of_the_looks_and_no_other(stories, boundary):
    record = stories["win"]
    record["looks"]["boundary"] = boundary
    shown = text_of(card(record, "method"))
    assert [each for each in BOUNDARIES.values() if each in shown] == [BOUNDARIES[boundary]]
    record["curve"] = []
    if boundary == "planned":
        assert "wider than a single look’s at the end too" in text_of(card(record, "method"))


def test_an_adjustment_that_widened_the_interval_is_not_said_to_sharpen_it(record):
    for lift in record["lifts"]:
        lift |= {
            "decision": "adjusted",
            "adjusted": lift["raw"] | {"variance_reduction": -0.1, "covariates": ["ltv"]},
        }
    shown = text_of(card(record, "method"))
    assert "It widened the interval of purchase rate, treatment; revenue, treatment" in shown
    assert "sharpens" not in shown


def test_sentences_made_elsewhere_stand_with_words_for_keys_and_percent_without_a_space(record):
    record["checks"][0] |= {
        "status": "fail",
        "detail": "treatment_b lost 5 % of purchase_rate, treatment_b_x none",
    }
    record["arms"][0]["arm"] = "treatment_b"
    for name in ("checks", "headline"):
        assert "reatment b lost 5% of purchase rate, treatment_b_x none." in card(record, name)


def test_fields_stand_in_quotation_marks_and_not_in_backticks(record):
    record["checks"][0] |= {"detail": "name `deliveries` and `exposures` in the experiment file"}
    assert "Name “deliveries” and “exposures” in the experiment file." in card(record, "checks")


def test_acronyms_stay_in_capitals_and_p_values_have_two_digits():
    assert words.capital(words.metric_name("aov")) == "AOV"
    assert words.metric_name("ltv_tier") == "LTV tier"
    assert [p_value(each) for each in (0.03, 0.015, 0.0024, 0.21, 0.00001)] == [
        "0.030", "0.015", "0.0024", "0.21", "< 0.0001",
    ]  # fmt: skip


def test_a_picture_without_a_bar_is_not_explained(record):
    assert "The bar is the 95% interval" in card(record, "headline")
    for lift in record["lifts"]:
        lift["trusted"] = False
    assert "The bar is" not in card(record, "headline")
    assert "Nothing can be said yet: no comparison is to be trusted." in card(record, "intervals")


def test_arms_that_are_alike_by_a_small_p_value_say_how_rare_that_is(record):
    balance = {"name": "balance", "status": "pass", "detail": "the arms were alike before (p = 0.024)"}
    record["checks"] = [balance | {"p_value": 0.024}]
    assert "Of fair draws 1 in 20" in card(record, "checks")
    record["checks"] = [balance | {"p_value": 0.24}]
    assert "Of fair draws" not in card(record, "checks")


def test_decisions_stand_with_their_day_and_without_an_address(stories):
    shown = text_of(card(stories["win"], "decisions"))
    assert "21 Sep 2026 Run it on every high-value cart for six weeks ana" in shown
    assert "@" not in shown


def test_definitions_and_provenance_say_what_rebuilds_the_page(stories):
    record = stories["win"]
    assert "lift readout experiments/cart-free-shipping.yml --as-of 2026-11-23" in page(record)
    assert record["provenance"]["spec"] in page(record)
    assert "Share of customers with “Order Completed”, within 14d" in page(record)


def test_long_names_are_cut_in_charts_and_whole_in_tables(record):
    name = "share_of_customers_who_bought_something_expensive_within_the_first_fortnight"
    for lift in record["lifts"]:
        lift["metric"] = name
    shown = page(record)
    assert "…</text>" in shown
    assert name.replace("_", " ").capitalize() in shown


def test_the_level_is_not_rounded_to_certainty(record):
    assert Readout(changed(record, design=record["design"] | {"alpha": 0.001})).level == "99.9%"


def test_in_a_notebook_sections_are_styled_without_touching_anything_else(record):
    shown = Readout(record)._repr_html_()
    assert shown.startswith("<style>@scope (.lift){")
    assert ":root" not in shown
    assert "body{" not in shown
    assert (
        Readout(record)
        .headline()
        ._repr_html_()
        .startswith('<div class="lift mathjax_ignore tex2jax_ignore">')
    )
    assert Readout(record).propagation()._repr_html_() is None
    assert "nothing to show" in repr(Readout(record).propagation())


@pytest.mark.parametrize("text", ["[]", '{"schema": 1}', '{"schema": 99}', "{"])
def test_what_is_no_record_is_told_without_a_traceback(tmp_path, text):
    (tmp_path / "readout.json").write_text(text)
    with pytest.raises(DataError, match="is no readout record"):
        Readout.read(tmp_path / "readout.json")


def test_a_record_that_is_not_there_is_told_with_the_mend(tmp_path):
    with pytest.raises(DataError, match=r"no such file; run `lift readout SPEC`"):
        Readout.read(tmp_path / "readout.json")


def test_a_record_of_before_these_cards_still_makes_a_page(record):
    for name in ("sizes", "looks", "curve", "worth", "maturity", "history", "previous", "restatements"):
        record.pop(name, None)
    for name in ("complete_on", "breakdowns", "universal", "decisions"):
        record["design"].pop(name)
    assert "What moved?" in page(json.loads(json.dumps(record)))
