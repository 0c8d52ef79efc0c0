"""`lift push --apply` killed with SIGKILL at any point: run again, it ends as if nothing had happened.

The command is a process of its own, and talks to the sandbox over real HTTP through a gate that counts its
requests. `LIFT_LONG=1` kills at 300 points instead of a few.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import httpx
import pytest

from tests.steps.pushing import (
    BANNER,
    FIRST,
    HOLDOUT,
    KEY,
    OFFERS,
    READY,
    SECOND,
    SEGMENTS,
    UNIVERSAL,
    Shop,
    held_by,
    planned,
)
from tests.steps.trouble import one_duckdb
from toolkit.sandbox import Sandbox
from toolkit.steps.assign import assign

LONG = os.environ.get("LIFT_LONG") == "1"
KILLS = 300 if LONG else 12
CUSTOMERS = tuple(f"c{n:04}" for n in range(2600 if LONG else 200))
"""2,600 are so many that the larger segments take two patches, and the messages two batches."""
PROTECTED = frozenset(CUSTOMERS[::9])
PATIENCE_SECONDS = 120
pytestmark = pytest.mark.timeout(86_400 if LONG else 300)


@dataclass(frozen=True)
class Point:
    """Where the process is killed: at its n-th request, before the vendor gets it, after the vendor did what it
    says, or so many seconds after the answer."""

    scene: str
    number: int
    when: str
    seconds: float = 0.0


class Gate:
    """Passes requests on to the sandbox, counts them, and strikes at one of them."""

    def __init__(self, url: str) -> None:
        self.asked: list[str] = []
        self.number, self.when, self.strike = 0, "", lambda: None
        self._sandbox = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS)
        self._passing = Lock()
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                gate.pass_on(self)

            do_GET = do_POST = do_PATCH = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def expect(self, number: int = 0, when: str = "", strike: Callable[[], None] = lambda: None) -> None:
        """Count anew once nothing is under way, and call `strike` at the request of that number (0: at none)."""
        with self._passing:
            pass
        self.asked, self.number, self.when, self.strike = [], number, when, strike

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request as the sandbox does."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.asked.append(f"{handler.command} {handler.path}")
        here = len(self.asked) == self.number
        if here and self.when == "before":
            self.strike()
            handler.close_connection = True
            return
        kept = {
            name: value
            for name, value in handler.headers.items()
            if name.lower() not in ("host", "accept-encoding")
        }
        with self._passing:
            answer = self._sandbox.request(handler.command, handler.path, content=body, headers=kept)
        if here and self.when == "after":
            self.strike()
            handler.close_connection = True
            return
        handler.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name not in ("content-length", "date", "server", "connection"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.content)))
        handler.end_headers()
        handler.wfile.write(answer.content)
        handler.wfile.flush()
        if here:
            self.strike()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._sandbox.close()


class QuietServer(ThreadingHTTPServer):
    """Does not complain of connections that break: here their other ends are killed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a lost connection, and everything of all else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Stage:
    """A served sandbox behind its gate, and scenes to begin from again and again."""

    def __init__(self, folder: Path, box: Sandbox) -> None:
        self.folder, self.box = folder, box
        self.gate = Gate(box.url)
        for customer in CUSTOMERS:
            box.customerio.create(id=customer)
        self.scenes: dict[str, tuple[Path, Shop, Any, Any]] = {}
        self.requests: dict[str, int] = {}
        begun = folder / "begun"
        begun.mkdir()
        shop = Shop(begun, people=dict.fromkeys(CUSTOMERS, False), environment=box.environment())
        shop.environment |= {"CUSTOMERIO_TRACK_URL": self.gate.url, "LAUNCHDARKLY_URL": self.gate.url}
        assign(shop.workspace(), shop.write())
        self.keep("first push", shop)
        shop.sync()
        self.requests["first push"] = len(self.gate.asked)
        shop.people.update(dict.fromkeys(PROTECTED, True))
        shop.now = shop.known_until = shop.now + timedelta(days=20)
        self.keep("change", shop)
        self.gate.expect()
        self.begin("change").sync()
        self.requests["change"] = len(self.gate.asked)

    def keep(self, name: str, shop: Shop) -> None:
        """Keep the lake, the files and the vendors as they are, as the beginning of a scene."""
        shop.write()
        kept = self.folder / name.replace(" ", "-")
        shutil.copytree(shop.folder, kept)
        told = [dict(person.attributes) for person in self.box.customerio.people]
        self.scenes[name] = (
            kept,
            replace(shop, people=dict(shop.people)),
            dict(self.box.launchdarkly.segments),
            told,
        )

    def begin(self, name: str) -> Shop:
        """Put everything back to the beginning of a scene and return its shop, in a folder of its own."""
        kept, shop, segments, told = self.scenes[name]
        folder = self.folder / "now"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(kept, folder)
        self.box.launchdarkly.segments = dict(segments)
        for person, attributes in zip(self.box.customerio.people, told, strict=True):
            person.attributes = dict(attributes)
        return replace(shop, folder=folder)


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    with one_duckdb(), Sandbox(seed=1, scale=0.001, limits=False) as box:
        opened = Stage(tmp_path_factory.mktemp("kills"), box)
        yield opened
        opened.gate.close()


