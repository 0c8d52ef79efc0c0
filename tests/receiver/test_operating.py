"""What whoever runs the receiver meets: refusals to start, limits, health, metrics, quarantine."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from benchmarks.storm import report, request_of, signed
from tests.receiver.served import SECRET, SIGNING_KEY, SPEC, Receiver, crossing
from toolkit.errors import SettingsError
from toolkit.lake.inbox import Inbox
from toolkit.lake.received import Unusable, Waiting
from toolkit.receiver.app import LARGEST_BODY
from toolkit.receiver.chores import held, retry_held
from toolkit.receiver.serve import serve
from toolkit.settings import Settings
from toolkit.show.received import held_text, retried_text
from toolkit.steps.inbox import Folder, inbox_path
from toolkit.steps.workspace import Workspace

SPECS = Path(__file__).parents[3] / "shared" / "specs"


@pytest.fixture(scope="module")
def keeping(tmp_path_factory):
    """A receiver that only keeps, for tests that ask little of it."""
    running = Receiver(tmp_path_factory.mktemp("keeping")).start("--keep-only")
    yield running
    running.end()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"customerio_webhook_signing_key": None}, "CUSTOMERIO_WEBHOOK_SIGNING_KEY is not set"),
        ({"lift_webhook_secret": None}, "LIFT_WEBHOOK_SECRET is not set"),
        ({"lift_webhook_secret": SecretStr("short")}, "LIFT_WEBHOOK_SECRET is shorter than 16 characters"),
        ({"lift_home": "s3://bucket/lake"}, "LIFT_INBOX is not set"),
    ],
)
def test_it_does_not_start_without_what_keeps_it_safe(tmp_path, changed, said):
    settings = Settings(
        lift_home=str(tmp_path / "lake"),
        customerio_webhook_signing_key=SecretStr(SIGNING_KEY),
        lift_webhook_secret=SecretStr(SECRET),
    ).model_copy(update=changed)
    with pytest.raises(SettingsError, match=said):
        serve(
            Workspace.open(settings),
            Folder(str(tmp_path)),
            host="127.0.0.1",
            port=0,
            apply=False,
            listening=lambda *_: pytest.fail("it listens"),
        )


def test_a_signature_may_not_be_older_than_event_ids_are_remembered():
    with pytest.raises(ValueError, match="less than or equal"):
        Settings(lift_webhook_tolerance_seconds=700_000)


def test_it_does_not_start_where_it_cannot_listen_finds_no_experiments_or_can_keep_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = Receiver(tmp_path).run("--port", str(taken.getsockname()[1]), expect=2)
    assert "cannot be listened on" in done.stderr
    assert "cannot be read as the folder" in Receiver(tmp_path).run("nowhere", expect=2).stderr
    (tmp_path / "lake").write_text("a file, not a folder")
    assert "cannot be made" in Receiver(tmp_path).run("--port", "0", expect=3).stderr


def test_a_body_that_is_too_large_is_refused_before_it_is_read(keeping):
    whole = b" " * (LARGEST_BODY + 1)
    assert keeping.post_report(whole) == 413

    def endless():
        for _ in range(10_000):
            yield b" " * 65_536

    began = time.monotonic()
    with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # the answer may be lost with the connection
        answer = httpx.post(
            f"{keeping.url}/customerio/reporting", content=endless(), headers=signed(b"", SIGNING_KEY)
        )
        assert answer.status_code == 413
    assert time.monotonic() - began < 4
    assert keeping.metrics()['lift_receiver_answers_total{door="reporting",status="413"}'] == 2
    largest = report(1, padding="x" * (LARGEST_BODY - 300))
    assert keeping.post_report(largest) == 200


def test_a_body_that_does_not_come_is_given_up_within_the_vendors_four_seconds(keeping):
    request = request_of(report(1), SIGNING_KEY)
    with socket.create_connection(("127.0.0.1", keeping.port)) as slow:
        slow.settimeout(10)
        began = time.monotonic()
        slow.sendall(request[:-10])
        answer = slow.recv(100)
        assert b" 408 " in answer.splitlines()[0] + b" "
        assert time.monotonic() - began < 4
        while slow.recv(100):
            pass
        assert time.monotonic() - began < 5
    assert keeping.post_report(report(1)) == 200


def test_only_what_is_served_is_answered(keeping):
    with httpx.Client(base_url=keeping.url) as client:
        assert client.get("/customerio/reporting").status_code == 405
        assert client.post("/metrics").status_code == 405
        assert client.get("/").status_code == 404
        assert client.get("/health").text == "ok\n"
        ready = client.get("/ready")
        refused = client.post("/customerio/reporting", content=report(1))
    assert (ready.status_code, ready.json()) == (200, {"inbox": "can be written", "worker": True})
    assert (refused.status_code, refused.content) == (401, b"")


def test_metrics_count_everything_and_neither_they_nor_the_log_name_anybody_or_a_secret(receiver):
    running = receiver()
    odd = report(3, metric="", data={"identifiers": {"id": "c-4711", "email": "ann@example.com"}})
    assert running.post_report(report(1, event_id="event-4711")) == 200
    assert running.post_report(odd) == 200
    assert running.post_report(report(2), headers={}) == 401
    assert running.post_crossing(crossing("c-4711", "enter", 2)) == 200
    assert running.post_crossing(crossing("c-4711", "exit", 1)) == 200
    assert running.post_crossing(crossing("c-4711", "exit", 1), secret="wrong") == 401
    counted = running.metrics()
    text = httpx.get(f"{running.url}/metrics").text
    time.sleep(2.5)  # the worker meets LaunchDarkly's missing token, and says so
    assert running.end() == 0
    arrivals = {
        ("reporting", "new"): 1,
        ("reporting", "quarantined"): 1,
        ("segments", "new"): 1,
        ("segments", "stale"): 1,
    }
    for (door, outcome), number in arrivals.items():
        assert counted[f'lift_receiver_arrivals_total{{door="{door}",outcome="{outcome}"}}'] == number
    assert counted['lift_receiver_answers_total{door="reporting",status="401"}'] == 1
    assert counted["lift_receiver_answer_seconds_count"] == 6
    assert counted['lift_receiver_waiting{what="quarantined"}'] == 1
    log = "".join(running.said)
    assert "LAUNCHDARKLY_ACCESS_TOKEN is not set" in log
    for private in ("4711", "ann@", SECRET, SIGNING_KEY):
        assert private not in text + log


def test_what_was_put_aside_is_listed_and_taken_in_once_it_can_be_understood(tmp_path):
    workspace, folder = Workspace.open(Settings(lift_home=str(tmp_path / "lake"))), Folder(str(tmp_path))
    odd = [Unusable("segments", crossing("c-4711", "enter", 1), "`experiment` is unknown")]
    odd += [Unusable("segments", b"\xff", "is not UTF-8"), Unusable("reporting", b"[]", "is no JSON object")]
    with Inbox(inbox_path(workspace)) as inbox:
        inbox.accept([*odd, odd[1]], at=time.time())
        listed = held_text(held(workspace))
        assert "is not UTF-8" in listed
        assert "4711" not in listed
        assert retry_held(workspace, folder).mended == 0
        (tmp_path / "cart.yml").write_text(SPEC.format(key="cart"))
        assert retried_text(retry_held(workspace, folder)) == "1 bodies taken in; 2 remain put aside"
        assert retry_held(workspace, folder).mended == 0
        assert [each.customer for each in inbox.standings()] == ["c-4711"]
        assert inbox.waiting() == Waiting(0, 1, 2)


def test_another_process_may_apply_what_one_only_keeps(receiver, tmp_path):
    running = receiver("--keep-only")
    assert running.post_report(report(1)) == 200
    assert running.post_crossing(crossing("c1", "enter", 1)) == 200
    done = running.run("--once", expect=2)
    assert "1 deliveries and 0 crossings applied" in done.stdout
    assert "refused: LAUNCHDARKLY_ACCESS_TOKEN is not set" in done.stdout
    assert running.post_report(report(2)) == 200


def test_the_vendors_own_examples_are_understood(keeping):
    document = SPECS / "customerio-reporting-webhooks-openapi.json"
    if not document.is_file():
        pytest.skip("the vendor's document is not beside the checkout")
    post = json.loads(document.read_text())["webhooks"]["reportingWebhook"]["post"]
    examples = post["requestBody"]["content"]["application/json"]["examples"]
    before = keeping.metrics()
    for number, example in enumerate(examples.values()):
        body = json.dumps({**example["value"], "event_id": f"example{number}"}).encode()
        assert keeping.post_report(body) == 200
    after = keeping.metrics()
    gained = {name: after[name] - before.get(name, 0) for name in after if "arrivals_total" in name}
    assert gained['lift_receiver_arrivals_total{door="reporting",outcome="new"}'] == 2
    assert gained['lift_receiver_arrivals_total{door="reporting",outcome="unneeded"}'] == 1
    assert sum(gained.values()) == 3
