from __future__ import annotations

import pytest

from tests.example import EXAMPLE
from toolkit.design.advice import advice_on
from toolkit.design.catalogue import catalogue_of, clashes, conflicts
from toolkit.design.parse import parse_experiment

TRAIT = "{name: free_shipping_eligible, type: boolean, arms: [free_shipping], default: false, max_age: 5m, flag: free-shipping-banner, owner: retention}"
SOUND = EXAMPLE.replace(TRAIT, TRAIT.replace("}", ", meaning: Sees the banner.}"))


def parsed(*changes, text=SOUND, key="cart-free-shipping"):
    for before, after in (("key: cart-free-shipping", f"key: {key}"), *changes):
        assert before in text, before
        text = text.replace(before, after)
    return parse_experiment(text, "x.yml")


def advised(*changes):
    return [str(each) for each in advice_on("x.yml", parsed(*changes))]


def only(said):
    assert len(said) == 1, said
    return str(said[0])


# ---- one file --------------------------------------------------------------------------------------------


def test_a_sound_file_needs_no_advice():
    assert advised() == []


def boolean(name):
    return (
        f"{{name: {name}, arms: [free_shipping], default: false, max_age: 1h, flag: f, owner: o, meaning: m}}"
    )


ENUM = (
    "{name: offer, type: enum, values: {free_shipping: VALUE}, default: none, max_age: 1h, flag: f, owner: o, "
    "meaning: m, escalate: {arms: [free_shipping], to: ten_percent, after: 14d}}"
)
ONE = {
    "eleven traits": (
        [
            (
                TRAIT[:-1] + ", meaning: Sees the banner.}",
                "\n  - ".join(boolean(f"offer_{n}_eligible") for n in range(11)),
            )
        ],
        "x.yml: traits: 11 are many; more than 10",
    ),
    "a missing owner": (
        [(", owner: retention", "")],
        "x.yml: traits[0] (free_shipping_eligible): has no `owner`; write it down",
    ),
    "a missing flag and meaning": (
        [("flag: free-shipping-banner, ", ""), (", meaning: Sees the banner.", "")],
        "has no `flag` and no `meaning`",
    ),
    "a missing default": (
        [("default: false, ", "")],
        "has no `default`; false is taken; write `default: false`",
    ),
    "a missing age": ([("max_age: 5m, ", "")], "has no `max_age`; 1h is taken, as usual for `type: boolean`"),
    "an offer that nobody is spared": (
        [("do_not_offer: {attribute: do_not_offer}\n", "")],
        "looks like an offer, and the file has no `do_not_offer`; add",
    ),
    "an age that no push can keep": (
        [("max_age: 5m", "max_age: 30s")],
        "may be 30s old, and a scheduled push runs at most every 1m",
    ),
    "an age that the schedule cannot keep": (
        [("do_not_offer:", "schedule: {push: 15m}\ndo_not_offer:")],
        "may be 5m old, and `schedule.push` says that it is pushed every 15m; write `max_age: 15m` or more",
    ),
    "an age that the warehouse cannot keep": (
        [("source: customerio\n  segment: 7", "source: warehouse\n  sql: people.sql")],
        "the vendor's warehouse files come at most every 15m",
    ),
    "addresses as keys": (
        [("key: id,", "key: email,")],
        "x.yml: identity.key: e-mail addresses must not become segment keys",
    ),
    "a segment that would stand for the holdout": (
        [("free_shipping_eligible", "cart_free_shipping_holdout")],
        "`cart_free_shipping_holdout` and the holdout of cart-free-shipping would share the segment "
        "lift-cart-free-shipping-holdout",
    ),
    "protection that nobody can tell": (
        [
            (SOUND[SOUND.index("cohort:\n") : SOUND.index("arms:")], ""),
            ("assignment: {source: hash}", "assignment: {source: files}"),
        ],
        "x.yml: do_not_offer: the file has no `cohort:` to tell who has the attribute",
    ),
    "no verdict": ([(", role: primary", "")], "x.yml: metrics: none has `role: primary`"),
    "a discount from the start": (
        [(TRAIT[:-1] + ", meaning: Sees the banner.}", ENUM.replace("VALUE", "five_percent"))],
        "the first value five_percent looks like a discount; begin with an offer that is none",
    ),
    "an escalation to the same": (
        [(TRAIT[:-1] + ", meaning: Sees the banner.}", ENUM.replace("VALUE", "ten_percent"))],
        "`escalate.to` is what free_shipping has from the start",
    ),
    "two values of one segment": (
        [
            (
                TRAIT[:-1] + ", meaning: Sees the banner.}",
                ENUM.replace("VALUE", "ten-percent"),
            )
        ],
        "`offer = ten_percent` and `offer = ten-percent` would share the segment lift-offer-ten-percent",
    ),
}


@pytest.mark.parametrize("case", ONE)
def test_what_deserves_a_second_look_is_told_by_file_field_and_mend(case):
    changes, said = ONE[case]
    found = advised(*changes)
    assert [each for each in found if said in each], found
    assert all(each.startswith("x.yml: ") for each in found)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("is_vip_segment", True),
        ("in_segment_7", True),
        ("segment_a", True),
        ("vip_cohort", True),
        ("is_vip", True),
        ("in_list_3", True),
        ("free_shipping_eligible", False),
        ("is_eligible_for_gift", False),
        ("island_pickup", False),
        ("may_open_early", False),
    ],
)
def test_a_boolean_is_named_after_what_may_be_offered_not_after_where_someone_sits(name, told):
    assert (
        bool([each for each in advised(("free_shipping_eligible", name)) if "where a customer sits" in each])
        is told
    )


