from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toolkit.design.propagation import propagation_of

SECONDS = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)


@given(SECONDS)
def test_quantiles_are_those_of_numpy(seconds):
    found = propagation_of("offer", seconds, max_age_seconds=60)
    assert np.allclose([found.p50_seconds, found.p95_seconds], np.quantile(seconds, [0.5, 0.95]))


@given(SECONDS, st.lists(st.floats(0, 1e6)))
def test_who_still_waits_is_late_once_the_contract_is_broken(seconds, waiting):
    found = propagation_of("offer", seconds, waiting=waiting, max_age_seconds=300)
    assert found.late == sum(each > 300 for each in seconds) + sum(each > 300 for each in waiting)
    assert (found.customers, found.waiting) == (len(seconds), len(waiting))


def test_where_nobody_got_it_there_is_no_number():
    found = propagation_of("offer", [], waiting=[10.0, 20.0], max_age_seconds=15)
    assert (found.p50_seconds, found.p95_seconds, found.late) == (None, None, 1)
