"""Customers by number: what is added, put and read back is what one would have written down by hand."""

from __future__ import annotations

import io
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.lake.customers import DOUBLE, WHOLE, Customers, fetched, kind_of_sum
from toolkit.lake.engine import Engine

KINDS = {"y0": WHOLE, "y1": "4", "x2": DOUBLE}
TYPES = {"y0": "BIGINT", "y1": "DECIMAL(38,4)", "x2": "DOUBLE"}
WHOLES = st.none() | st.integers(-(2**50), 2**50)
AMOUNTS = st.none() | st.decimals(-(10**9), 10**9, places=4)
DOUBLES = st.none() | st.floats(-1e9, 1e9)
ROWS = st.dictionaries(
    st.integers(0, 6), st.tuples(WHOLES, AMOUNTS, DOUBLES, st.none() | st.integers(0, 9), st.booleans())
)


def literal(value, declared):
    return "NULL" if value is None else f"CAST('{value!s}' AS {declared})"


def table(rows):
    """Return the query of rows by number: y0, y1, x2, first, here."""
    types = [*TYPES.values(), "BIGINT", "BOOLEAN"]
    lines = [
        f"SELECT {number}::BIGINT AS number, "
        + ", ".join(
            f"{literal(value, of)} AS {name}"
            for value, of, name in zip(row, types, [*TYPES, "first", "here"], strict=True)
        )
        for number, row in rows.items()
    ]
    nothing = ", ".join(
        f"CAST(NULL AS {of}) AS {name}" for of, name in zip(types, [*TYPES, "first", "here"], strict=True)
    )
    return " UNION ALL ".join(
        [f"SELECT * FROM (SELECT CAST(NULL AS BIGINT) AS number, {nothing}) WHERE false", *lines]
    )


def together(one, other):
    return other if one is None else one if other is None else one + other


@settings(deadline=None)  # each opens an engine
@given(before=ROWS, after=ROWS)
def test_what_comes_is_added_where_it_belongs(before, after):
    expected = {}
    with Engine() as con:
        customers = Customers.none(KINDS).with_more(7)
        for rows in (before, after):
            at, found = fetched(con, table(rows), {**KINDS, "first": WHOLE}, ("here",))
            customers.told("here")[at] |= found.pop("here")[0]
            customers.earliest(at, "first", *found.pop("first"))
            customers.add(at, found)
            for number, row in rows.items():
                was = expected.get(number, (None, None, None, None, False))
                earliest = min((each for each in (was[3], row[3]) if each is not None), default=None)
                sums = (together(a, b) for a, b in zip(was[:3], row[:3], strict=True))
                expected[number] = (*sums, earliest, was[4] or row[4])
        customers.lend(con, "counted")
        assert {name: con.columns("counted")[name] for name in TYPES} == TYPES
        read = con.rows(f"SELECT number, {', '.join(TYPES)}, first, here FROM counted ORDER BY number")
    assert [row[0] for row in read] == list(range(7))
    assert {row[0]: row[1:] for row in read if row[0] in expected} == expected
    assert all(row[1:] == (None, None, None, None, False) for row in read if row[0] not in expected)


@settings(deadline=None)
@given(rows=ROWS, gone=st.sets(st.integers(0, 6)))
def test_what_is_forgotten_is_not_known_and_counts_for_nothing(rows, gone):
    with Engine() as con:
        at, found = fetched(con, table(rows), KINDS)
    customers = Customers.none(KINDS).with_more(7)
    customers.put(at, found)
    customers.forget(np.array(sorted(gone), np.int64), KINDS)
    customers.add(at, found)
    for place, name in enumerate(KINDS):
        values, known = customers.of(name)
        for number, row in rows.items():
            value = row[place]
            assert known[number] == (value is not None)
            twice = 1 if number in gone else 2
            scale = 10_000 if KINDS[name] == "4" else 1
            assert values[number] == (value or 0) * scale * twice


def test_more_numbers_leave_the_others_as_they_are_and_what_was_lent():
    customers = Customers.none(KINDS).with_more(2)
    customers.put(np.array([1]), {"y0": (np.array([5]), np.array([True]))})
    more = customers.with_more(1)
    more.put(np.array([1, 2]), {"y0": (np.array([7, 8]), np.array([True, True]))})
    with Engine() as con:
        customers.lend(con, "kept")
        more.lend(
            con, "counted", {"was": customers.with_more(1).of("y0")}, {"anew": np.array([False, True, False])}
        )
        assert con.rows("SELECT number, y0 FROM kept ORDER BY number") == [(0, None), (1, 5)]
        shown = con.rows("SELECT number, y0, was, anew FROM counted ORDER BY number")
        beside = con.beside()
        assert beside.rows("SELECT number, y0, was, anew FROM counted ORDER BY number") == shown
    assert shown == [(0, None, None, False), (1, 7, 5, True), (2, 8, None, False)]


def test_a_few_numbers_are_lent_as_they_are_among_all():
    customers = Customers.none(KINDS).with_more(9)
    values = np.arange(9)
    customers.put(slice(None), {"y0": (values * 10, values % 2 == 0), "arm": (values % 3, values < 8)})
    customers.told("here")[:] = values > 4
    with Engine() as con:
        was = {"was": (values, values > 3)}
        customers.lend(con, "every", was, {"anew": values == 6})
        customers.lend(con, "few", was, {"anew": values == 6}, at=np.array([7, 0, 6]))
        shown = "SELECT number, arm, y0, was, here, anew FROM"
        wanted = con.rows(f"{shown} every WHERE number IN (0, 6, 7) ORDER BY number")
        assert con.columns("few") == con.columns("every")
        assert con.rows(f"{shown} few ORDER BY number") == wanted
        assert wanted[1] == (6, 0, 60, 6, True, True)
        customers.lend(con, "nobody", at=np.zeros(0, np.int64))
        assert con.rows("SELECT * FROM nobody") == []


