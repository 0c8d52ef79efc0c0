"""Runs of signs: what is there is found, with its place, and nothing else is."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from toolkit.lake import signs as of
from toolkit.lake.signs import Signs
from toolkit.lake.state import FAN, taken_in

ANY = st.integers(0, 2**64 - 1) | st.integers(0, 50) | st.integers(2**64 - 50, 2**64 - 1)


def run(values):
    values = np.asarray(values, np.uint64)
    return Signs.sorted_from(values, np.arange(len(values), dtype=np.uint64))


@given(
    kept=arrays.arrays(np.uint64, st.integers(0, 200), elements=ANY),
    more=arrays.arrays(np.uint64, st.integers(0, 200), elements=ANY),
    leads=st.booleans(),
)
def test_a_run_finds_what_it_holds_and_where(kept, more, leads):
    found = run(kept).with_leads() if leads else run(kept)
    wanted = np.unique(np.concatenate([kept[::2], more]))
    here, places = found.found(wanted)
    assert here.tolist() == [each in set(kept.tolist()) for each in wanted.tolist()]
    assert kept[places.astype(int)].tolist() == wanted[here].tolist()


@pytest.mark.parametrize("many", [0, 1, 7, 8, 1000])
def test_leads_are_the_same_in_whatever_stretches_they_are_made(monkeypatch, many):
    made = run(np.random.default_rng(many).integers(0, 2**64, many, dtype=np.uint64))
    whole = made.with_leads().leads
    monkeypatch.setattr(of, "STRETCH", 64)
    assert made.with_leads().leads.tolist() == whole.tolist()
    assert 8 * len(whole) >= 8 * many


def test_most_strangers_are_told_without_a_search(monkeypatch):
    rng = np.random.default_rng(1)
    made = run(rng.integers(0, 2**64, 50_000, dtype=np.uint64)).with_leads()
    strangers = np.unique(rng.integers(0, 2**64, 50_000, dtype=np.uint64))
    looked_up, search = [], np.searchsorted
    monkeypatch.setattr(
        np, "searchsorted", lambda there, what: looked_up.append(len(what)) or search(there, what)
    )
    assert not made.found(strangers)[0].any()
    assert 0 < sum(looked_up) < 0.13 * len(strangers)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=300))
def test_files_that_take_in_others_stay_few_and_a_row_is_written_few_times(news):
    files, written = [], 0
    for new in news:
        taken = taken_in(files, new)
        merged = new + sum(files[len(files) - taken :])
        written += merged if taken else new
        files = [*files[: len(files) - taken], merged]
    assert sum(files) == sum(news)
    alike = [big for small, big in pairwise(reversed(files)) if big <= 2 * small]
    assert len(alike) < FAN * math.log2(2 + sum(news))
    assert written <= sum(news) * (2 + math.log2(2 + sum(news)))


def test_equal_files_are_merged_by_fives():
    sizes, counts = [], []
    for _ in range(125):
        taken = taken_in(sizes, 1)
        sizes = [*sizes[: len(sizes) - taken], 1 + sum(sizes[len(sizes) - taken :])]
        counts.append(len(sizes))
    assert sizes == [125]
    assert max(counts) == 12


def test_sorted_stretches_put_together_are_sorted_with_their_places():
    one, other = run([5, 1, 9]), run([7, 1])
    both = Signs.sorted_from(
        np.concatenate([one.signs, other.signs]), np.concatenate([one.places, other.places + 10]), runs=True
    )
    assert both.signs.tolist() == [1, 1, 5, 7, 9]
    assert both.places.tolist() == [1, 11, 0, 10, 2]
