from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.receiver.served import SPEC, Receiver


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    """Start receivers in one folder with the experiment `cart`; what still runs at the end is killed."""
    started: list[Receiver] = []

    def start(*options: str, before: Callable[[], None] | None = None, **variables: str) -> Receiver:
        (tmp_path / "experiments").mkdir(exist_ok=True)
        (tmp_path / "experiments" / "cart.yml").write_text(SPEC.format(key="cart"))
        started.append(Receiver(tmp_path, **variables))
        return started[-1].start(*options, before=before)

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait(10)