def test_a_sum_that_has_no_room_is_refused_rather_than_turned_round():
    with Engine() as con:
        with pytest.raises(ValueError, match="too large"):
            fetched(con, f"SELECT 0 AS number, {2**62}::BIGINT AS y0", {"y0": WHOLE})
        with pytest.raises(con.errors):
            fetched(con, f"SELECT 0 AS number, {2**80}::HUGEINT AS y0", {"y0": WHOLE})
        with pytest.raises((ValueError, *con.errors)):
            fetched(con, f"SELECT 0 AS number, {10**16}::DECIMAL(38,4) AS y1", {"y1": "4"})
        at, found = fetched(con, f"SELECT 0 AS number, {2**60}::BIGINT AS y0", {"y0": WHOLE})
    customers = Customers.none({"y0": WHOLE}).with_more(1)
    customers.add(at, found)
    with pytest.raises(ValueError, match="too large"):
        customers.add(at, found)


def test_decimals_keep_their_digits():
    amounts = [Decimal("0.1000"), Decimal("123456789012.3456"), Decimal("-0.0001")]
    with Engine() as con:
        rows = " UNION ALL ".join(
            f"SELECT {at} AS number, '{each}'::DECIMAL(38,4) AS y1" for at, each in enumerate(amounts)
        )
        at, found = fetched(con, rows, {"y1": "4"})
        customers = Customers.none({"y1": "4"}).with_more(3)
        customers.add(at, found)
        customers.lend(con, "counted")
        assert [row[0] for row in con.rows("SELECT y1 FROM counted ORDER BY number")] == amounts


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("BIGINT", WHOLE),
        ("HUGEINT", WHOLE),
        ("DOUBLE", DOUBLE),
        ("DECIMAL(18,0)", WHOLE),
        ("DECIMAL(38,4)", "4"),
    ],
)
def test_how_a_sum_is_kept_follows_from_its_type(declared, kind):
    assert kind_of_sum(declared) == kind


def test_what_is_not_a_sum_is_refused():
    with pytest.raises(ValueError, match="VARCHAR"):
        kind_of_sum("VARCHAR")


def test_arrays_that_do_not_fit_are_refused():
    customers = Customers.none(KINDS).with_more(3)
    with pytest.raises(ValueError, match="shape"):
        Customers({"y0": WHOLE}, customers.values, customers.known)
    with pytest.raises(ValueError, match="shape"):
        Customers(KINDS, customers.values, customers.known[:, :2])
    with pytest.raises(ValueError, match="shape"):
        Customers(KINDS, [*customers.values[:-1], customers.values[-1][:2]], customers.known)


@settings(deadline=None)
@given(rows=ROWS, numbers=st.integers(0, 9))
def test_what_is_written_is_read_and_can_be_gone_on_from(rows, numbers):
    rows = {number: row for number, row in rows.items() if number < numbers}
    written = io.BytesIO()
    with Engine() as con:
        at, found = fetched(con, table(rows), {**KINDS, "first": WHOLE}, ("here",))
        customers = Customers.none(KINDS).with_more(numbers)
        customers.told("here")[at] = found.pop("here")[0]
        customers.put(at, found)
        customers.save(written)
        written.seek(0)
        read = Customers.load(written, KINDS)
        shown = f"SELECT number, {', '.join(TYPES)}, first, here, corrected FROM"
        for name, each in (("kept", customers), ("read", read), ("more", read.with_more(0))):
            each.lend(con, name)
        assert con.columns("read") == con.columns("kept")
        assert con.rows(f"{shown} read") == con.rows(f"{shown} kept") == con.rows(f"{shown} more")
    if numbers:
        with pytest.raises(ValueError, match="read-only"):
            read.put(np.array([0]), {"y0": (np.array([2**40]), np.array([True]))})


def test_the_largest_numbers_are_read_as_they_were_written():
    for edge in (2**7, 2**15, 2**31, 2**60):
        for number in (edge - 1, edge, -edge, -edge - 1):
            customers = Customers.none({"y0": WHOLE}).with_more(1)
            customers.put(np.array([0]), {"y0": (np.array([number]), np.array([True]))})
            written = io.BytesIO()
            customers.save(written)
            written.seek(0)
            values, known = Customers.load(written, {"y0": WHOLE}).with_more(0).of("y0")
            assert (values.tolist(), known.tolist()) == ([number], [True])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_ends_too_early_is_refused(share):
    written = io.BytesIO()
    Customers.none(KINDS).with_more(100).save(written)
    cut = written.getvalue()[: int(share * written.tell())]
    with pytest.raises(ValueError):
        Customers.load(io.BytesIO(cut), KINDS)


def test_other_arrays_than_were_written_are_refused():
    for arrays in ([np.zeros(3)] * 7, [np.zeros(())] * 7, [np.zeros((7, 1), np.uint8)] * 7):
        written = io.BytesIO()
        for each in arrays:
            np.save(written, each)
        written.seek(0)
        with pytest.raises(ValueError):
            Customers.load(written, KINDS)
