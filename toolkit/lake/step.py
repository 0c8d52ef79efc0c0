"""A step from a kept state: which events are new, what they add up to, and since when anything differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from toolkit.design.experiment import Experiment
from toolkit.lake.engine import Engine, parquet, quoted, texts
from toolkit.lake.events import CURRENCY, InLake, besides, span_of
from toolkit.lake.hours import arrival_of
from toolkit.lake.ledger import Ledger
from toolkit.lake.sources import FileTable
from toolkit.lake.state import State, Store
from toolkit.lake.unit import Needs

__all__ = ["Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement on top of what the ones before have kept.

    `attributed` says that `roster` is a table, with what is known of people.
    """

    con: Engine
    experiment: Experiment
    needs: Needs
    ledger: Ledger
    here: InLake
    store: Store
    state: State
    files: Mapping[str, str]
    as_of_end: datetime
    attributed: bool

    @property
    def table(self) -> FileTable:
        """Return the files of events."""
        return self.here.table

    @property
    def shown(self) -> Sequence[str]:
        """Return the columns of `told`."""
        return self.here.shown

    @property
    def where(self) -> str:
        """Return which rows are this experiment's, as a clause of WHERE."""
        return self.here.where

    @property
    def kept_ids(self) -> str:
        """Return what stands after FROM for the ids that have a number (number, id)."""
        if self.state.ids:
            return self.store.read_files(self.state.ids)
        return "(SELECT CAST(NULL AS BIGINT) AS number, CAST(NULL AS VARCHAR) AS id WHERE false)"

    @property
    def recent(self) -> str:
        """Return what stands after FROM for kept events (number, kind, happened, v_…) since the state's `recent_since`."""
        return self.store.read_files(list(self.state.recent))

    @property
    def numbered(self) -> int:
        """Return how many ids have a number: these are the numbers below it."""
        if not self.state.ids:
            return 0
        return int(self.con.one(f"SELECT count(*) FROM {self.kept_ids}")[0])

    @property
    def values(self) -> list[str]:
        """Return the columns of events that are summed."""
        return [quoted("v_" + value) for value in self.needs.values]

    @property
    def span(self) -> str:
        """Return the condition that an event is in the span looked at."""
        first = self.ledger.first_at
        if first is None:
            raise AssertionError
        return span_of(self.table, first - self.needs.looked_back, self.as_of_end)

    def among(self, names: Sequence[str]) -> str:
        """Return the condition that a row stands in one of these files; others are not opened."""
        return f"of_file IN ({texts(self.files[name] for name in names)})" if names else "false"

    def see(self, name: str, condition: str) -> None:
        """Give the events that meet a condition a name, with the file that each stands in."""
        self.con.view(
            name,
            f"SELECT * FROM (SELECT {', '.join([*self.shown, 'of_file', *self._own_columns()])} FROM {_filed(self.table)}) "
            f"WHERE ({condition}){besides(self.where)}",
        )

    def rows_of(self, names: Sequence[str]) -> str:
        """Return what stands after FROM for all rows of some files, whether or not they count; others are not opened.

        A row's `place` is where its file stands among `names` × 2³² + its number there. Other files are named for
        the columns they may have.
        """
        others = [name for name in self.files if name not in set(names)]
        files = parquet([self.files[name] for name in [*names, *others]])
        place = f"CAST(file_index AS UBIGINT) * {2**32} + CAST(file_row_number AS UBIGINT) AS place"
        return (
            f"(SELECT {', '.join([*self.shown, 'file_row_number AS row', place])} "
            f"FROM {_filed(replace(self.table, sql=files))} WHERE {self.among(names)})"
        )

    def _own_columns(self) -> list[str]:
        own = ["file_row_number AS row", *(["source"] if self.where else [])]
        return [*own, f"{self.received} AS received"] if self.received else own

    @property
    def received(self) -> str | None:
        """Return the expression of when a pull brought an event; None if that is not kept."""
        table = self.table
        return arrival_of(self.con, self.here.source, table.path, table.sql, table.columns)

    def doubtful(self, fresh: Sequence[str]) -> bool:
        """Return whether new rows cannot be used: then all are read, and what is wrong is said as ever."""
        if not fresh or not self.table.doubts:
            return False
        wrong = " OR ".join(f"({doubt[0]})" for doubt in self.table.doubts)
        rows = self.con.one(
            f"SELECT count(*) FROM {_filed(self.table)} WHERE {self.among(fresh)} AND ({wrong})"
        )[0]
        return bool(rows)

    def profile(self) -> tuple[dict[str, tuple[Any, ...]], dict[str, int]]:
        """Return the profile of all events by name, that which is kept and that of the new ones, and file → latest new one."""
        missing = "0"
        if "amount" in self.needs.values:
            missing = f"count(*) FILTER (WHERE {self.span} AND v_amount IS NULL)"
        found: dict[str, list[Any]] = {name: list(row) for name, row in self.state.by_name.items()}
        latest: dict[str, int] = {}
        for file, name, *more in self.con.rows(
            f"SELECT of_file, name, count(*) FILTER (WHERE {self.span}), max(happened), min({CURRENCY}) FILTER (WHERE "
            f"{self.span}), max({CURRENCY}) FILTER (WHERE {self.span}), {missing} FROM told_new GROUP BY of_file, name"
        ):
            latest[file] = max(more[1], latest.get(file, more[1]))
            if not name:
                continue
            row = found.setdefault(str(name), [0, more[1], None, None, 0])
            row[0] += more[0]
            row[1] = max(row[1], more[1])
            said = [each for each in (*row[2:4], *more[2:4]) if each]
            row[2], row[3] = min(said, default=None), max(said, default=None)
            row[4] += more[4]
        return {name: tuple(row) for name, row in found.items()}, latest


def _filed(table: FileTable) -> str:
    """Return what stands after FROM for rows that bear their file and their number there."""
    return table.reading("filename = 'of_file', file_row_number = true")
