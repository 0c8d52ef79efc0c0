"""The worker: applies what came in, soon after it came, one experiment's trouble apart from another's."""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from toolkit.errors import ToolkitError
from toolkit.lake.inbox import Inbox
from toolkit.lake.received import Standing
from toolkit.receiver.tallies import Tallies
from toolkit.steps.inbox import Folder, apply_crossings, by_experiment, move_deliveries, tidy
from toolkit.steps.workspace import Workspace

__all__ = ["Worker"]

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.3
"""How long to let a burst gather, so that it is one push and not many."""
REST_SECONDS = 1.0
"""At least so long from one push to the next."""
DELIVERIES_SECONDS = 30.0
"""Nobody waits for deliveries: few large files in the lake rather than many small ones."""
FIRST_RETRY_SECONDS = 2.0
LAST_RETRY_SECONDS = 60.0
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Trouble:
    """How often in a row something failed, and when to try it again."""

    failures: int
    until: float

    @classmethod
    def after(cls, before: _Trouble | None, now: float) -> _Trouble:
        failures = before.failures + 1 if before else 1
        wait = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS)
        return cls(failures, now + wait)


class Worker:
    """Applies the inbox in a thread of its own, or pass by pass with `apply`.

    Args:
        workspace: where things are applied.
        inbox: path of the inbox.
        folder: the experiment files.
        tallies: counted into.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        workspace: Workspace,
        inbox: Path,
        folder: Folder,
        tallies: Tallies,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace = workspace
        self._path = inbox
        self._folder = folder
        self._tallies = tallies
        self._clock = clock
        self._woken = Event()
        self._stopping = Event()
        self._troubles: dict[str, _Trouble] = {}
        self._moved_at = -DELIVERIES_SECONDS
        self._thread = Thread(target=self._run, name="inbox-worker", daemon=True)

    def start(self) -> None:
        """Begin to apply what is there and what comes."""
        self._woken.set()
        self._thread.start()

    def wake(self) -> None:
        """Say that something came."""
        self._woken.set()

    def stop(self) -> None:
        """Finish what is under way, and move deliveries once more; whatever is left stays in the inbox."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(PATIENCE_SECONDS)

    @property
    def alive(self) -> bool:
        """Return whether it works."""
        return self._thread.is_alive()

    def apply(self, inbox: Inbox, *, deliveries: bool = True) -> list[ToolkitError]:
        """Apply everything that is due, and return what was refused."""
        refused = []
        if deliveries:
            refused += self._attempt("deliveries", lambda: self._move(inbox), ())
        for key, standings in by_experiment(inbox.standings()).items():
            refused += self._attempt(key, lambda: self._apply(inbox, key, standings), standings)  # noqa: B023
        return refused

    def _run(self) -> None:
        with Inbox(self._path) as inbox:
            while not self._stopping.is_set():
                self._woken.wait(self._patience())
                self._woken.clear()
                self._stopping.wait(GATHER_SECONDS)
                due = self._clock() - self._moved_at >= DELIVERIES_SECONDS or self._stopping.is_set()
                try:
                    self.apply(inbox, deliveries=due)
                except ToolkitError as refused:  # the inbox itself
                    logger.error("the inbox cannot be read: %s", refused)  # noqa: TRY400
                self._stopping.wait(REST_SECONDS)

    def _patience(self) -> float:
        """Return for how long to sleep unless something comes."""
        retries = [each.until - self._clock() for each in self._troubles.values()]
        return max(min([DELIVERIES_SECONDS, *retries]), 0.0)

    def _attempt(
        self, what: str, action: Callable[[], None], standings: Sequence[Standing]
    ) -> list[ToolkitError]:
        """Do it unless it failed just now; after a failure wait, longer each time."""
        before = self._troubles.get(what)
        if before and self._clock() < before.until:
            return []
        try:
            action()
        except ToolkitError as refused:
            self._troubles[what] = _Trouble.after(before, self._clock())
            self._tallies.applied("refused")
            logger.warning("%s: %s", what, _without_ids(str(refused), standings))
            return [refused]
        except Exception as defect:  # noqa: BLE001 (one experiment's must not stop the others)
            self._troubles[what] = _Trouble.after(before, self._clock())
            self._tallies.applied("refused")
            last = traceback.extract_tb(defect.__traceback__)[-1]
            said = f"{what}: {type(defect).__name__} at {Path(last.filename).name}:{last.lineno}; please report it"
            logger.error("%s", said)  # noqa: TRY400 (its message might name a customer)
            return [ToolkitError(said)]
        self._troubles.pop(what, None)
        return []

    def _move(self, inbox: Inbox) -> None:
        self._moved_at = self._clock()
        moved = move_deliveries(self._workspace, inbox, self._folder.specs().values())
        self._tallies.applied("deliveries", moved)
        tidy(self._workspace)

    def _apply(self, inbox: Inbox, key: str, standings: Sequence[Standing]) -> None:
        spec = self._folder.specs().get(key)
        if spec is None:
            raise ToolkitError(
                f"{len(standings)} customers wait for the experiment, whose file is not in {self._folder.folder} "
                "or is wrong"
            )
        started = self._clock()
        done = apply_crossings(self._workspace, inbox, spec, standings)
        self._tallies.applied("crossings", done.crossings)
        self._tallies.applied("enrolled", done.enrolled)
        logger.info(
            "%s: %d crossings applied, %d enrolled, %d writes, %.1f s",
            key,
            done.crossings,
            done.enrolled,
            done.writes,
            self._clock() - started,
        )


def _without_ids(message: str, standings: Sequence[Standing]) -> str:
    """Return `message` without the customers whom a vendor may have named."""
    for each in standings:
        if each.customer in message:
            message = re.sub(rf"(?<!\w){re.escape(each.customer)}(?!\w)", "…", message)
    return message