def end_of(scene: str) -> dict[str, Any]:
    """Return what the vendors hold when a scene has ended well."""
    if scene == "change":
        return planned(CUSTOMERS, protected=PROTECTED, escalated=True)
    return planned(CUSTOMERS)


def points(requests: dict[str, int]) -> list[Point]:
    """Return where to kill: every request before and after it, and many instants after answers, shuffled."""
    chance = random.Random(11)
    every = [
        Point(scene, number, when)
        for scene, most in requests.items()
        for number in range(1, most + 1)
        for when in ("before", "after", "answered")
    ]
    chance.shuffle(every)
    more = [replace(chance.choice(every), when="answered") for _ in range(max(0, KILLS - len(every)))]
    return [
        replace(each, seconds=chance.uniform(0, 0.06) if each.when == "answered" else 0.0)
        for each in [*every, *more][:KILLS]
    ]


def kill_at(stage: Stage, shop: Shop, point: Point) -> int:
    """Run the command and kill it; return its exit status, negative where a signal ended it."""
    begun: list[subprocess.Popen[str]] = []

    def strike() -> None:
        time.sleep(point.seconds)
        begun[0].send_signal(signal.SIGKILL)

    stage.gate.expect(point.number, point.when, strike)
    command = [sys.executable, "-m", "toolkit.cli", "push", str(shop.folder / f"{KEY}.yml"), "--apply"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("LIFT_")}
    begun.append(
        subprocess.Popen(
            command, env=own | shop.variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    )
    said, _ = begun[0].communicate(timeout=PATIENCE_SECONDS)
    assert begun[0].returncode in (0, -signal.SIGKILL), said
    return begun[0].returncode


def test_a_push_killed_anywhere_ends_as_planned_when_it_is_run_again(stage):
    ends: Counter[str] = Counter()
    for point in points(stage.requests):
        shop = stage.begin(point.scene)
        ledger = shop.assigned()
        status = kill_at(stage, shop, point)
        ends["killed" if status else "done before the signal"] += 1

        stage.gate.expect()
        left = held_by(stage.box, CUSTOMERS)
        for offer in OFFERS:
            assert not left[offer] & (left[HOLDOUT] | left[UNIVERSAL]), point
        assert left[READY] <= left[BANNER], point
        assert not left[FIRST] & left[SECOND], point

        shop.now += timedelta(minutes=10)
        shop.sync()
        assert held_by(stage.box, CUSTOMERS) == end_of(point.scene), point
        assert sorted(shop.assigned(), key=str) == sorted(ledger, key=str), point
        assert newest_receipts(shop) == {
            segment: len(members) for segment, members in end_of(point.scene).items() if segment in SEGMENTS
        }, point

        stage.gate.expect()
        shop.now += timedelta(minutes=10)
        shop.sync()
        assert [each for each in stage.gate.asked if not each.startswith("GET ")] == [], point
    print(f"{KILLS} kills over {stage.requests} requests: {dict(ends)}")
    assert ends["killed"] > 0.8 * KILLS


def newest_receipts(shop: Shop) -> dict[str, int]:
    """Return segment → members, as the lake's newest receipt of each has it."""
    rows = shop.workspace().lake.read("sync_receipts").to_pylist()
    return {row["target"]: row["members"] for row in sorted(rows, key=lambda row: row["at"])}
