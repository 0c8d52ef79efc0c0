"""Measure the speed of `lift` beside hand-written floors and other tools, and keep it in RESULTS.md."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from benchmarks import report
from benchmarks.processes import Failed
from benchmarks.works import WORKS, Section, Setting

COVERAGE = "Coverage of the demo’s intervals"


def main() -> int:
    """Run what was asked for; return 1 if anything failed, missed what is asked, or gave another answer."""
    asked = _arguments()
    if asked.quick:
        asked.scale, asked.repeats = min(asked.scale, 0.01), 1
    kept = asked.scale == 1
    bad = False
    for name in asked.only or WORKS:
        on = report.machine()
        setting = Setting(asked.scale, asked.repeats, partial(_say_of, name))
        try:
            section = WORKS[name](setting)
        except Failed as wrong:
            section = Section(name, "", failed=f"could not be measured: {wrong}")
        _say("")
        print(report.section_text(section, on=on, repeats=asked.repeats))
        if kept:
            report.keep(name, section, on=on, repeats=asked.repeats)
            report.write(list(WORKS))
        answers = any("DIFFER" in note for note in section.notes)
        bad |= bool(section.failed) or answers or any(line.met is False for line in section.lines)
    if asked.coverage:
        from benchmarks import coverage

        text = coverage.run()
        print(text)
        report.keep_text("coverage", COVERAGE, text)
        report.write(list(WORKS))
    if not kept:
        _say("other rows than the page speaks of: RESULTS.md stays as it is\n")
    return int(bad)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=list(WORKS), metavar="NAME", help=f"of {', '.join(WORKS)}"
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs of each process after the first (5)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="a share of the rows; RESULTS.md stays as it is"
    )
    parser.add_argument("--quick", action="store_true", help="a hundredth of the rows, once")
    parser.add_argument("--coverage", action="store_true", help="the coverage of the demo's intervals too")
    return parser.parse_args()


def _say_of(name: str, said: str) -> None:
    _say(f"{name}: {said}")


def _say(said: str) -> None:
    """Show what goes on: in one line where somebody watches, else line by line."""
    if sys.stderr.isatty():
        print(f"\r\033[K{said}", end="", file=sys.stderr, flush=True)
    elif said.strip():
        print(said.strip(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
