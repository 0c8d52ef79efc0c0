"""Group commit: whatever waits goes into one transaction, so that a burst costs a few waits for the disk, not many."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from toolkit.errors import StorageError
from toolkit.lake.inbox import Inbox
from toolkit.lake.received import Arrival, Outcome, Waiting

__all__ = ["Committer"]

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500
"""Arrivals of one transaction: few enough that it never takes long, enough that a burst takes few."""
MOST_WAITING = 20_000
"""Beyond this, what comes is refused; the vendor sends it again."""


@dataclass(frozen=True, slots=True)
class _Waiter:
    arrival: Arrival
    loop: asyncio.AbstractEventLoop
    told: asyncio.Future[Outcome]


class Committer:
    """Writes to the inbox from a thread of its own.

    Args:
        path: of the inbox.
        on_new: called in that thread after a commit that brought something new.
        clock: seconds since 1970.
    """

    def __init__(
        self, path: Path, *, on_new: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._on_new = on_new
        self._clock = clock
        self._queue: SimpleQueue[_Waiter | Future[Waiting] | None] = SimpleQueue()
        self._opened: Future[None] = Future()
        self._thread = Thread(target=self._run, name="inbox-commits", daemon=True)

    def start(self) -> None:
        """Open the inbox.

        Raises:
            StorageError: it cannot be opened.
        """
        self._thread.start()
        self._opened.result()

    def stop(self) -> None:
        """Commit what waits, and close."""
        self._queue.put(None)
        self._thread.join()

    async def commit(self, arrival: Arrival) -> Outcome:
        """Return what became of `arrival`, once it is on the disk.

        Raises:
            StorageError: it is not there, and has to be sent again.
        """
        if self._queue.qsize() > MOST_WAITING:
            raise StorageError(f"{self._path}: {MOST_WAITING:,} arrivals wait for the disk already")
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Outcome] = loop.create_future()
        self._queue.put(_Waiter(arrival, loop, told))
        return await told

    async def waiting(self) -> Waiting:
        """Return how much is in the inbox; it can be written if this answers.

        Raises:
            StorageError: it cannot.
        """
        asked: Future[Waiting] = Future()
        self._queue.put(asked)
        return await asyncio.wrap_future(asked)

    def _run(self) -> None:
        try:
            inbox = Inbox(self._path)
        except StorageError as refused:
            self._opened.set_exception(refused)
            return
        self._opened.set_result(None)
        with inbox:
            while self._serve(inbox, self._next()):
                pass

    def _next(self) -> list[_Waiter | Future[Waiting] | None]:
        """Wait for something, and return it with whatever else is there."""
        some = [self._queue.get()]
        while len(some) < MOST_AT_ONCE and some[-1] is not None:
            try:
                some.append(self._queue.get_nowait())
            except Empty:
                break
        return some

    def _serve(self, inbox: Inbox, some: Sequence[_Waiter | Future[Waiting] | None]) -> bool:
        """Commit and answer; return whether to go on."""
        waiters = [each for each in some if isinstance(each, _Waiter)]
        if waiters:
            self._commit(inbox, waiters)
        for asked in some:
            if isinstance(asked, Future) and asked.set_running_or_notify_cancel():
                try:
                    inbox.accept([], at=self._clock())
                    asked.set_result(inbox.waiting())
                except StorageError as refused:
                    asked.set_exception(refused)
        return some[-1] is not None

    def _commit(self, inbox: Inbox, waiters: Sequence[_Waiter]) -> None:
        told: Sequence[Outcome] | StorageError
        try:
            told = inbox.accept([each.arrival for each in waiters], at=self._clock())
        except StorageError as refused:
            logger.error("not kept, to be sent again: %d arrivals: %s", len(waiters), refused)  # noqa: TRY400
            told = refused
        with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            waiters[0].loop.call_soon_threadsafe(_answer, waiters, told)
        if not isinstance(told, StorageError) and not {"repeated", "quarantined"}.issuperset(told):
            self._on_new()


def _answer(waiters: Sequence[_Waiter], told: Sequence[Outcome] | StorageError) -> None:
    """Tell each waiter, in the loop's own thread; who has given up meanwhile is left alone."""
    for at, waiter in enumerate(waiters):
        if waiter.told.done():
            continue
        if isinstance(told, StorageError):
            waiter.told.set_exception(told)
        else:
            waiter.told.set_result(told[at])
