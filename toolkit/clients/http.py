"""One wire for every vendor: pacing, retries, and refusals in our own errors.

All waiting happens at one place, before a request goes out: what the vendor asks for, the pace and the
back-off only move the instant before which nothing is sent. `stamina` decides whether to try again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import httpx
import stamina

from toolkit.clients.answers import is_cut_short, parsed
from toolkit.clients.refusals import Refusal, Vendor, names_refused, reason_of
from toolkit.clients.streams import Patience
from toolkit.clients.waits import seconds_asked, seconds_until_reset
from toolkit.errors import DataError, RateLimited, SettingsError, UnexpectedAnswer, Unreachable, VendorError

__all__ = ["Refusal", "Timing", "Vendor", "Wire", "path_of", "usable_secret"]

logger = logging.getLogger(__name__)
logging.getLogger("stamina").addHandler(logging.NullHandler())  # our own line says more than its bare one

ATTEMPTS = 8
ATTEMPTS_TO_CONNECT = 5
BUDGET_SECONDS = 90.0
BACKOFF_SECONDS = 0.5
MOST_BACKOFF_SECONDS = 16.0
JITTER_SECONDS = 1.0
PACE_MARGIN = 1.05
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
"""Of each read; an answer has `BUDGET_SECONDS` to begin, and as long again to end."""
LEAST_BYTES_PER_SECOND = 10_000
"""Where much is sent, there is more time: as long as it takes at this pace."""
NO_PARTS = ("", ".", "..")
"""What cannot be a part of an address: it would lead elsewhere, percent-encoded or not."""
SHORTEST_SECRET = 6
LOUD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Where time and chance come from. `clock` only ever grows; `wall` is seconds since the epoch."""

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random


class _Passing(Exception):
    """What may pass: the error to raise in the end, made of how often and how long it was tried."""

    def __init__(self, kind: type[VendorError], what: str, mend: str, told_seconds: float = 0.0) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.mend = mend
        self.told_seconds = told_seconds
        self.attempts = ATTEMPTS


