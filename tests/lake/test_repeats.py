"""Repeats found by sorting signs are those that counting finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.lake import engine
from toolkit.lake.engine import Engine


@given(st.lists(st.integers(0, 12) | st.integers(0, 2**64 - 1), max_size=60))
def test_sorting_finds_what_stands_more_than_once(numbers):
    signs = np.array(numbers, dtype=np.uint64)
    values, counts = np.unique(signs, return_counts=True)
    assert engine._repeats(signs.copy()).tolist() == values[counts > 1].tolist()


@pytest.mark.parametrize("many", [1, 10**9])
def test_both_ways_of_looking_for_repeats_agree(monkeypatch, many):
    monkeypatch.setattr(engine, "MANY_KEYS", many)
    with Engine() as con:
        keys = "SELECT CASE WHEN i % 10 > 0 THEN hash(i % 70000) END AS sign FROM range(100000) r(i)"
        found = con.repeated("again", keys, at_most=100_000)
        wanted = {n for n in range(30_000) if n % 10}
        rows = con.one("SELECT count(*), count(DISTINCT sign) FROM again")
        missed = con.one(
            "SELECT count(*) FROM range(30000) r(i) WHERE i % 10 > 0 AND hash(i) NOT IN (SELECT sign FROM again)"
        )[0]
    assert found == (len(wanted), 90_000)
    assert rows == (len(wanted), len(wanted))
    assert missed == 0


def test_an_engine_begun_ahead_is_the_next_one_and_no_later_one():
    engine.open_ahead()
    with engine.connect() as first, engine.connect() as second:
        first.table("mine", "SELECT 1 AS one")
        assert first.one("FROM mine") == (1,)
        with pytest.raises(second.errors):
            second.rows("FROM mine")
    assert engine._AHEAD == []