def test_an_age_that_the_schedule_just_keeps_is_no_matter():
    assert advised(("do_not_offer:", "schedule: {push: 5m}\ndo_not_offer:")) == []


# ---- several files ---------------------------------------------------------------------------------------

LATER = (("start: 2026-10-05", "start: 2027-06-01"), ("end: 2026-12-28", "end: 2027-08-01"))


def test_two_experiments_may_share_a_trait_one_after_the_other():
    assert conflicts({"a.yml": parsed(), "b.yml": parsed(*LATER, key="later")}) == ()


def test_two_experiments_at_one_time_would_empty_each_others_segment():
    said = only(conflicts({"a.yml": parsed(), "b.yml": parsed(key="other")}))
    assert said.startswith("b.yml: traits[0] (free_shipping_eligible): is written by a.yml at the same time")
    assert "lift-free-shipping-eligible" in said


def test_experiments_touch_as_long_as_the_last_primary_window_is_open():
    before = parsed()  # ends on 2026-12-28, and counts for 14 days more
    for start, at_once in (("2027-01-10", True), ("2027-01-11", False)):
        after = parsed(("start: 2026-10-05", f"start: {start}"), LATER[1], key="later")
        assert bool(conflicts({"a.yml": before, "b.yml": after})) is at_once


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (("meaning: Sees the banner.", "meaning: Sees two banners."), "meaning"),
        (("flag: free-shipping-banner", "flag: another"), "flag"),
        (("context_kind: user", "context_kind: account"), "identity.context_kind"),
        (
            (
                TRAIT[:-1] + ", meaning: Sees the banner.}",
                "{name: free_shipping_eligible, type: enum, values: {free_shipping: yes_please}, default: none, flag: free-shipping-banner, meaning: Sees the banner.}",
            ),
            "type, values, default",
        ),
    ],
)
def test_one_name_is_one_contract_unless_its_schema_was_raised(change, field):
    said = only(conflicts({"a.yml": parsed(), "b.yml": parsed(change, *LATER, key="later")}))
    assert f"differs from the trait of that name in a.yml in {field}" in said
    assert "raise `schema`" in said
    raised = parsed(change, *LATER, ("flag: ", "schema: 2, flag: "), key="later")
    assert conflicts({"a.yml": parsed(), "b.yml": raised}) == ()


def test_names_that_differ_in_signs_alone_share_a_segment():
    other = parsed(("free_shipping_eligible", "free__shipping_eligible"), *LATER, key="later")
    said = only(conflicts({"a.yml": parsed(), "b.yml": other}))
    assert "`free__shipping_eligible` and `free_shipping_eligible` in a.yml would share the segment" in said


def test_a_trait_may_not_take_the_segment_of_another_experiments_holdout():
    other = parsed(("free_shipping_eligible", "cart_free_shipping_holdout"), *LATER, key="later")
    said = only(conflicts({"a.yml": parsed(), "b.yml": other}))
    assert "the holdout of cart-free-shipping in a.yml" in said
    assert clashes("b.yml", other) == ()


def test_a_trait_may_not_take_the_segment_of_a_universal_holdout_either():
    other = parsed(
        ("free_shipping_eligible", "always_on_2026h2_holdout"),
        ("  universal_holdout: {key: always-on-2026h2, share: 0.02}\n", ""),
        *LATER,
        key="later",
    )
    assert "the universal holdout always-on-2026h2 in a.yml" in only(
        conflicts({"a.yml": parsed(), "b.yml": other})
    )


def test_a_key_stands_in_one_file():
    assert "is also the key of a.yml" in only(conflicts({"a.yml": parsed(), "b.yml": parsed(*LATER)}))


def test_a_folder_of_more_than_ten_traits_is_told_whoever_is_asked():
    files = {
        f"{n}.yml": parsed(("free_shipping_eligible", f"offer_{n}_eligible"), key=f"e{n}") for n in range(11)
    }
    assert "have 11 traits" in only(conflicts(files, of="3.yml"))
    assert conflicts({name: files[name] for name in list(files)[:10]}) == ()


def test_only_what_a_file_is_part_of_is_told_of_it():
    files = {"a.yml": parsed(), "b.yml": parsed(key="other"), "c.yml": parsed(*LATER, key="later")}
    assert conflicts(files, of="c.yml") == ()
    assert only(conflicts(files, of="a.yml")).startswith(
        "a.yml: traits[0] (free_shipping_eligible): is written by b.yml"
    )


def test_the_contract_in_force_is_the_newest_schema_whichever_file_comes_first():
    raised = parsed(("flag: ", "schema: 2, flag: "), key="a-first")
    (entry,) = catalogue_of({"a.yml": raised, "b.yml": parsed(*LATER, key="later")})
    assert entry.contract.schema_version == 2
    assert [use.file for use in entry.uses] == ["b.yml", "a.yml"]
