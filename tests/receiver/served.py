"""What tests of the receiver share: `lift receive` as a process of its own, and requests as the vendor signs them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from benchmarks.storm import signed

SIGNING_KEY = "signing-key-of-the-tests"
SECRET = "secret-of-the-team's-own"
VARIABLES = ("LIFT_", "CUSTOMERIO_", "LAUNCHDARKLY_")
SPEC = """\
key: {key}
start: 2020-01-01
end: 2099-12-31
seed: 61
cohort: {{source: files, entry: rolling}}
arms: {{holdout: 0.5, treatment: 0.5}}
control: holdout
traits:
  - {{name: free_shipping_eligible, type: boolean, arms: [treatment], default: false, flag: free-shipping-banner}}
events: {{source: files}}
metrics:
  - {{name: purchase_rate, kind: conversion, event: Order Completed, role: primary}}
"""


def crossing(
    customer: str, action: str, moment: int, *, experiment: str = "cart", event_id: str = ""
) -> bytes:
    """Return the body that a campaign sends when `customer` enters or leaves."""
    return json.dumps(
        {
            "event_id": event_id or f"{customer}-{action}-{moment}",
            "experiment": experiment,
            "action": action,
            "identifiers": {"id": customer},
            "timestamp": 1_790_000_000 + moment,
        }
    ).encode()


class Receiver:
    """`lift receive` in a folder of its own; started and ended as an operator would."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
        self.variables |= {
            "LIFT_HOME": str(folder / "lake"),
            "CUSTOMERIO_WEBHOOK_SIGNING_KEY": SIGNING_KEY,
            "LIFT_WEBHOOK_SECRET": SECRET,
            **variables,
        }
        self.said: list[str] = []
        self.url = ""
        (folder / "experiments").mkdir(exist_ok=True)

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        return int(self.url.rsplit(":", 1)[1])

    def start(self, *more: str, before: Callable[[], None] | None = None) -> Receiver:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "toolkit.cli", "receive", "--port", "0", *more],
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,  # noqa: PLW1509 (it only sets a limit)
        )
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=[lines], daemon=True)
        self._reader.start()
        while not self.url:
            line = lines.get(timeout=120)
            assert line, self.said
            if line.startswith("listening on "):
                self.url = line.split()[2]
        return self

    def _read(self, lines: queue.SimpleQueue[str]) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            lines.put(line)
        lines.put("")

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it with a signal, and return its exit status."""
        self.process.send_signal(how)
        status = self.process.wait(30)
        self._reader.join(5)
        self.url = ""
        return status

    def run(self, *arguments: str, expect: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `lift receive` with options that end by themselves."""
        done = subprocess.run(
            [sys.executable, "-m", "toolkit.cli", "receive", *arguments],
            cwd=self.folder,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def post_report(self, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Send a report, signed unless headers are given, and return the status."""
        url = f"{self.url}/customerio/reporting"
        return httpx.post(
            url, content=body, headers=signed(body, SIGNING_KEY) if headers is None else headers
        ).status_code

    def post_crossing(self, body: bytes, secret: str = SECRET) -> int:
        """Send an entry or exit, and return the status."""
        return httpx.post(f"{self.url}/segments", content=body, headers={"X-Lift-Secret": secret}).status_code

    def metrics(self) -> dict[str, float]:
        """Return the metrics, by name and labels."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return {
            name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")
        }
