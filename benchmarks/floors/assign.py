"""The bare bucket query over a file of ids: `python -m benchmarks.floors.assign PATH HOW`.

HOW is `substr` (15 digits cut out, then compared) or `whole` (all 40 digits compared with the 15 of the bound:
as text the same customers lie below, and cutting costs more than hashing).
"""

from __future__ import annotations

import json
import sys

import duckdb

from toolkit.design.assignment import held_out_below

SHARE = 0.10


def answer(path: str, how: str) -> dict[str, int]:
    """Return arm → customers."""
    digits = "sha1('61.' || id)"
    place = f"substr({digits}, 1, 15)" if how == "substr" else digits
    return dict(
        duckdb.execute(
            f"SELECT arm, count(*) FROM (SELECT CASE WHEN {place} < '{held_out_below(SHARE)}' THEN 'holdout' "
            f"ELSE 'treatment' END AS arm FROM read_parquet('{path}')) GROUP BY 1"
        ).fetchall()
    )


if __name__ == "__main__":
    print(json.dumps(answer(*sys.argv[1:])))
