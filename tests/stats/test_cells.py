from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toolkit.stats.cells import cells_of

ARMS = ("holdout", "offer", "discount")
LEVELS = st.dictionaries(
    st.sampled_from(["high", "mid", "low", "new", "other", "unknown"]),
    st.fixed_dictionaries({}, optional=dict.fromkeys(ARMS, st.integers(0, 40))),
    max_size=6,
)


def merged(counts, shown):
    cells = {}
    for level, name in shown.items():
        if name is not None:
            cell = cells.setdefault(name, dict.fromkeys(ARMS, 0))
            for arm, n in counts[level].items():
                cell[arm] += n
    return cells


def derivable(levels, shown):
    """Return every set of levels whose sum follows from the cells shown and the total of all levels."""
    names = sorted({name for name in shown.values() if name is not None})
    known = [[shown[level] == name for level in levels] for name in names] + [[True] * len(levels)]
    known = np.array(known, dtype=float)
    found = []
    for size in range(1, len(levels) + 1):
        for chosen in combinations(levels, size):
            wanted = np.array([level in chosen for level in levels], dtype=float)
            weights = np.linalg.lstsq(known.T, wanted, rcond=None)[0]
            if np.abs(known.T @ weights - wanted).max() < 1e-9:
                found.append(chosen)
    return found


@given(LEVELS, st.integers(1, 15))
def test_nothing_below_the_bound_follows_from_what_is_shown_and_the_arms_totals(counts, fewest):
    cells = cells_of(counts, fewest=fewest)
    arms = {arm for level in counts.values() for arm in level}
    assert set(cells.shown) == set(counts)
    levels = sorted(counts)
    everything = tuple(levels)
    for chosen in derivable(levels, cells.shown):
        if chosen == everything:  # the arms' totals stand elsewhere, whatever their size
            continue
        for arm in arms:
            assert sum(counts[level].get(arm, 0) for level in chosen) >= fewest


@given(LEVELS, st.integers(1, 15), st.randoms())
def test_the_order_of_levels_and_arms_makes_no_difference(counts, fewest, random):
    levels = list(counts)
    random.shuffle(levels)
    shuffled = {level: dict(sorted(counts[level].items(), reverse=True)) for level in levels}
    assert cells_of(shuffled, fewest=fewest) == cells_of(counts, fewest=fewest)


@given(LEVELS)
def test_what_is_shown_adds_up_to_all_customers_or_nothing_is_shown(counts):
    cells = cells_of(counts)
    shown = merged(counts, cells.shown)
    if shown:
        assert len(shown) >= 2
        for arm in ARMS:
            total = sum(level.get(arm, 0) for level in counts.values())
            assert sum(cell[arm] for cell in shown.values()) == total
    else:
        assert cells.notes


@given(LEVELS)
def test_a_level_is_hidden_only_where_it_is_small_or_was_needed_to_hide_one(counts):
    cells = cells_of(counts)
    arms = {arm for level in counts.values() for arm in level}
    together = [level for level, name in cells.shown.items() if name not in (None, level)]
    large = [level for level in together if min(counts[level].get(arm, 0) for arm in arms) >= 10]
    if large:
        largest = max(large, key=lambda level: min(counts[level].get(arm, 0) for arm in arms))
        rest = [level for level, name in cells.shown.items() if name == cells.shown[largest]]
        rest.remove(largest)
        assert any(sum(counts[level].get(arm, 0) for level in rest) < 10 for arm in arms)


def test_levels_that_are_large_enough_stand_as_they_are():
    cells = cells_of({"high": {"holdout": 10, "offer": 90}, "low": {"holdout": 20, "offer": 180}})
    assert cells.shown == {"high": "high", "low": "low"}
    assert cells.notes == ()


def test_a_single_small_level_takes_the_next_smallest_with_it():
    counts = {
        "high": {"holdout": 3, "offer": 50},
        "mid": {"holdout": 30, "offer": 300},
        "low": {"holdout": 40, "offer": 300},
        "new": {"holdout": 50, "offer": 500},
    }
    cells = cells_of(counts)
    assert cells.shown == {"high": "other", "mid": "other", "low": "low", "new": "new"}
    assert cells.notes == (
        "2 levels are shown together as “other”: 1 of them has fewer than 10 customers in an arm",
    )


def test_small_levels_that_are_enough_together_take_nobody_with_them():
    counts = {"a": {"x": 4, "y": 60}, "b": {"x": 6, "y": 60}, "c": {"x": 50, "y": 60}}
    assert cells_of(counts).shown == {"a": "other", "b": "other", "c": "c"}


def test_a_level_that_an_arm_lacks_is_small_there():
    counts = {"a": {"x": 90}, "b": {"x": 50, "y": 60}, "c": {"x": 70, "y": 70}, "d": {"x": 80, "y": 80}}
    assert cells_of(counts).shown == {"a": "other", "b": "other", "c": "c", "d": "d"}


def test_of_levels_with_equally_small_arms_the_one_with_fewer_customers_is_merged():
    counts = {
        "a": {"x": 4, "y": 60},
        "b": {"x": 20, "y": 90},
        "c": {"x": 20, "y": 80},
        "d": {"x": 90, "y": 90},
    }
    assert cells_of(counts).shown == {"a": "other", "b": "b", "c": "other", "d": "d"}


def test_where_one_level_would_remain_none_is_shown():
    cells = cells_of({"a": {"x": 4, "y": 60}, "b": {"x": 50, "y": 60}})
    assert cells.shown == {"a": None, "b": None}
    assert cells.notes == ("not broken down: fewer than two levels have 10 customers in every arm",)
    assert cells_of({"all": {"x": 400, "y": 600}}).shown == {"all": None}


def test_the_merged_level_never_takes_the_name_of_one_that_stands():
    counts = {
        "a": {"x": 4},
        "b": {"x": 12},
        "other": {"x": 50},
        "c": {"x": 60},
    }
    assert cells_of(counts).shown == {"a": "all other", "b": "all other", "other": "other", "c": "c"}
