"""The demo as a newcomer runs it, in a folder where a team's own readouts and lake lie already."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.readout import Readout

PRESENT = re.compile(r"export (LIFT_HOME=\S+ LIFT_REPORTS=\S+ LIFT_NOW=\S+)\n  (lift measure \S+)")
MARK = "Simulated: made-up shoppers and vendors"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Run the demo twice beside a published readout of one of its experiments; give the folder and what it said."""
    from tests.end_to_end.conftest import ROOT, Lift

    folder = tmp_path_factory.mktemp("demo")
    lift = Lift(folder)
    lift.variables = {name: value for name, value in lift.variables.items() if not name.startswith("LIFT_")}
    (folder / "experiments").mkdir()
    name = "vip-early-access.yml"
    (folder / "experiments" / name).write_text((ROOT / "experiments" / name).read_text())
    ours = folder / "reports" / "vip-early-access" / "2026-01-05"
    ours.mkdir(parents=True)
    (ours / "index.html").write_text("published")
    lift("demo", "--weeks", "1")
    theirs = folder / "reports" / "demo" / "vip-early-access" / "2026-01-05"
    theirs.mkdir()
    (theirs / "index.html").write_text("put there by hand")
    return folder, lift, lift("demo", "--weeks", "1").stdout


def made(folder):
    (record,) = (folder / "reports" / "demo").glob("*/*/readout.json")
    return record.parent


def run(folder, lift, line):
    """Run a line that was printed or published, as a shell would."""
    line = re.sub(r"\blift (?=measure|readout)", f"{sys.executable} -m toolkit.cli ", line)
    return subprocess.run(
        line, shell=True, cwd=folder, env=lift.variables, capture_output=True, text=True, check=False
    )


def test_what_others_published_or_put_there_stays(shown):
    folder, _, told = shown
    assert (folder / "reports" / "vip-early-access" / "2026-01-05" / "index.html").read_text() == "published"
    theirs = folder / "reports" / "demo" / "vip-early-access" / "2026-01-05" / "index.html"
    assert theirs.read_text() == "put there by hand"
    pages = [Path(line.strip()) for line in told.splitlines() if line.endswith("index.html")]
    assert len(pages) == 2
    assert all((folder / page).is_file() and page.parts[:2] == ("reports", "demo") for page in pages)


def test_its_pages_index_and_tables_say_that_they_are_simulated(shown):
    folder, _, _ = shown
    assert MARK in (made(folder) / "index.html").read_text()
    assert MARK in (folder / "reports" / "demo" / "index.html").read_text()
    assert Readout.read(made(folder) / "readout.json").simulated
    with (made(folder) / "readout.csv").open(newline="") as file:
        assert {row["simulated"] for row in csv.DictReader(file)} == {"yes"}


def test_what_it_prints_for_going_on_works_and_so_does_its_pages_command(shown):
    folder, lift, told = shown
    variables, command = PRESENT.search(told).groups()
    measured = run(folder, lift, f"{variables} {command}")
    assert measured.returncode == 0, measured.stderr
    assert f"as of {made(folder).name}" in measured.stdout
    before = (made(folder) / "readout.json").read_bytes()
    said = re.search("To make this page again: <code>(.*?)</code>", (made(folder) / "index.html").read_text())
    again = run(folder, lift, said[1])
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == str((made(folder) / "index.html").relative_to(folder))
    assert (made(folder) / "readout.json").read_bytes() == before


def test_a_lake_that_no_simulation_made_is_not_removed(lift, experiments):
    kept = lift.folder / "lake" / "demo" / "assignments"
    kept.mkdir(parents=True)
    done = lift("demo", "--weeks", "1", expect=2)
    assert "holds a lake that no simulation made; move it away" in done.stderr
    assert kept.exists()


def test_a_sandbox_gives_its_command_a_lake_and_reports_of_its_own(lift, experiments):
    show = "import os; print(os.environ['LIFT_HOME'], os.environ['LIFT_REPORTS'])"
    home, reports = lift("sandbox", "--", sys.executable, "-c", show).stdout.split()
    assert Path(home) == lift.folder / "lake" / "sandbox"
    assert Path(reports) == lift.folder / "reports" / "sandbox"
    assert (Path(home) / "SIMULATED").exists()


def test_a_sandbox_that_is_asked_to_end_ends_its_command(lift, experiments):
    sleeps = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-m", "toolkit.cli", "sandbox", "--", sys.executable, "-c", sleeps],
        cwd=lift.folder,
        env=lift.variables,
        stdout=subprocess.PIPE,
        text=True,
    ) as served:
        command = int(served.stdout.readline())
        served.send_signal(signal.SIGTERM)
        assert served.wait(60) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(command, 0)
