"""One process at a time: what two must not do at once in a lake that is a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import StorageError

__all__ = ["alone"]


@contextmanager
def alone(home: str, what: str, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Do `what` while no other process on this machine does it; `waiting` is called where one does, and then waited for.

    The lock is the operating system's: it is gone with the process that held it, however that ended. An object
    store has none, and nobody waits there.

    Raises:
        StorageError: the lock's file cannot be made.
    """
    if "://" in home:
        yield
        return
    import fcntl

    folder = Path(home) / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / f"{what}.lock").open("a")
    except OSError as refused:
        raise StorageError(f"{folder}: cannot be written: {refused.strerror}") from None
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if waiting:
                waiting()
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
