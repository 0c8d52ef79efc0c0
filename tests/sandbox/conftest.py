from __future__ import annotations

from collections.abc import Iterator

import pytest

from toolkit.sandbox import Sandbox


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=3, scale=0.05, limits=False) as served:
        yield served


@pytest.fixture(scope="module")
def still() -> Iterator[Sandbox]:
    """A sandbox for tests that only look."""
    with Sandbox(seed=3, scale=0.2, limits=False) as served:
        yield served
