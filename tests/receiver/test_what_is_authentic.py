"""Nothing that was not signed as it stands gets in, whatever was done to it, and nothing makes the receiver fail."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
import time
from collections import Counter

import pytest

from benchmarks.storm import report, signed
from tests.receiver.served import SECRET, SIGNING_KEY, crossing
from toolkit.lake.inbox import Inbox
from toolkit.lake.received import Waiting
from toolkit.receiver.app import Keys, receiver_app
from toolkit.receiver.commits import Committer
from toolkit.receiver.signatures import is_signed, signature_of
from toolkit.receiver.tallies import Tallies

TOLERANCE = 648_000
DAY = 86_400
Headers = list[tuple[bytes, bytes]]


class App:
    """The application as a server calls it, so that any bytes can stand in headers and body."""

    def __init__(self, path):
        keys = Keys(SIGNING_KEY.encode(), SECRET.encode(), TOLERANCE)
        self.committer = Committer(path)
        self.committer.start()
        self.app = receiver_app(keys, self.committer, lambda: {"cart": "id"}, Tallies())

    async def ask(self, path, headers, *parts):
        """Return the status."""
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": ""}
        scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http"}
        scope |= {"server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2), "asgi": {"version": "3.0"}}
        coming = [
            {"type": "http.request", "body": part, "more_body": at + 1 < len(parts)}
            for at, part in enumerate(parts)
        ]
        sent = []

        async def receive():
            return coming.pop(0) if coming else await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        return sent[0]["status"]


@pytest.fixture
def app(tmp_path):
    made = App(tmp_path / "inbox.sqlite")
    yield made
    made.committer.stop()


def kept(tmp_path):
    with Inbox(tmp_path / "inbox.sqlite") as inbox:
        return inbox.waiting()


def authentic(number) -> tuple[Headers, bytes]:
    body = report(number)
    return [
        (name.lower().encode(), value.encode()) for name, value in signed(body, SIGNING_KEY).items()
    ], body


def with_header(headers: Headers, name: bytes, value: bytes) -> Headers:
    return [(key, value if key == name else old) for key, old in headers]


def flip(chance, value: bytes) -> bytes:
    at = chance.randrange(len(value))
    return value[:at] + bytes([value[at] ^ (1 << chance.randrange(8))]) + value[at + 1 :]


STAMP, SIGNATURE = b"x-cio-timestamp", b"x-cio-signature"


def mutated(chance, headers: Headers, body: bytes) -> tuple[str, Headers, bytes]:
    """Return a request that is not the one that was signed, and how it was made."""
    stamp, signature = dict(headers)[STAMP], dict(headers)[SIGNATURE]
    other = hmac.new(b"another key, as long as it", b"v0:" + stamp + b":" + body, hashlib.sha256).hexdigest()
    unversioned = hmac.new(SIGNING_KEY.encode(), stamp + b":" + body, hashlib.sha256).hexdigest()
    shorter = hmac.new(SIGNING_KEY.encode(), b"v0:" + stamp + b":" + body, hashlib.sha1).hexdigest()
    bodies = {
        "a bit of the body": flip(chance, body),
        "a truncated body": body[: chance.randrange(len(body))],
        "a longer body": body + chance.choice([b" ", b"\n", b"\0", b"{}"]),
        "another encoding": body.decode().encode(chance.choice(["utf-16", "utf-32", "utf-8-sig"])),
        "other Unicode": body.replace(b'"', chance.choice("“„＂ʺ").encode(), 1),
        "another case": body.swapcase(),
        "no body": b"",
    }
    signatures = {
        "a bit of the signature": flip(chance, signature),
        "a truncated signature": signature[: chance.randrange(len(signature))],
        "a longer signature": signature + chance.choice([b"0", b" ", b"\0", signature]),
        "an upper-case signature": signature.upper(),
        "another version": chance.choice([b"v1=", b"v0:", b"V0=", b"v0=v0=", b"sha256="]) + signature,
        "two signatures in one": signature + b"," + signature,
        "another key": other.encode(),
        "no version signed": unversioned.encode(),
        "another hash": shorter.encode(),
        "letters beyond ASCII": signature[:-1] + chance.choice(["é", "０", "а"]).encode(),
        "a constant": chance.choice([b"", b"0" * 64, b"v0=", b"null", b"true", b"*"]),
    }
    stamps = {
        "another time": str(int(stamp) + chance.choice([-1, 1, -DAY, DAY, 10**9])).encode(),
        "a padded time": chance.choice([b"0", b"+", b"-", b" "]) + stamp,
        "a fraction": stamp + chance.choice([b".0", b"e0", b"_0", b"s"]),
        "digits beyond ASCII": stamp.decode().translate({48 + n: 0xFF10 + n for n in range(10)}).encode(),
        "no number": chance.choice([b"", b"now", b"\xff", b"1" * 400]),
    }
    made = {name: (headers, new) for name, new in bodies.items()}
    made |= {name: (with_header(headers, SIGNATURE, new), body) for name, new in signatures.items()}
    made |= {name: (with_header(headers, STAMP, new), body) for name, new in stamps.items()}
    gone = chance.choice([STAMP, SIGNATURE])
    made["a missing header"] = [each for each in headers if each[0] != gone], body
    made["a header twice"] = [*headers, (gone, dict(headers)[gone])], body
    made["a second, other header"] = [*headers, (gone, flip(chance, dict(headers)[gone]))], body
    made["swapped headers"] = with_header(with_header(headers, STAMP, signature), SIGNATURE, stamp), body
    made["other names"] = [(key.replace(b"-", b"_"), value) for key, value in headers], body
    age = chance.choice([-TOLERANCE - 60, -9 * DAY, 400, DAY])
    away = signed(body, SIGNING_KEY, at=time.time() + age)
    made["a signature of another time"] = [(k.lower().encode(), v.encode()) for k, v in away.items()], body
    name = chance.choice(sorted(made))
    return name, *made[name]


def test_ten_thousand_mutated_requests_are_refused_and_none_is_kept(app, tmp_path):
    chance, statuses, kinds = random.Random(7), Counter(), Counter()

    async def storm():
        for number in range(10_000):
            kind, headers, body = mutated(chance, *authentic(number))
            status = await app.ask("/customerio/reporting", headers, body)
            assert status == 401, kind
            statuses[status] += 1
            kinds[kind] += 1

    asyncio.run(storm())
    print(f"{len(kinds)} kinds of mutations, statuses {dict(statuses)}")
    assert len(kinds) > 25
    assert kept(tmp_path) == Waiting(0, 0, 0)


def test_what_is_signed_is_kept_whatever_the_case_of_header_names_and_with_or_without_the_version(
    app, tmp_path
):
    async def ask():
        headers, body = authentic(1)
        assert await app.ask("/customerio/reporting", headers, body[:10], body[10:]) == 200
        headers, body = authentic(2)
        versioned = with_header(headers, SIGNATURE, b"v0=" + dict(headers)[SIGNATURE])
        assert await app.ask("/customerio/reporting", versioned, body) == 200

    asyncio.run(ask())
    assert kept(tmp_path).deliveries == 2


def test_a_secret_that_is_nearly_right_is_wrong(app, tmp_path):
    body, right = crossing("c1", "enter", 1), SECRET.encode()
    wrong = [
        [],
        [right[:-1]],
        [right + b" "],
        [right.upper()],
        [b""],
        [right, right],
        [b"wrong", right],
        [right + b"\xff"],
        ["“secret”".encode()],
        [b"Bearer " + right],
    ]

    async def ask():
        for values in wrong:
            headers = [(b"x-lift-secret", value) for value in values]
            assert await app.ask("/segments", headers, body) == 401
        assert kept(tmp_path).crossings == 0
        assert await app.ask("/segments", [(b"x-lift-secret", right)], body) == 200

    asyncio.run(ask())
    assert kept(tmp_path).crossings == 1


def test_thousands_of_authentic_bodies_of_any_form_are_kept_or_put_aside_but_never_a_failure(app, tmp_path):
    """Whoever has the key may still send nonsense; it is acknowledged, lest the vendor repeat it for a week."""
    chance, statuses = random.Random(8), Counter()
    deep = b'{"data":' * 50_000
    odd = [
        deep,
        b"[" * 100_000,
        report(1, event_id="\ud800"),
        crossing("\ud800", "enter", 1),
        b'{"event_id":1e400}',
        b"9" * 5_000,
        b'"text"',
        b"null",
        b"NaN",
        report(1, timestamp=float("1e308")),
        report(1, timestamp="1_790_000_000_000"),
        report(1, event_id=10**30),
        report(1, event_id="x" * 10_000),
        report(1, data={"delivery_id": "d", "identifiers": {"id": True}}),
        report(1, data=[]),
    ]

    async def send(number):
        body = odd[number // 2] if number // 2 < len(odd) else mutated(chance, *authentic(number))[2]
        if number % 2:
            headers = [(k.lower().encode(), v.encode()) for k, v in signed(body, SIGNING_KEY).items()]
            return await app.ask("/customerio/reporting", headers, body)
        return await app.ask("/segments", [(b"x-lift-secret", SECRET.encode())], body)

    async def storm():
        for start in range(0, 2_000, 500):
            statuses.update(await asyncio.gather(*map(send, range(start, start + 500))))

    asyncio.run(storm())
    assert set(statuses) == {200}


@pytest.mark.parametrize(
    ("age", "accepted"),
    [(0, True), (7 * DAY, True), (TOLERANCE, True), (TOLERANCE + 1, False), (-300, True), (-301, False)],
)
def test_a_signature_counts_for_seven_and_a_half_days_and_from_five_minutes_ahead(age, accepted):
    now = 1_800_000_000
    stamp = str(now - age)
    signature = signature_of(b"key", stamp, b"body")
    found = is_signed(b"key", [stamp], [signature], b"body", now=now, tolerance_seconds=TOLERANCE)
    assert found is accepted


def test_the_signature_is_the_vendors():
    """A value computed with OpenSSL: printf 'v0:1790000000:{}' | openssl dgst -sha256 -hmac key."""
    assert (
        signature_of(b"key", "1790000000", b"{}")
        == "ef363b5ed529f7b549df3e7c1e40f58cc2cd335be177d195aa556259bfeafa20"
    )
