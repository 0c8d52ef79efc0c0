"""Whole processes, timed side by side: wall clock and peak memory, as a user would feel them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LIFT", "PYTHON", "Command", "Failed", "Run", "Timing", "run", "side_by_side"]

PYTHON = sys.executable
LIFT = os.environ.get("BENCH_LIFT") or str(Path(sys.executable).with_name("lift"))
"""The command that is measured: the one beside this interpreter, unless BENCH_LIFT names another."""
MIB = 1024.0
"""`ru_maxrss` is in KiB on Linux."""


class Failed(Exception):
    """A measured process ended otherwise than it should have."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to be measured.

    Attributes:
        argv: program and arguments.
        home: the lake that `lift` works in.
        before: run before every process, outside the measured time.
        may_end_with: exit statuses that count as done.
    """

    argv: Sequence[str]
    home: Path | None = None
    before: Callable[[], None] | None = None
    may_end_with: Sequence[int] = (0,)


@dataclass(frozen=True, slots=True)
class Run:
    """One process: seconds by the wall clock and of processor time, peak resident memory in MiB, its output.

    Memory and processor time are those of its children too.
    """

    seconds: float
    cpu: float
    peak_mib: float
    out: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Several runs of one command: medians, the largest peak, and the last output."""

    seconds: float
    cpu: float
    peak_mib: float
    runs: tuple[float, ...] = field(repr=False)
    out: str = field(repr=False)


def run(command: Command) -> Run:
    """Run `command` to its end.

    Raises:
        Failed: its exit status is not among those that count as done.
    """
    if command.before:
        command.before()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**kept, "LIFT_HOME": str(command.home or "unused"), "COLUMNS": "120"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(command.argv), stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode not in command.may_end_with:
            said = err.read().strip().splitlines()
            raise Failed(
                f"{Path(command.argv[0]).name} ended with {process.returncode}: " + " ".join(said[-3:])
            )
        return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / MIB, out.read())


def side_by_side(
    commands: Mapping[str, Command], *, repeats: int, tick: Callable[[str], None] | None = None
) -> dict[str, Timing]:
    """Run every command once to warm up and then `repeats` times, taking turns; return name → timing."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, command in commands.items():
            if tick:
                tick(f"{name}, {f'run {turn} of {repeats}' if turn else 'warming up'}")
            done = run(command)
            if turn:
                runs[name].append(done)
    return {
        name: Timing(
            statistics.median(each.seconds for each in done),
            statistics.median(each.cpu for each in done),
            max(each.peak_mib for each in done),
            tuple(each.seconds for each in done),
            done[-1].out,
        )
        for name, done in runs.items()
    }
