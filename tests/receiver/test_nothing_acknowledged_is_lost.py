"""A 200 is a promise: whatever ends the process, fills the disk or locks the file, what was acknowledged is there."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import threading
import time

import httpx

from benchmarks.storm import burst, report, request_of, steady
from tests.receiver.served import SIGNING_KEY
from toolkit.lake.inbox import Inbox

LONG = os.environ.get("LIFT_LONG") == "1"
LITTLE = 400_000
"""Bytes that a file may grow to."""


def kept(folder):
    """Return the event ids in the inbox."""
    with Inbox(folder / "lake" / "inbox.sqlite") as inbox:
        return {each.event_id for each in inbox.deliveries(10**6)[1]}


def commits(folder):
    """Return how many transactions changed the inbox: SQLite counts them in the file's header."""
    return int.from_bytes((folder / "lake" / "inbox.sqlite").read_bytes()[24:28], "big")


def requests(numbers):
    return [request_of(report(number), SIGNING_KEY) for number in numbers]


def storm_until_killed(running, numbers, end, after):
    """Send over many connections, end the process meanwhile, and return whose reports were acknowledged."""
    found = []
    told = requests(numbers)
    sending = threading.Thread(target=lambda: found.append(steady(running.port, told, connections=20)))
    sending.start()
    time.sleep(after)
    status = running.end(end)
    sending.join()
    return status, {f"e{numbers[each.place]}" for each in found[0].answers if each.status == 200}


def test_no_acknowledged_report_is_lost_by_a_kill(receiver, tmp_path):
    chance = random.Random(5)
    kills = 200 if LONG else 6
    acknowledged, cut_short = set(), 0
    for kill in range(kills):
        numbers = range(kill * 10_000, kill * 10_000 + 2_000)
        _, got = storm_until_killed(
            receiver("--keep-only"), numbers, signal.SIGKILL, after=chance.uniform(0.02, 0.4)
        )
        acknowledged |= got
        cut_short += len(got) < len(numbers)
    print(f"{kills} kills, {cut_short} in the midst; {len(acknowledged):,} acknowledged")
    assert cut_short > kills / 2
    assert acknowledged
    assert acknowledged <= kept(tmp_path)


def test_an_orderly_end_keeps_what_was_acknowledged_and_is_no_failure(receiver, tmp_path):
    status, acknowledged = storm_until_killed(
        receiver("--keep-only"), range(3_000), signal.SIGTERM, after=0.3
    )
    assert status == 0
    assert 0 < len(acknowledged) < 3_000
    assert acknowledged <= kept(tmp_path)


def test_a_burst_of_a_thousand_is_kept_and_answered_in_few_commits_and_in_time(receiver, tmp_path):
    running = receiver("--keep-only")
    before = commits(tmp_path)
    found = burst(running.port, requests(range(1_000)))
    print(f"p50 {found.within(0.5):.3f} s, p99 {found.within(0.99):.3f} s, longest {found.within(1):.3f} s")
    assert found.statuses == {200}
    assert len(found.answers) == 1_000
    if LONG:  # on a machine that does nothing else
        assert found.within(0.99) < 1
        assert found.within(1) < 4
    assert len(kept(tmp_path)) == 1_000
    assert commits(tmp_path) - before < 250, "what arrives together is committed together"


def test_a_full_disk_is_told_to_the_vendor_and_loses_nothing_that_was_acknowledged(receiver, tmp_path):
    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (LITTLE, LITTLE))

    running = receiver("--keep-only", before=fill)
    padding = "x" * 400
    bodies = [report(number, event_id=f"e{number}-{padding}") for number in range(2_000)]
    found = steady(running.port, [request_of(body, SIGNING_KEY) for body in bodies], connections=20)
    assert found.statuses == {200, 503}
    assert httpx.get(f"{running.url}/health").status_code == 200
    running.end()
    acknowledged = {f"e{each.place}-{padding}" for each in found.answers if each.status == 200}
    assert acknowledged <= kept(tmp_path)
    assert any("to be sent again" in line for line in running.said)
    assert not any(padding in line for line in running.said)


def test_a_locked_inbox_is_told_to_the_vendor_in_time_and_mends_by_itself(receiver, tmp_path):
    running = receiver("--keep-only")
    assert running.post_report(report(1)) == 200
    other = sqlite3.connect(tmp_path / "lake" / "inbox.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    assert running.post_report(report(2)) == 503
    assert time.monotonic() - began < 4
    other.execute("ROLLBACK")
    assert running.post_report(report(2)) == 200
    assert httpx.get(f"{running.url}/ready").status_code == 200
    running.end()
    assert kept(tmp_path) == {"e1", "e2"}


def test_a_repeat_is_acknowledged_and_kept_once(receiver, tmp_path):
    running = receiver("--keep-only")
    assert [running.post_report(report(1)) for _ in range(3)] == [200] * 3
    assert running.metrics()['lift_receiver_arrivals_total{door="reporting",outcome="repeated"}'] == 2
    running.end()
    assert kept(tmp_path) == {"e1"}
