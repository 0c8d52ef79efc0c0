"""The ledger between measurements: what is known of its files that were read, so that only new ones are looked through."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import numpy as np

from toolkit.design.experiment import Experiment
from toolkit.lake.engine import Engine, micros_of
from toolkit.lake.ledger import Ledger
from toolkit.lake.signs import Numbers, Signs
from toolkit.lake.tables import files_by_name

__all__ = ["Enrolled", "Enrolment", "enrolled_anew", "enrolled_since"]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Files of the ledger in which every row counts and nobody stands twice.

    Attributes:
        fits: the digest of what arms and signs depend on.
        files: the ledger's files that were read.
        arms: rows by the arm's place.
        first, last: the first and the last assignment, in microseconds since 1970.
        signs: runs of the signs of ids, as a state keeps those of events.
    """

    fits: str = ""
    files: list[str] = field(default_factory=list)
    arms: list[int] = field(default_factory=list)
    first: int = 0
    last: int = 0
    signs: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """The ledger's rows as far as they are known, and the signs of those that no run holds yet."""

    enrolled: Enrolled
    fresh: Signs


def enrolled_since(
    con: Engine,
    experiment: Experiment,
    enrolled: Enrolled,
    runs: Sequence[Signs],
    paths: Sequence[str],
    written: Callable[[Sequence[str]], str],
    *,
    as_of_end: datetime,
) -> Enrolment | None:
    """Return the ledger of the files at `paths`, of which only new ones are read; None where all must be.

    `written` gives the query (id, arm, assigned) of some files.
    """
    files = files_by_name(paths)
    if enrolled.fits != _fits(con, experiment) or not files.keys() >= set(enrolled.files):
        return None
    fresh = [path for name, path in files.items() if name not in enrolled.files]
    arms, first, last = list(enrolled.arms), enrolled.first, enrolled.last
    signs = np.zeros(0, np.uint64)
    if fresh:
        rows = con.rows(
            "SELECT arm, count(*), count(assigned), min(assigned), max(assigned) "
            f"FROM ({written(fresh)}) GROUP BY arm"
        )
        for arm, count, dated, low, high in rows:
            if arm is None or dated < count:
                return None
            arms[arm] += count
            first, last = min(first, low), max(last, high)
        signs = _signs(con, f"({written(fresh)})")
        if (signs[1:] == signs[:-1]).any() or any(run.found(signs)[0].any() for run in runs):
            return None
    starts, ends = micros_of(experiment.starts_at), micros_of(experiment.ends_at)
    if first < starts or last > ends or last >= micros_of(as_of_end):
        return None
    return Enrolment(Enrolled(enrolled.fits, list(files), arms, first, last, enrolled.signs), _of_ids(signs))


def enrolled_anew(con: Engine, experiment: Experiment, ledger: Ledger) -> Enrolment | None:
    """Return what the next measurement can go on from, where every row of the ledger counts. Needs `written`."""
    strange = ledger.repeated or ledger.crossed or ledger.outside or ledger.later
    if not ledger.files or strange or ledger.first_at is None or ledger.last_at is None:
        return None
    if con.rows("SELECT 1 FROM written WHERE assigned IS NULL LIMIT 1"):
        return None
    first, last = micros_of(ledger.first_at), micros_of(ledger.last_at)
    counts = [ledger.customers[arm] for arm in experiment.arms]
    enrolled = Enrolled(_fits(con, experiment), list(files_by_name(ledger.files)), counts, first, last)
    return Enrolment(enrolled, _of_ids(_signs(con, "written")))


def _fits(con: Engine, experiment: Experiment) -> str:
    said = [duckdb.__version__, con.sign("id"), experiment.key, list(experiment.arms)]
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _signs(con: Engine, relation: str) -> Numbers:
    found = con.con.execute(f"SELECT {con.sign('id')} AS sign FROM {relation} WHERE id <> ''").fetchnumpy()
    return np.sort(np.asarray(found["sign"], np.uint64))


def _of_ids(signs: Numbers) -> Signs:
    return Signs(signs, np.zeros(len(signs), np.uint8))
