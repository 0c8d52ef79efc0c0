from __future__ import annotations

import json

import ldclient
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldclient.config import Config
from ldclient.integrations import Files

from toolkit.design.assignment import arm_of, bounds_of, bucket, digits, held_out_below, weights_of
from toolkit.lake.engine import connect, text

GOLDEN = {
    ("61", "c-000001"): "83e1d1a51475af5",
    ("cart-free-shipping", "42"): "84a072c49f60cf4",
    ("always-on-2026h2", "käthe"): "93525d503d2ef32",
}


@pytest.mark.parametrize(("prefix", "identifier"), GOLDEN)
def test_the_bucket_is_pinned(prefix, identifier):
    assert digits(prefix, identifier) == GOLDEN[prefix, identifier]


@pytest.mark.parametrize(("prefix", "identifier"), GOLDEN)
def test_the_engine_computes_the_same_bucket(prefix, identifier):
    with connect() as con:
        said = con.rows(f"SELECT substr(sha1({text(prefix)} || '.' || {text(identifier)}), 1, 15)")
    assert said == [(GOLDEN[prefix, identifier],)]


@pytest.mark.parametrize(
    "shares",
    [
        {"holdout": 0.1, "treatment": 0.9},
        {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3},
        {"a": 0.1, "b": 0.2, "c": 0.7},
    ],
)
def test_a_hundred_thousand_customers_get_the_arm_that_the_real_sdk_gives(tmp_path, shares):
    weights = weights_of(shares)
    flag = {
        "key": "split",
        "version": 1,
        "on": True,
        "salt": "unused",
        "variations": list(shares),
        "offVariation": 0,
        "rules": [],
        "targets": [],
        "prerequisites": [],
        "fallthrough": {
            "rollout": {
                "contextKind": "user",
                "seed": 61,
                "variations": [{"variation": at, "weight": each} for at, each in enumerate(weights.values())],
            }
        },
    }
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"flags": {"split": flag}}))
    source = Files.new_data_source(paths=[str(path)])
    bounds = bounds_of(shares)
    with ldclient.client.LDClient(Config("none", update_processor_class=source, send_events=False)) as client:
        different = [
            each
            for each in (f"c-{number:06d}" for number in range(100_000))
            if client.variation("split", ldclient.Context.create(each), "none") != arm_of(bounds, "61", each)
        ]
    assert different == []


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 1000), min_size=2, max_size=6), st.text())
def test_an_arm_is_where_the_bucket_falls_among_summed_shares(parts, identifier):
    total = sum(parts.values())
    shares = {arm: part / total for arm, part in parts.items()}
    place, upper = bucket("seed", identifier), 0.0
    expected = list(shares)[-1]
    for arm, weight in weights_of(shares).items():
        upper += weight / 100_000
        if place < upper:
            expected = arm
            break
    assert arm_of(bounds_of(shares), "seed", identifier) == expected


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8))
def test_weights_always_sum_to_the_whole(parts):
    shares = {str(at): part / sum(parts) for at, part in enumerate(parts)}
    assert sum(weights_of(shares).values()) == 100_000


def test_a_universal_holdout_takes_its_share():
    below = held_out_below(0.02)
    held = sum(digits("always-on", str(number)) < below for number in range(50_000))
    assert abs(held - 1000) < 4 * 1000**0.5
