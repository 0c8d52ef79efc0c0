from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.example import EXAMPLE
from toolkit.design.lookup import values_of
from toolkit.design.parse import parse_experiment
from toolkit.design.sync import desired_members
from toolkit.design.traits import number_of
from toolkit.errors import SpecError

BOOLEAN = "  - {name: free_shipping_eligible, type: boolean, arms: [free_shipping], default: false, max_age: 5m, flag: free-shipping-banner, owner: retention}\n"
BAND = """\
  - name: offer_tier
    type: band
    attribute: ltv_90d
    bands: {low: [0, 50], high: [50, null]}
    arms: [free_shipping]
    default: none
"""
ENUM = """\
  - name: offer
    type: enum
    values: {free_shipping: free_shipping}
    escalate: {arms: [free_shipping], to: ten_percent, after: 14d}
    default: none
"""


def with_traits(text, **changes):
    whole = EXAMPLE.replace(BOOLEAN, text)
    for before, after in changes.items():
        whole = whole.replace(before, after)
    return parse_experiment(whole, "x.yml")


def band(**changes):
    return with_traits(BAND, **changes).traits[0]


# ---- bands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "low"),
        (49.999999, "low"),
        (50, "high"),
        (10**400, "none"),
        (-0.01, "none"),
        ("49.99", "low"),
        (" 5e1 ", "high"),
        (Decimal("49.99"), "low"),
        (None, "none"),
        ("", "none"),
        ("n/a", "none"),
        ("nan", "none"),
        ("inf", "none"),
        ("1_000", "none"),
        ("٣", "none"),
        (True, "none"),
        (float("inf"), "none"),
        ([60], "none"),
    ],
)
def test_a_band_is_from_its_first_number_to_below_its_second_and_anything_else_is_the_default(
    value, expected
):
    assert band().value_of("free_shipping", attributes={"ltv_90d": value}) == expected


def test_a_band_reaches_treated_arms_only_and_asks_for_its_own_attribute():
    trait = band()
    assert trait.value_of("holdout", attributes={"ltv_90d": 60}) == "none"
    assert trait.value_of("free_shipping") == "none"
    assert trait.value_of("free_shipping", attributes={"ltv": 60}) == "none"
    assert trait.segment_of("free_shipping", attributes={"ltv_90d": 60}) == "lift-offer-tier-high"
    assert trait.segment_of("free_shipping") is None
    assert trait.segments() == ("lift-offer-tier-low", "lift-offer-tier-high")


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none()))
def test_whatever_an_attribute_holds_a_customer_is_in_one_band_or_has_the_default(value):
    bands = with_traits(BAND.replace("[0, 50]", "[null, 50]")).traits[0]
    told = bands.value_of("free_shipping", attributes={"ltv_90d": value})
    number = number_of(value)
    assert told == ("none" if number is None else "low" if number < 50 else "high")


