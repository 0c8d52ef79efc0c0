"""The webhook receiver: a burst, a steady stream, and how soon an entry becomes an offer."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import LIFT, Failed
from benchmarks.storm import burst, report, request_of, steady
from benchmarks.works.section import Section, Setting

__all__ = ["receiver"]

SIGNING_KEY, SECRET = "signing-key-of-the-benchmark", "secret-of-the-benchmark"
BURST, STREAM, CONNECTIONS = 1_000, 5_000, 20
ASKED_P99, ASKED_LONGEST, ASKED_A_SECOND, ASKED_OFFER = 1.0, 4.0, 500, 5.0
MEMBERS, ENTRIES = 16_400, 7
FLAG, PREFIX = "free-shipping-banner", 61
ARMS = {"holdout": 0.1, "treatment": 0.9}
SPEC = f"""\
key: cart
start: 2020-01-01
end: 2099-12-31
seed: {PREFIX}
cohort: {{source: files, entry: rolling}}
arms: {{holdout: 0.1, treatment: 0.9}}
control: holdout
traits:
  - {{name: free_shipping_eligible, type: boolean, arms: [treatment], default: false, flag: {FLAG}}}
events: {{source: files}}
metrics:
  - {{name: purchase_rate, kind: conversion, event: Order Completed, role: primary}}
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A receiver that runs: its port and its process."""

    port: int
    pid: int

    @property
    def cpu_seconds(self) -> float:
        """Return the processor time that it has used; other work on the machine does not count."""
        user, system = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def receiver(setting: Setting) -> Section:
    """`lift receive` on one core: signed requests in a burst and in a stream; and entries of a large experiment."""
    bursts, rates, cpu = [], [], []
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        with _receiving(folder, {}, "--keep-only") as running:
            for turn in range(setting.repeats + 1):
                setting.tick(
                    f"burst and stream, {f'run {turn} of {setting.repeats}' if turn else 'warming up'}"
                )
                start = turn * (BURST + STREAM)
                requests = [
                    request_of(report(number), SIGNING_KEY) for number in range(start, start + BURST + STREAM)
                ]
                once = burst(running.port, requests[:BURST])
                before = running.cpu_seconds
                stream = steady(running.port, requests[BURST:], connections=CONNECTIONS)
                if (once.statuses | stream.statuses) != {200}:
                    raise Failed(f"not every request was acknowledged: {once.statuses | stream.statuses}")
                if turn:
                    bursts.append(once)
                    rates.append(STREAM / stream.seconds)
                    cpu.append((running.cpu_seconds - before) / STREAM)
    setting.tick("an entry to an offer")
    p99 = statistics.median(each.within(0.99) for each in bursts)
    longest = max(each.within(1) for each in bursts)
    rate, offer = statistics.median(rates), statistics.median(_offers())
    met = {
        f"Burst of {BURST:,} signed requests, each over a connection of its own: half within "
        f"{statistics.median(each.within(0.5) for each in bursts):.2f} s, 99 % within {p99:.2f} s, the longest "
        f"{longest:.2f} s; asked: {ASKED_P99:g} s and {ASKED_LONGEST:g} s": p99 < ASKED_P99
        and longest < ASKED_LONGEST,
        f"Stream over {CONNECTIONS} connections: {rate:,.0f} requests a second, of each {statistics.median(cpu) * 1e3:.2f} ms "
        f"of the receiver's processor time; asked: {ASKED_A_SECOND} a second": rate >= ASKED_A_SECOND,
        f"An entry to an experiment of {MEMBERS:,} customers is served its offer by the streaming SDK after "
        f"{offer:.1f} s (median of {ENTRIES}); asked: {ASKED_OFFER:g} s": offer < ASKED_OFFER,
    }
    return Section(
        "The webhook receiver",
        "`lift receive` on one core, the client on another, over the loopback; every acknowledged request is on the "
        "disk. Offers: against the sandbox, from the entry's request to the answer of LaunchDarkly's own SDK.",
        notes=tuple(f"{said}; {'met' if fine else 'MISSED'}." for said, fine in met.items()),
        failed=None if all(met.values()) else "the receiver is slower than asked",
    )


@contextmanager
def _receiving(folder: Path, variables: Mapping[str, str], *options: str) -> Iterator[Running]:
    """Run `lift receive` in `folder`, on the first core where there are several."""
    (folder / "experiments").mkdir(exist_ok=True)
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment |= {"LIFT_HOME": str(folder / "lake"), **variables}
    environment |= {"CUSTOMERIO_WEBHOOK_SIGNING_KEY": SIGNING_KEY, "LIFT_WEBHOOK_SECRET": SECRET}
    process = subprocess.Popen(
        [LIFT, "receive", "--port", "0", *options],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    cores = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(process.pid, cores[:1])
        os.sched_setaffinity(0, cores[1:] or cores)
        assert process.stderr
        said = process.stderr.readline()
        if not said.startswith("listening on "):
            raise Failed(f"lift receive did not start: {said}")
        yield Running(int(said.split()[2].rsplit(":", 1)[1]), process.pid)
    finally:
        os.sched_setaffinity(0, cores)
        process.terminate()
        process.wait(30)


def _offers() -> list[float]:
    """Return after how many seconds entries became offers."""
    import httpx
    import pandas as pd
    from ldclient import Config, Context, LDClient

    from toolkit.design.assignment import arm_of, bounds_of
    from toolkit.sandbox import Sandbox

    bounds = bounds_of(ARMS)
    fresh = [f"n{at}" for at in range(100) if arm_of(bounds, str(PREFIX), f"n{at}") == "treatment"][:ENTRIES]
    with tempfile.TemporaryDirectory() as named, Sandbox(scale=0.01, limits=False) as box:
        folder, told = Path(named), box.environment()
        experiments = folder / "experiments"
        experiments.mkdir()
        (experiments / "cart.yml").write_text(SPEC)
        pd.DataFrame({"id": [f"c{at}" for at in range(MEMBERS)]}).to_parquet(experiments / "people.parquet")
        row = {"id": ["c1"], "name": "Visited", "timestamp": pd.Timestamp("2026-01-01", tz="UTC")}
        pd.DataFrame(row).to_parquet(experiments / "events.parquet")
        lift = {"PATH": os.environ.get("PATH", ""), "LIFT_HOME": str(folder / "lake"), **told}
        for arguments in (["assign", "experiments/cart.yml"], ["push", "experiments/cart.yml", "--apply"]):
            subprocess.run([LIFT, *arguments], cwd=folder, env=lift, check=True, stdout=subprocess.DEVNULL)
        at = {"base_uri": box.url, "stream_uri": box.url, "events_uri": box.url, "send_events": False}
        sdk = LDClient(Config(told["LAUNCHDARKLY_SDK_KEY"], stream=True, **at), start_wait=10)
        with (
            _receiving(folder, told) as running,
            httpx.Client(base_url=f"http://127.0.0.1:{running.port}") as client,
        ):
            waited = [_offered(client, sdk, Context.create(customer)) for customer in fresh]
        sdk.close()
    return waited


def _offered(client, sdk, context) -> float:
    """Let a customer enter, and return after how many seconds the SDK serves the offer."""
    body = {"event_id": f"enter-{context.key}", "experiment": "cart", "action": "enter", "version": 1}
    began = time.perf_counter()
    answer = client.post(
        "/segments", json={**body, "identifiers": {"id": context.key}}, headers={"X-Lift-Secret": SECRET}
    )
    answer.raise_for_status()
    while not sdk.variation(FLAG, context, False):
        if time.perf_counter() - began > 60:
            raise Failed("an entry was not served its offer within a minute")
        time.sleep(0.01)
    return time.perf_counter() - began
