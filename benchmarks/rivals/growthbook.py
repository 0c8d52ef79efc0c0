"""GrowthBook's published bucket (hash version 2: FNV-1a, 32 bits, twice) in Python: `… growthbook IDS`."""

from __future__ import annotations

import json
import sys
import time

OFFSET, PRIME, MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


def fnv1a(text: str) -> int:
    """Return the 32-bit FNV-1a hash of `text`."""
    value = OFFSET
    for character in text:
        value = ((value ^ ord(character)) * PRIME) & MASK
    return value


def bucket(seed: str, identifier: str) -> float:
    """Return the bucket, from 0 to 1, in steps of 1/10,000."""
    return fnv1a(str(fnv1a(seed + identifier))) % 10_000 / 10_000


if __name__ == "__main__":
    ids = [f"u{number:08d}" for number in range(int(sys.argv[1]))]
    started = time.perf_counter()
    held = sum(bucket("61", each) < 0.1 for each in ids)
    print(json.dumps({"microseconds": (time.perf_counter() - started) / len(ids) * 1e6, "held": held}))
