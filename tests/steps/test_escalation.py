"""Who moves on to the second offer, and who comes back: at every boundary, and by the table in the docs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.design.lookup import values_of
from toolkit.design.parse import parse_experiment
from toolkit.errors import SpecError
from toolkit.lake.escalation import escalated
from toolkit.lake.intake import kept_as, note_through
from toolkit.lake.tables import Lake

DOCS = Path(__file__).parents[2] / "docs" / "escalation.md"
LONG = bool(os.environ.get("LIFT_LONG"))
MOMENT, AFTER = timedelta(microseconds=1), timedelta(days=14)
START = datetime(2026, 3, 1, tzinfo=UTC)
SPEC = """\
key: two-steps
start: 2026-03-01
end: 2026-12-31
cohort: {source: files}
assignment: {source: files}
arms: {holdout: 0.4, plain: 0.3, escalating: 0.3}
control: holdout
traits:
  - {name: offer, type: enum, default: none, values: {plain: free_shipping, escalating: free_shipping},
     escalate: {arms: [escalating], to: ten_percent, after: 14d, opt_out: Unsubscribed}}
events: {source: files}
metrics:
  - {name: purchase_rate, kind: conversion, event: Order Completed, role: primary}
"""
EXPERIMENT = parse_experiment(SPEC, "x.yml")
FROM_CUSTOMERIO = parse_experiment(
    SPEC.replace("cohort: {source: files}", "cohort: {source: customerio, segment: 1}")
    .replace("assignment: {source: files}\n", "")
    .replace("events: {source: files}", "events: {source: customerio}"),
    "x.yml",
)
MOMENTS = st.integers(-3, 3).map(lambda count: count * MOMENT)
IN_THE_SPAN = st.one_of(
    MOMENTS, MOMENTS.map(lambda by: AFTER + by), st.integers(0, 20).map(lambda days: timedelta(days=days))
)
EVENT = st.tuples(st.sampled_from(["Order Completed", "Unsubscribed", "Page Viewed"]), IN_THE_SPAN)


def written(folder, assigned, events, *, key="id"):
    """Write the assignments (id → instant) and the events (id, name, instant)."""
    arms = {
        "id": list(assigned),
        "arm": ["escalating"] * len(assigned),
        "assigned_at": list(assigned.values()),
    }
    pq.write_table(pa.table(arms), folder / "assignments.parquet")
    columns = dict(zip(("id", "name", "timestamp"), zip(*events, strict=True), strict=True))
    pq.write_table(
        pa.table({name: pa.array(values) for name, values in columns.items()}), folder / "events.parquet"
    )
    return str(folder / "x.yml")


def moved(folder, assigned, events, *, now, experiment=EXPERIMENT):
    return escalated(Lake(str(folder / "lake")), experiment, written(folder, assigned, events), now=now)


@settings(
    max_examples=400 if LONG else 20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    customers=st.lists(st.tuples(IN_THE_SPAN, st.lists(EVENT, max_size=2)), min_size=1, max_size=20),
    known=IN_THE_SPAN,
    now=IN_THE_SPAN,
)
def test_whoever_went_the_whole_span_without_an_order_moves_on_at_the_very_instant(
    tmp_path, customers, known, now
):
    """A customer's own span is laid so that the events' end falls on and around its boundary."""
    start, through, present = (
        START + timedelta(days=40),
        START + timedelta(days=40) + known,
        START + timedelta(days=40) + now,
    )
    assigned = {
        f"c{n}": start - (AFTER if n % 2 else timedelta()) + offset for n, (offset, _) in enumerate(customers)
    }
    told = [
        (f"c{n}", name, assigned[f"c{n}"] + at)
        for n, (_, events) in enumerate(customers)
        for name, at in events
    ]
    told.append(("somebody", "Page Viewed", through))
    reached = max((at for _, _, at in told if at <= present), default=None)
    expected = {
        who
        for who, at in assigned.items()
        if at < present
        and reached is not None
        and at + AFTER <= reached
        and not any(
            each == who and name in {"Order Completed", "Unsubscribed"} and happened >= at
            for each, name, happened in told
        )
    }
    assert moved(tmp_path, assigned, told, now=present) == expected


# ---- the table in the docs -------------------------------------------------------------------------------


def table():
    rows = [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in DOCS.read_text().splitlines()
        if line.startswith("|")
    ]
    return {(row[0], row[1]): row[2] for row in rows if len(row) == 3 and row[0] not in {"in state", "---"}}


def values():
    said = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|$", DOCS.read_text(), re.MULTILINE))
    words = {"default": "none", "escalate.to": "ten_percent", "first value": "free_shipping"}
    return {
        state: next(value for word, value in words.items() if word in text) for state, text in said.items()
    }


TABLE, VALUES = table(), values()
PASSED, UNCOVERED = (
    "after has passed, and the events cover it",
    "after has passed, and the events do not cover it",
)


@dataclass
class Life:
    """What the table says of one customer, and what has happened to them."""

    state: str = "waiting"
    barred: bool = False
    events: list = field(default_factory=list)

    def meets(self, what):
        self.state = TABLE.get((self.state, what), self.state)

    @property
    def value(self):
        return VALUES[TABLE["any", "protection begins"] if self.barred else self.state]


STEP = st.tuples(
    st.sampled_from([timedelta(days=3), timedelta(days=7), AFTER]),
    st.booleans(),
    st.lists(
        st.sampled_from(["nothing"] * 8 + ["order", "opt_out", "protect", "release"]),
        min_size=12,
        max_size=12,
    ),
)


@settings(
    max_examples=40 if LONG else 4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEP, min_size=4, max_size=9))
def test_offers_move_on_and_back_as_the_table_in_the_docs_says(tmp_path, steps):
    assert len(TABLE) == 9
    assert set(VALUES) == {"waiting", "escalated", "settled", "barred", "over"}
    lives = [Life() for _ in range(12)]
    assigned = {f"c{n}": START for n in range(12)}
    now = reached = START
    told = [("somebody", "Page Viewed", START)]
    for passes, covered, happenings in steps:
        now += passes
        reached = now if covered else reached
        told.append(("somebody", "Page Viewed", reached))
        for n, (life, what) in enumerate(zip(lives, happenings, strict=True)):
            if what in {"order", "opt_out"}:  # it happened when the events end, or is told late
                life.meets("an order" if what == "order" else "opt_out")
                told.append((f"c{n}", "Order Completed" if what == "order" else "Unsubscribed", reached))
            elif what in {"protect", "release"}:
                life.barred = what == "protect"
            if now >= START + AFTER:
                life.meets(PASSED if reached >= START + AFTER else UNCOVERED)
        found = values_of(
            EXPERIMENT,
            dict.fromkeys(assigned, "escalating"),
            barred={f"c{n}" for n, life in enumerate(lives) if life.barred},
            escalated=moved(tmp_path, assigned, told, now=now),
        )
        default = EXPERIMENT.traits[0].default
        assert [found.get(f"c{n}", {"offer": default})["offer"] for n in range(12)] == [
            life.value for life in lives
        ]
    assert TABLE["any", "the offers end"] == "over"
    over = values_of(EXPERIMENT, dict.fromkeys(assigned, "escalating"), over=True)
    assert {over.get(who, {"offer": default})["offer"] for who in assigned} == {VALUES["over"]}


# ---- what is known ---------------------------------------------------------------------------------------


def test_an_event_dated_in_the_future_covers_nothing(tmp_path):
    told = [
        ("somebody", "Page Viewed", START + timedelta(days=2)),
        ("odd", "Page Viewed", START + timedelta(days=900)),
    ]
    assert moved(tmp_path, {"c": START}, told, now=START + timedelta(days=20)) == set()
    told.append(("somebody", "Page Viewed", START + AFTER))
    assert moved(tmp_path, {"c": START}, told, now=START + timedelta(days=20)) == {"c"}


def test_an_order_is_found_whatever_the_case_of_the_address(tmp_path):
    by_email = EXPERIMENT.model_copy(
        update={"identity": EXPERIMENT.identity.model_copy(update={"key": "email"})}
    )
    told = [
        (" Ann@Example.com", "Order Completed", START + MOMENT),
        ("x@example.com", "Page Viewed", START + AFTER),
    ]
    assigned = {"ann@example.com": START, "bob@example.com": START}
    assert moved(tmp_path, assigned, told, now=START + AFTER, experiment=by_email) == {"bob@example.com"}


def pulled(lake, *walks, names=("Order Completed", "Unsubscribed")):
    """Write what pulls that began at `walks` leave behind."""
    lake.append_rows(
        "cursors",
        [
            {
                "source": f"customerio:id:{name}",
                "walk_started_at": at,
                "finished": True,
                "complete_through": at,
                "saved_at": at,
            }
            for name in names
            for at in walks
        ],
    )


@pytest.fixture
def kept(tmp_path):
    """Return a lake with one customer assigned at the start, and an order of somebody else."""
    lake = Lake(str(tmp_path / "lake"))
    lake.append_rows(
        "assignments",
        [
            {
                "experiment": "two-steps",
                "id": "c",
                "arm": "escalating",
                "assigned_at": START + timedelta(days=40),
            }
        ],
    )
    lake.append_rows(
        "events",
        [
            {
                "event_id": "e",
                "id": "other",
                "name": "Order Completed",
                "timestamp": START,
                "source": "customerio:id",
            }
        ],
    )
    return lake


DUE = START + timedelta(days=54)


@pytest.mark.parametrize(
    ("walks", "expected"),
    [
        ([], set()),
        ([DUE - MOMENT], set()),
        ([DUE], {"c"}),
        ([DUE + timedelta(days=16)], {"c"}),  # the first pull reaches back to the very assignment
        ([DUE + timedelta(days=16) + MOMENT], set()),
        ([START + timedelta(days=41), START + timedelta(days=71)], {"c"}),
        ([START + timedelta(days=41), START + timedelta(days=71) + MOMENT], set()),  # a gap of a moment
    ],
)
def test_only_a_span_that_was_pulled_without_a_gap_counts(kept, walks, expected):
    if walks:
        pulled(kept, *walks)
    assert escalated(kept, FROM_CUSTOMERIO, "x.yml", now=START + timedelta(days=90)) == expected


def test_a_folder_of_files_has_no_gap_however_late_it_is_pulled(kept):
    events = FROM_CUSTOMERIO.events.model_copy(update={"source": "pipelines", "path": "tracks"})
    from_folder = FROM_CUSTOMERIO.model_copy(update={"events": events})
    for at, expected in ((DUE - MOMENT, set()), (DUE + timedelta(days=90), {"c"})):
        note_through(kept, kept_as(from_folder, "x.yml"), ["Order Completed", "Unsubscribed"], at, at=at)
        assert escalated(kept, from_folder, "x.yml", now=DUE + timedelta(days=99)) == expected


def test_nobody_moves_on_while_opting_out_was_never_pulled(kept):
    pulled(kept, DUE, names=("Order Completed",))
    assert escalated(kept, FROM_CUSTOMERIO, "x.yml", now=DUE) == set()


def test_an_order_counts_whoever_told_of_it(kept):
    pulled(kept, DUE)
    kept.append_rows(
        "events",
        [
            {
                "event_id": "f",
                "id": "c",
                "name": "Order Completed",
                "timestamp": DUE,
                "source": "files:another",
            }
        ],
    )
    assert escalated(kept, FROM_CUSTOMERIO, "x.yml", now=DUE) == set()


def test_two_traits_of_one_arm_move_on_together_or_the_file_is_refused():
    second = """\
  - {name: banner, type: enum, default: none, values: {escalating: plain}, escalate: {arms: [escalating], to: loud, after: 7d}}
events:"""
    with pytest.raises(SpecError, match="offer and banner escalate customers of one arm by different rules"):
        parse_experiment(SPEC.replace("events:", second, 1), "x.yml")
    together = second.replace("after: 7d", "after: 14d, opt_out: Unsubscribed")
    assert len(parse_experiment(SPEC.replace("events:", together, 1), "x.yml").traits) == 2
