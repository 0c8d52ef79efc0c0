"""Results, kept as JSON beside the page and rendered from there: a partial run leaves the rest as it was."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import chart
from benchmarks.works.growth import ASKED, slope_of
from benchmarks.works.section import Line, Section

__all__ = ["keep", "machine", "page", "section_text", "write"]

HERE = Path(__file__).parent
KEPT, PAGE, PICTURE = HERE / "results.json", HERE / "RESULTS.md", HERE / "growth.svg"
PACKAGES = ("duckdb", "numpy", "pyarrow", "deltalake", "tea-tasting")
HEAD = """\
# Results

`make bench` runs all of this (about half an hour on two quiet cores) and writes this page;
`python -m benchmarks --only assign cold` runs some of it and leaves the rest as it stands,
`python -m benchmarks --quick` tries everything on little data and writes nothing. `make calibrate` answers for
the statistics. Data are generated once and kept in the system's temporary folder (`BENCH_DATA` names another;
about 6 GB, and another 4 while the year of weeks runs).

Whole processes are timed, from start to end. Contestants take turns; the first round is left out; times are
medians of the others, memory is the largest peak, children included. “CPU” is processor time over all cores,
which other work on the machine disturbs less than time by the clock. A floor is the best hand-written DuckDB
script for the same answer, kept in `benchmarks/floors`; it is checked that answers agree to 1e-9.
"""


def machine() -> str:
    """Return the machine and the versions in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    named = [f"{name} {_version(name)}" for name in PACKAGES]
    busy = os.getloadavg()[0]
    shared = "otherwise quiet" if busy < 0.7 else f"shared with other work (load {busy:.1f} before the run)"
    return (
        f"{os.cpu_count()} cores{_processor()}, {memory:.0f} GiB of memory, {platform.system()}, {shared}; "
        f"Python {platform.python_version()}, {', '.join(named)}, lift-toolkit {_version('lift-toolkit')}."
    )


def keep(name: str, section: Section, *, on: str, repeats: int) -> None:
    """Put `section` among the kept results, in place of what was there under `name`."""
    kept = _kept()
    kept[name] = {**asdict(section), "machine": on, "repeats": repeats}
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def keep_text(name: str, title: str, text: str) -> None:
    """Put a section that is ready-made text among the kept results."""
    kept = _kept()
    kept[name] = {"title": title, "text": text}
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write(order: list[str]) -> None:
    """Write the page and the picture from the kept results, in this order; others follow."""
    kept = _kept()
    names = [name for name in order if name in kept] + [name for name in kept if name not in order]
    PAGE.write_text(page({name: kept[name] for name in names}), encoding="utf-8")
    points = kept.get("growth", {}).get("points")
    if points:
        PICTURE.write_text(chart.growth([tuple(point) for point in points]), encoding="utf-8")


def page(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the whole page."""
    parts = [HEAD]
    summary = [row for each in kept.values() for row in _asked_of(each)]
    if summary:
        parts.append("\n".join(["## What was asked", "", *_table_head(_SUMMARY), *summary, ""]))
    for each in kept.values():
        if "text" in each:
            parts.append(f"## {each['title']}\n\n{each['text']}\n")
        else:
            parts.append(
                section_text(
                    _section(each), on=each["machine"], repeats=each["repeats"], picture=PICTURE.name
                )
            )
    return "\n".join(parts)


def section_text(section: Section, *, on: str, repeats: int, picture: str | None = None) -> str:
    """Return one section of the page."""
    parts = [f"## {section.title}", "", section.about, ""]
    if section.lines:
        parts += [*_table_head(_COLUMNS), *(_row(line) for line in section.lines), ""]
    if section.points:
        parts += [
            *_table_head(("events", "seconds", "µs an event", "peak memory, MiB")),
            *(
                f"| {rows:,} | {seconds:.2f} | {seconds / rows * 1e6:.2f} | {peak:,.0f} |"
                for rows, seconds, peak in section.points
            ),
            "",
        ]
        if picture:
            parts += [f"![Time and memory of `lift measure` against the number of events]({picture})", ""]
    if section.failed:
        parts += [f"**{section.failed[0].upper()}{section.failed[1:]}**", ""]
    parts += [f"- {note}" for note in section.notes]
    runs = "one run" if repeats == 1 else f"medians of {repeats}"
    parts += ["", f"{runs.capitalize()}. {on}", ""]
    return "\n".join(parts)


def _asked_of(kept: Mapping[str, Any]) -> list[str]:
    """Return the rows that say what was asked of a section and whether it is met."""
    title = kept["title"]
    rows = [
        f"| {title} | {line.what} | {line.against} | {_ratio(line)} | {_asked(line)} | {_met(line)} |"
        for line in _lines(kept)
        if line.met is not None
    ]
    if kept.get("points"):
        slope = slope_of([(rows, seconds) for rows, seconds, _ in kept["points"]])
        verdict = "met" if slope <= ASKED else "**missed**"
        rows.append(f"| {title} | `lift measure` | slope in log-log | {slope:.2f} | ≤ {ASKED} | {verdict} |")
    elif kept.get("failed"):
        rows.append(f"| {title} | {kept['failed']} | | | | **missed** |")
    return rows


_SUMMARY = ("work", "what", "compared with", "ratio", "asked", "")
_COLUMNS = (
    "what",
    "seconds",
    "CPU",
    "peak MiB",
    "compared with",
    "seconds",
    "CPU",
    "peak MiB",
    "ratio",
    "asked",
    "",
)


def _table_head(names: tuple[str, ...]) -> list[str]:
    return [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]


def _row(line: Line) -> str:
    cells = (
        line.what,
        f"{line.ours:.2f}",
        f"{line.cpu:.2f}",
        f"{line.peak:,.0f}",
        line.against,
        f"{line.theirs:.2f}",
        f"{line.cpu_theirs:.2f}",
        f"{line.peak_theirs:,.0f}",
        _ratio(line),
        _asked(line),
        _met(line),
    )
    return f"| {' | '.join(cells)} |"


def _ratio(line: Line) -> str:
    return f"{line.ratio:.2f} × faster" if line.faster else f"{line.ratio:.2f} ×"


def _asked(line: Line) -> str:
    said = []
    if line.asked is not None:
        said.append(f"≥ {line.asked:g} × faster" if line.faster else f"≤ {line.asked:g} ×")
    if line.asked_peak is not None:
        said.append(f"≤ {line.asked_peak:,.0f} MiB")
    return ", ".join(said) or "—"


def _met(line: Line) -> str:
    return {True: "met", False: "**missed**", None: ""}[line.met]


def _lines(kept: Mapping[str, Any]) -> tuple[Line, ...]:
    return tuple(Line(**line) for line in kept.get("lines", ()))


def _section(kept: Mapping[str, Any]) -> Section:
    points = tuple(tuple(point) for point in kept["points"])
    return Section(kept["title"], kept["about"], _lines(kept), tuple(kept["notes"]), kept["failed"], points)


def _kept() -> dict[str, dict[str, Any]]:
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}


def _processor() -> str:
    """Return the processor's name in brackets, where the system says it."""
    told = Path("/proc/cpuinfo")
    if not told.is_file():
        return ""
    named = [
        line.split(":", 1)[1].strip()
        for line in told.read_text().splitlines()
        if line.startswith("model name")
    ]
    return f" ({named[0]})" if named else ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
