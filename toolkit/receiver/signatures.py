"""Whether a request is authentic. Pure: bytes in, a truth out, in a time that tells nothing of the secret."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

__all__ = ["MOST_AHEAD_SECONDS", "is_signed", "knows_secret", "signature_of"]

VERSION = "v0"
MOST_AHEAD_SECONDS = 300
"""How far the sender's clock may be ahead of ours."""
WRITTEN_SIGNATURE = re.compile(r"(?:v0=)?([0-9a-f]{64})", re.ASCII)
WRITTEN_INSTANT = re.compile(r"[0-9]{1,12}", re.ASCII)


def signature_of(key: bytes, timestamp: str, body: bytes) -> str:
    """Return the signature of a body sent at `timestamp`: HMAC-SHA256 over `v0:timestamp:body`, hexadecimal."""
    return hmac.new(key, f"{VERSION}:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()


def is_signed(
    key: bytes,
    timestamps: Sequence[str],
    signatures: Sequence[str],
    body: bytes,
    *,
    now: float,
    tolerance_seconds: float,
) -> bool:
    """Return whether `body` was signed with `key`, not longer ago than tolerated.

    A header that is missing, or comes twice, is no signature: which of two would be the one is a guess.

    Args:
        key: the signing key.
        timestamps: every value of the timestamp's header, in seconds since 1970.
        signatures: every value of the signature's header: lower-case hexadecimal, maybe after `v0=`.
        body: as it came.
        now: seconds since 1970.
        tolerance_seconds: how old a signature may be.
    """
    if len(timestamps) != 1 or len(signatures) != 1:
        return False
    (timestamp,), (signature,) = timestamps, signatures
    written = WRITTEN_SIGNATURE.fullmatch(signature)
    if written is None or WRITTEN_INSTANT.fullmatch(timestamp) is None:
        return False
    if not hmac.compare_digest(written.group(1), signature_of(key, timestamp, body)):
        return False
    return -MOST_AHEAD_SECONDS <= now - int(timestamp) <= tolerance_seconds


def knows_secret(secret: bytes, given: Sequence[str]) -> bool:
    """Return whether the one header of `given` is `secret`."""
    return len(given) == 1 and hmac.compare_digest(given[0].encode("latin-1", "replace"), secret)
