"""Answers that take too long or never end: httpx bounds the time of each read, not that of a whole answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from math import inf
from threading import Timer
from typing import Any, cast

import httpx

__all__ = ["Patience"]


class Patience:
    """Sends by an `httpx.Client`, one request after the other, and waits for no answer for ever.

    Args:
        client: that sends.
        clock: seconds that only ever grow.
    """

    def __init__(self, client: httpx.Client, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._socket: socket.socket | None = None
        self._late = False

    def stream(
        self, request: httpx.Request, *, seconds: float, bytes_per_second: float = inf
    ) -> httpx.Response:
        """Return the answer, its body not read yet; whoever asks closes it.

        Raises `httpx.ReadTimeout` where it does not begin within `seconds`. Reading the body raises that too, once
        it lasted as long again, and a second more for every `bytes_per_second` bytes that came.
        """
        self._late = False
        request.extensions["trace"] = self._note_socket
        timer = Timer(seconds, self._shut_down)  # between reads nobody else has a say
        timer.daemon = True
        timer.start()
        try:
            answer = self._client.send(request, stream=True)
        except httpx.TransportError:
            if self._late:
                raise httpx.ReadTimeout("the answer did not begin") from None
            raise
        finally:
            timer.cancel()
            timer.join()
        stream = cast("httpx.SyncByteStream", answer.stream)
        answer.stream = _Bound(stream, self._clock, seconds, bytes_per_second)
        return answer

    def _note_socket(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")

    def _shut_down(self) -> None:
        if self._socket is not None:
            self._late = True
            with suppress(OSError):  # by the plain socket: TLS' own would change what is being read
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


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
