"""A LaunchDarkly SDK hook that writes down who was served what, for `lift pull` to read.

    from ldclient.config import Config
    from toolkit.exposure_hook import ExposureHook

    hook = ExposureHook("/var/spool/lift", flags={"free-shipping-banner"})
    client = LDClient(Config(sdk_key, hooks=[hook]))

Evaluations are only noted in memory, once per flag, context, variation and hour; a thread of its own writes them to
files of JSON lines, each finished under its name at once. Nothing is raised into the application: what cannot be
kept is dropped, and counted in `dropped`. Of a context its kind and key are written, never attributes; anonymous
contexts and keys that look like e-mail addresses are left out. Needs the SDK, and nothing else.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ldclient.evaluation import EvaluationDetail
from ldclient.hook import EvaluationSeriesContext, Hook, Metadata

__all__ = ["ExposureHook"]

HOUR = 3600
Key = tuple[str, str, str, int | None, int]
"""Flag, context kind, context key, variation, and the hour since 1970."""
Row = dict[str, Any]


class ExposureHook(Hook):  # type: ignore[misc]
    """Notes evaluations and hands them over in batches. It may be used by many threads, and after a fork.

    Args:
        spool: the folder to write files into, or what takes a batch of rows (it is called in the hook's thread).
        flags: only these; all where None.
        most: so many rows are held at most, and remembered in an hour so as not to be written twice.
        every: seconds between batches.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        spool: str | Path | Callable[[Sequence[Row]], None],
        *,
        flags: Collection[str] | None = None,
        most: int = 100_000,
        every: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hand_over = spool if callable(spool) else _Spool(Path(spool))
        self._flags = None if flags is None else frozenset(flags)
        self._most, self._every, self._clock = most, every, clock
        self._dropped = 0
        self._begin()
        if hasattr(os, "register_at_fork"):
            mine = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _begin_anew(mine))
        atexit.register(self.close)

    @property
    def metadata(self) -> Metadata:
        """Return the hook's name."""
        return Metadata(name="lift-exposures")

    @property
    def dropped(self) -> int:
        """Return how many evaluations were not kept: there were too many at once, or they could not be written."""
        return self._dropped

    def before_evaluation(
        self,
        series_context: EvaluationSeriesContext,  # noqa: ARG002
        data: dict[str, Any],
    ) -> dict[str, Any]:
        """Do nothing."""
        return data

    def after_evaluation(
        self, series_context: EvaluationSeriesContext, data: dict[str, Any], detail: EvaluationDetail
    ) -> dict[str, Any]:
        """Note what was served; it takes microseconds, and waits for nothing."""
        try:
            if self._flags is None or series_context.key in self._flags:
                self._note(series_context, detail)
        except Exception:  # noqa: BLE001 (whatever it is, the application goes on)
            self._dropped += 1
        return data

    def flush(self, *, timeout: float = 5.0) -> bool:
        """Have everything noted so far written; return whether it was within `timeout` seconds."""
        thread, done = self._thread, threading.Event()
        if thread is None or not thread.is_alive():
            return self._write()
        self._waiting.append(done)
        self._wake.set()
        return done.wait(timeout) and not self._rows

    def close(self) -> None:
        """Write what is left and end the thread; what is evaluated afterwards is dropped."""
        atexit.unregister(self.close)
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(5.0)

    def _begin(self) -> None:
        """Begin with nothing noted: at first, and in the child of a fork, whose parent writes its own."""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._waiting: list[threading.Event] = []
        self._rows: list[Row] = []
        self._known: set[Key] = set()
        self._hour = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def _note(self, asked: EvaluationSeriesContext, detail: EvaluationDetail) -> None:
        now = self._clock()
        hour = int(now // HOUR)
        context = asked.context
        for each in (context.get_individual_context(at) for at in range(context.individual_context_count)):
            if each is None or each.anonymous or not each.key or "@" in each.key:
                continue
            key = (asked.key, each.kind, each.key, detail.variation_index, hour)
            with self._lock:
                if hour > self._hour:
                    self._known, self._hour = set(), hour
                if key in self._known:
                    continue
                if self._closed or len(self._rows) >= self._most or len(self._known) >= self._most:
                    self._dropped += 1
                    continue
                self._known.add(key)
                self._rows.append(_row(key, detail, now))
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="lift-exposures", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._every)
            self._wake.clear()
            closed, waiting, self._waiting = self._closed, self._waiting, []
            self._write()
            for each in waiting:
                each.set()
            if closed:  # before what was noted last was written
                self._dropped += len(self._rows)
                return

    def _write(self) -> bool:
        with self._lock:
            rows, self._rows = self._rows, []
        if not rows:
            return True
        try:
            self._hand_over(rows)
        except Exception:  # noqa: BLE001 (a full disk must not end the thread; it may have room later)
            with self._lock:
                again = rows[: max(0, self._most - len(self._rows))]
                self._rows = again + self._rows
                self._dropped += len(rows) - len(again)
            return False
        return True


def _begin_anew(hook: weakref.ref[ExposureHook]) -> None:
    """Let a child of a fork begin with nothing noted."""
    known = hook()
    if known is not None:
        known._begin()  # noqa: SLF001


class _Spool:
    """A folder of finished files; a file that is being written begins with a dot, and is nobody's to read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, rows: Sequence[Row]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"exposures-{rows[0]['timestamp'][:13].replace(':', '')}-{uuid.uuid4().hex}.jsonl"
        part = self._folder / f".{name}"
        try:
            with part.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
            part.replace(self._folder / name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _row(key: Key, detail: EvaluationDetail, now: float) -> Row:
    """Return an evaluation in the columns of LaunchDarkly's Data Export; the value is JSON."""
    flag, kind, customer, variation, _ = key
    return {
        "flag_key": flag,
        "context_kind": kind,
        "context_key": customer,
        "variation_index": variation,
        "variation_value": json.dumps(detail.value, sort_keys=True, default=str),
        "reason_kind": (detail.reason or {}).get("kind"),
        "timestamp": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
    }
