"""The same measurement on other engines: what they cost before, and with, many rows."""

from __future__ import annotations

from benchmarks.data import prepare
from benchmarks.processes import Command, side_by_side
from benchmarks.works.answers import differences
from benchmarks.works.one_file import measure_command
from benchmarks.works.orders import AS_OF, SPEC
from benchmarks.works.section import Section, Setting, compare

__all__ = ["engines"]

SIZES = (100_000, 10_000_000)
ENGINES = {"Spark": "local[2]", "PostgreSQL": "postgresql://postgres@127.0.0.1/postgres"}


def engines(setting: Setting) -> Section:
    """`lift measure` with each `LIFT_ENGINE`, against DuckDB, on few events and on many."""
    lines, notes = [], []
    for size in SIZES:
        rows = setting.rows(size)
        folder = prepare("orders", rows, tick=setting.tick)
        plain = measure_command(folder, SPEC.replace("LOOKS", "fixed"), as_of=AS_OF)
        others = {
            name: Command(
                [
                    "env",
                    f"LIFT_ENGINE={engine}",
                    "PYSPARK_SUBMIT_ARGS=--driver-memory 6g pyspark-shell",
                    *plain.argv,
                ],
                plain.home,
                may_end_with=plain.may_end_with,
            )
            for name, engine in ENGINES.items()
        }
        timings = side_by_side({"DuckDB": plain, **others}, repeats=setting.repeats, tick=setting.tick)
        for name in ENGINES:
            lines.append(compare(f"{name}, {rows:,} events", timings[name], "DuckDB", timings["DuckDB"]))
            worst, places = differences(timings[name].out, timings["DuckDB"].out)
            said = f"ANSWERS DIFFER: {', '.join(places[:4])}" if places else f"equal to {worst:.0e}"
            notes.append(f"{name}, {rows:,} events: {said}.")
    return Section(
        "Other engines",
        "The experiment above from files, on Spark (`local[2]`, its start included) and on PostgreSQL (on the same "
        "machine; files are copied in, and its own memory is not counted), against DuckDB.",
        tuple(lines),
        tuple(notes),
    )