class Wire:
    """An `httpx.Client` for one vendor, for one thread.

    Args:
        vendor: names for messages.
        base_url: the vendor's address; `vendor.url_variable` is named if it cannot be used.
        headers: sent with every request, the key among them.
        secrets: texts to strike out of whatever a vendor says.
        transport: stands for the network in tests.
        timing: clocks, sleep and chance.
        per_second: at most so many requests a second; no pace where None.
        refused: turns a 4xx into an error.
    """

    def __init__(
        self,
        vendor: Vendor,
        base_url: str,
        *,
        headers: Mapping[str, str],
        secrets: tuple[str, ...],
        transport: httpx.BaseTransport | None = None,
        timing: Timing | None = None,
        per_second: float | None = None,
        refused: Callable[[Refusal], VendorError] = Refusal.error,
    ) -> None:
        self.host = _host_of(base_url, vendor)
        self._vendor = vendor
        self._base_url = base_url.rstrip("/")
        self._secrets = tuple(each for each in secrets if len(each) >= SHORTEST_SECRET)
        self._timing = timing or Timing()
        self.clock = self._timing.clock
        self._pace_seconds = PACE_MARGIN / per_second if per_second else 0.0
        self._refused = refused
        self._not_before = self._timing.clock()
        self._client = httpx.Client(headers=dict(headers), transport=transport, timeout=TIMEOUT)
        self._patience = Patience(self._client, self.clock)

    def __repr__(self) -> str:
        return f"Wire({self._vendor.name}, {self.host})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        parse_float: Callable[[str], Any] | None = None,
        may_be_empty: bool = False,
    ) -> Mapping[str, Any]:
        """Return the JSON object that the vendor answers.

        Requests are repeated after 429, 408, 5xx, lost connections, time-outs, answers that are cut short and a
        207 without what it refused, so they must be ones that may be sent twice.

        Args:
            method: of the request.
            path: beneath the base URL, already percent-encoded (see `path_of`).
            query: parameters; encoded here, a "+" as %2B.
            body: JSON, already encoded.
            content_type: of the body.
            parse_float: as for `json.loads`.
            may_be_empty: take an empty body for {}.

        Raises:
            RateLimited: still too many requests after the last try, or a wait beyond the budget is asked.
            Unreachable: no connection, a time-out, an answer that trickles, or 5xx after the last try.
            UnexpectedAnswer: a redirect, a web page, JSON that is cut short, or a 207 that does not name what
                was refused, after the last try.
            VendorError: whatever `refused` makes of a 4xx.
        """
        answer = self._send(method, path, query=query, body=body, content_type=content_type)
        if may_be_empty and not answer.content.strip():
            return {}
        return parsed(answer.content, f"{self._vendor.name} at {method} {path}", parse_float=parse_float)

    def ask_where(self, method: str, path: str, *, body: bytes, content_type: str) -> str:
        """Return the last part of the path in the `Location` that the vendor answers; "" if there is none.

        It may be whole or relative (RFC 3986), and may end in a slash. Errors are those of `ask`.
        """
        answer = self._send(method, path, body=body, content_type=content_type)
        try:
            there = urlsplit(str(answer.headers.get("Location", ""))).path
        except ValueError:
            return ""
        last = unquote(there.rstrip("/").rsplit("/", 1)[-1])
        return "" if last in NO_PARTS else last

    def clean(self, text: str) -> str:
        """Return what a vendor said without our secrets, on one line, 300 letters at most."""
        for each in self._secrets:
            text = text.replace(each, "…")
        return " ".join(text.split())[:300]

    def pause(self, seconds: float) -> None:
        """Send nothing for so many seconds, as where the vendor is at work on something."""
        self._not_before = max(self._not_before, self._timing.clock() + seconds)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> httpx.Response:
        url = self._base_url + path
        if query:
            url += "?" + urlencode(query, quote_via=quote, safe="")
        headers = {"Content-Type": content_type} if body is not None else {}
        request = self._client.build_request(method, url, content=body, headers=headers)
        return self._persistently(request, f"{method} {path}")

    def _persistently(self, request: httpx.Request, route: str) -> httpx.Response:
        """Send until there is an answer that will not pass, within attempts and budget."""
        clock = self._timing.clock
        tried, waited = 0, 0.0
        self._await_turn(route)
        began = clock()

        def again(error: Exception) -> bool | float:
            nonlocal waited
            if not isinstance(error, _Passing):
                return False
            backoff = min(MOST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** (tried - 1))
            jitter = self._timing.chance() * min(JITTER_SECONDS, backoff)
            wait = max(backoff, error.told_seconds) + jitter
            if tried >= error.attempts or max(waited, clock() - began) + wait > BUDGET_SECONDS:
                self._not_before = max(self._not_before, clock() + error.told_seconds)
                return False
            waited += wait
            level = logging.WARNING if wait >= LOUD_SECONDS else logging.INFO
            logger.log(level, "%s; waiting %.1f s", error, wait)
            self._not_before = max(self._not_before, clock() + wait)
            return 0.0  # the wait is spent before the next request goes out

        last: _Passing
        try:
            for attempt in stamina.retry_context(on=again, attempts=ATTEMPTS, timeout=None):
                with attempt:
                    if tried:
                        self._await_turn(route)
                    tried += 1
                    return self._once(request, route)
        except _Passing as passing:
            last = passing
        took = max(waited, clock() - began)
        times = "once" if tried == 1 else f"{tried} times"
        asked = f"; it asks to wait {last.told_seconds:.0f} s" if last.told_seconds > 0 else ""
        raise last.kind(f"{last.what}, tried {times} over {took:.0f} s{asked}: {last.mend}")

    def _await_turn(self, route: str) -> None:
        """Sleep until a request may go out, and keep the pace for the next."""
        wait = self._not_before - self._timing.clock()
        if wait > BUDGET_SECONDS:
            raise RateLimited(
                f"{self._vendor.name} takes no more requests for {wait:.0f} s, told before {route}: run again then"
            )
        if wait > 0:
            self._timing.sleep(wait)
        self._not_before = max(self._not_before, self._timing.clock()) + self._pace_seconds

    def _once(self, request: httpx.Request, route: str) -> httpx.Response:
        try:
            answer = self._answer(request)
        except httpx.RequestError as error:
            problem = self._lost(error, route)
        else:
            until_reset = seconds_until_reset(answer, self._timing.wall())
            if until_reset > 0:
                until_reset += self._timing.chance() * JITTER_SECONDS
                self._not_before = max(self._not_before, self._timing.clock() + until_reset)
            return self._judged(answer, route)
        raise problem  # out here, so that nothing is chained to a request and its headers

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """Return the whole answer."""
        sending = len(request.content) / LEAST_BYTES_PER_SECOND
        answer = self._patience.stream(request, seconds=BUDGET_SECONDS + sending)
        try:
            answer.read()
        finally:
            answer.close()
        return answer

    def _lost(self, error: httpx.RequestError, route: str) -> Exception:
        name, kind = self._vendor.name, type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return _Passing(
                Unreachable,
                f"{name}: {self.host} did not answer in time ({self.clean(str(error)) or kind}) at {route}",
                "check the network, then run again",
            )
        if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.DecodingError):
            return UnexpectedAnswer(
                f"{name} at {route}: {kind}; check {self._vendor.url_variable} and any proxy between"
            )
        told = self.clean(str(error)) or kind
        if "CERTIFICATE_VERIFY_FAILED" in told:
            return Unreachable(
                f"{self._vendor.name}: the certificate of {self.host} is not trusted at {route}: if a proxy of"
                " your own signs it, name its certificate in SSL_CERT_FILE"
            )
        lost = _Passing(
            Unreachable,
            f"{self._vendor.name}: no connection to {self.host} ({told}) at {route}",
            f"check the network, the proxy settings and {self._vendor.url_variable}",
        )
        if isinstance(error, httpx.ConnectError):
            lost.attempts = ATTEMPTS_TO_CONNECT  # a name that does not resolve rarely does a minute later
        return lost

    def _judged(self, answer: httpx.Response, route: str) -> httpx.Response:
        """Return a 2xx; raise for everything else."""
        name, status = self._vendor.name, answer.status_code
        if 200 <= status < 300:
            if is_cut_short(answer.content):  # whatever was asked is done, and may be asked again
                raise _Passing(
                    UnexpectedAnswer,
                    f"{name} at {route}: the answer is cut short or broken JSON ({len(answer.content)} bytes)",
                    "run again, and if it stays so, check the address and any proxy between",
                )
            if status == 207 and not names_refused(answer.content):  # as good as if nothing had been done
                raise _Passing(
                    UnexpectedAnswer,
                    f"{name} at {route}: it refused some of what was sent (207), and does not say which",
                    "none of it counts as done; run again, and if it stays so, check any proxy between",
                )
            return answer
        if status == 429:
            raise _Passing(
                RateLimited,
                f"{name} answers that there are too many requests (429) at {route}",
                "run again in a few minutes; whatever else uses this account shares the limit",
                seconds_asked(answer, self._timing.wall()),
            )
        if status == 408 or status >= 500:
            raise _Passing(
                Unreachable,
                f"{name} ({self.host}) failed ({status}) at {route}",
                "the trouble is on its side; see its status page and run again later",
                seconds_asked(answer, self._timing.wall()),
            )
        if status < 400:
            raise UnexpectedAnswer(
                f"{name} sends us elsewhere ({status}) at {route}: check {self._vendor.url_variable} and the region"
            )
        code, said = reason_of(answer.content)
        raise self._refused(Refusal(self._vendor, route, status, self.clean(code), self.clean(said)))


def path_of(*parts: str | int) -> str:
    """Return the path of `parts`, each percent-encoded.

    Raises:
        DataError: a part is empty or made of dots, and would lead elsewhere.
    """
    for each in parts:
        if str(each) in NO_PARTS:
            raise DataError(f"{str(each)!r} cannot be a key or number in an address")
    return "".join("/" + quote(str(each), safe="") for each in parts)


def _host_of(base_url: str, vendor: Vendor) -> str:
    try:
        split = urlsplit(base_url)
        usable = split.scheme in ("http", "https") and "@" not in split.netloc
        host = split.hostname
    except ValueError:
        usable, host = False, None
    if not usable or not host:
        raise SettingsError(f"{vendor.url_variable} must look like https://host, without a user in it")
    return host


def usable_secret(secret: str, variable: str) -> str:
    """Return the secret without blanks around it.

    Raises:
        SettingsError: it is empty or holds what no header can; the message names the variable only.
    """
    bare = secret.strip()
    if not bare or not bare.isascii() or not bare.isprintable() or " " in bare:
        raise SettingsError(f"{variable} is empty or holds blanks or letters that no key has; copy it anew")
    return bare