WRONG = {
    "overlapping bands": (BAND, "[50, null]", "[49, null]", "low and high overlap"),
    "a band without width": (BAND, "[0, 50]", "[50, 50]", "the first must be the smaller"),
    "no attribute": (BAND, "    attribute: ltv_90d\n", "", "a band trait needs `arms`, the `attribute`"),
    "no bands": (BAND, "    bands: {low: [0, 50], high: [50, null]}\n", "", "and `bands`"),
    "a default that is a band": (BAND, "default: none", "default: low", "is no band's name"),
    "a default that YAML takes for false": (ENUM, "default: none", "default: off", "quote off, no and on"),
    "an empty default": (ENUM, "default: none", "default: ''", "`default` must be a text"),
    "bands on an enum": (BAND, "type: band", "type: enum", "belong to `type: band`; this is `type: enum`"),
    "an attribute on a boolean": (BAND, "type: band", "type: boolean", "this is `type: boolean`"),
    "a value without letters": (ENUM, "to: ten_percent", "to: '%'", "'%' has no letter or digit"),
    "an empty value": (ENUM, "to: ten_percent", "to: ''", "has no letter or digit"),
    "a misspelt schema": (ENUM, "default: none", "default: none\n    schma: 2", "did you mean `schema`?"),
    "a schema below one": (ENUM, "default: none", "default: none\n    schema: 0", "0 must be at least 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_trait_that_cannot_be_is_refused_by_field_and_mend(case):
    text, before, after, said = WRONG[case]
    assert before in text
    with pytest.raises(SpecError, match="x.yml:\\d+: traits\\[0\\]") as refused:
        with_traits(text.replace(before, after))
    assert said in str(refused.value)


# ---- what a contract says --------------------------------------------------------------------------------


def test_a_contract_has_a_version_an_age_and_a_conservative_default_even_where_the_file_says_little():
    for text, kind, age, default in (
        ("  - {name: x, arms: [free_shipping]}\n", "boolean", timedelta(hours=1), False),
        (ENUM, "enum", timedelta(days=1), "none"),
        (BAND, "band", timedelta(days=1), "none"),
    ):
        trait = with_traits(text).traits[0]
        assert (trait.type, trait.age_limit, trait.default, trait.schema_version) == (kind, age, default, 1)
        assert default not in trait.positive_values
    said = with_traits(ENUM.replace("default: none", "default: none\n    schema: 3\n    max_age: 5m")).traits[
        0
    ]
    assert (said.schema_version, said.age_limit) == (3, timedelta(minutes=5))


def test_an_escalated_customer_has_the_second_value_only_in_the_arms_that_escalate():
    two = {
        "arms: {holdout: 0.10, free_shipping: 0.90}": "arms: {holdout: 0.1, free_shipping: 0.4, plain: 0.5}",
        "values: {free_shipping: free_shipping}": "values: {free_shipping: free_shipping, plain: free_shipping}",
    }
    trait = with_traits(ENUM, **two).traits[0]
    assert trait.value_of("free_shipping") == "free_shipping"
    assert trait.value_of("free_shipping", escalated=True) == "ten_percent"
    assert trait.value_of("plain", escalated=True) == "free_shipping"
    assert trait.value_of("holdout", escalated=True) == "none"


# ---- segments and look-up say the same -------------------------------------------------------------------

CUSTOMERS = st.sampled_from([f"c{n}" for n in range(12)])
THREE = with_traits(BOOLEAN + ENUM + BAND)


@settings(max_examples=50, deadline=None)
@given(
    arms=st.dictionaries(CUSTOMERS, st.sampled_from(["holdout", "free_shipping"])),
    barred=st.sets(CUSTOMERS),
    escalated=st.sets(CUSTOMERS),
    attributes=st.dictionaries(
        CUSTOMERS, st.fixed_dictionaries({"ltv_90d": st.sampled_from([-1, 10, "60", "?"])})
    ),
    over=st.booleans(),
)
def test_the_look_up_says_of_everybody_what_the_segments_say(arms, barred, escalated, attributes, over):
    found = values_of(THREE, arms, barred=barred, escalated=escalated, attributes=attributes, over=over)
    segments = desired_members(
        THREE, arms, do_not_offer=barred, escalated=escalated, attributes=attributes, over=over
    )
    for trait in THREE.traits:
        for value, segment in zip(trait.positive_values, trait.segments(), strict=True):
            told = {who for who, values in found.items() if values[trait.name] == value}
            assert told == segments[segment]
    held = {who for who, arm in arms.items() if arm == "holdout"}
    assert not found.keys() & (held | barred)
    for values in found.values():
        assert values.keys() == {"free_shipping_eligible", "offer", "offer_tier"}
        assert values != {"free_shipping_eligible": False, "offer": "none", "offer_tier": "none"}


# ---- protection of the margin ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "protected"),
    [
        ({"margin": 0.15}, False),
        ({"margin": "0.15"}, False),
        ({"margin": 0.1499999}, True),
        ({"margin": ""}, True),
        ({"margin": "unknown"}, True),
        ({"other": 1}, True),
        ({}, True),
    ],
)
def test_a_margin_below_the_limit_or_unknown_bars_every_offer(attributes, protected):
    guarded = EXAMPLE.replace(
        "do_not_offer:", "margin_protection: {attribute: margin, below: 0.15}\ndo_not_offer:"
    )
    experiment = parse_experiment(guarded, "x.yml")
    assert experiment.margin_protection.protects(attributes) is protected
    assert experiment.trait_attributes == ("margin",)
