"""Answers that take too long or never end: httpx bounds the time of each read, not that of a whole answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import cast

import httpx

__all__ = ["bound"]


def bound(
    answer: httpx.Response, clock: Callable[[], float], *, seconds: float, bytes_per_second: float = inf
) -> None:
    """Bound how long the body of `answer`, which is not read yet, may take from now on.

    Reading it raises `httpx.ReadTimeout` once it has lasted `seconds`, and a second more for every
    `bytes_per_second` bytes that came.
    """
    answer.stream = _Bound(cast("httpx.SyncByteStream", answer.stream), clock, seconds, bytes_per_second)


class _Bound(httpx.SyncByteStream):
    def __init__(
        self,
        stream: httpx.SyncByteStream,
        clock: Callable[[], float],
        seconds: float,
        bytes_per_second: float,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._until = clock() + seconds
        self._bytes_per_second = bytes_per_second

    def __iter__(self) -> Iterator[bytes]:
        for some in self._stream:
            self._until += len(some) / self._bytes_per_second
            if self._clock() > self._until:
                raise httpx.ReadTimeout("the answer began and did not end")
            yield some

    def close(self) -> None:
        self._stream.close()
