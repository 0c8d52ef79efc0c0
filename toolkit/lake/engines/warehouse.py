"""What engines other than DuckDB have in common: the same questions, translated, over keys as they are.

DuckDB numbers customers as it reads them. Elsewhere that would bring all rows to one machine, and their ids
stand for them. Where an engine has no hash of a text, texts stand for themselves there too.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import sqlglot
from sqlglot import exp

from toolkit.errors import StorageError
from toolkit.lake.engine import Engine, text
from toolkit.lake.engines.translate import FILES, LINE, translate

__all__ = ["Warehouse"]


MARK = 100
"""Added to an arm's place, so that each has three digits."""


class Warehouse(Engine):
    """An engine that `translate` speaks to. What is created in it is gone with it.

    A subclass says how statements run, and brings what files hold (`bring`).
    """

    errors = (StorageError,)

    def __init__(self) -> None:
        self.opened: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._kinds: dict[str, dict[str, str]] = {}

    @abstractmethod
    def close(self) -> None:
        """Let go of what was created."""

    @abstractmethod
    def bring(self, name: str, files: Sequence[str], *, csv: bool, hive: bool) -> dict[str, str]:
        """Create the relation `name` of the rows of files, with each row's place in `LINE`.

        Where folders are named `experiment=…` (`hive`) they make up the column `experiment`.

        Returns:
            column → its type, as DuckDB calls it; without `LINE`.
        """

    @abstractmethod
    def describe(self, relation: str) -> dict[str, str]:
        """Return column → type, as DuckDB calls it, of a relation that is not made of files."""

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def translated(self, sql: str) -> str:
        """Return a statement written for DuckDB as this engine says it; files that it reads are brought."""
        return translate(sql, self.dialect, name_files=self._name_files)

    def columns(self, relation: str) -> dict[str, str]:
        """Return name → type, as DuckDB calls it, of what stands after FROM."""
        table = sqlglot.parse_one(f"SELECT * FROM {relation}", dialect="duckdb").find(exp.Table)
        if table is not None and isinstance(table.this, FILES):
            return self._kinds[self._name_files(table.this)]
        return self.describe(relation)

    def _name_files(self, read: exp.Expression) -> str:
        """Return the name of the relation that holds what `read_parquet` or `read_csv` would read."""
        said = read.sql(dialect="duckdb")
        if said not in self._names:
            array: Any = read.find(exp.Array)
            hive = any(each.this.name == "hive_partitioning" for each in read.find_all(exp.EQ))
            name = f"lift_files_{len(self._names)}"
            files = [each.name for each in array.expressions]
            self._kinds[name] = self.bring(name, files, csv=isinstance(read, exp.ReadCSV), hive=hive)
            self._names[said] = name
        return self._names[said]

    def sign(self, key: str, *, other: bool = False) -> str:
        """Return the expression of what stands for the text `key`: the text itself, marked by its kind."""
        return f"('{'2' if other else '1'}' || {key})"

    def place(self, number: str, arm: str, arms: int) -> str:  # noqa: ARG002 (rows are not numbered)
        """Return the expression of what stands for a customer: the arm in three digits, and the id itself."""
        relation = arm.rpartition(".")[0]
        return f"(CAST({arm} + {MARK} AS VARCHAR) || {f'{relation}.id' if relation else 'id'})"

    def arm_of(self, place: str, arms: int) -> str:  # noqa: ARG002 (there are fewer than 900)
        """Return the expression of the arm of a customer's `place`."""
        return f"CAST(CAST(substr({place}, 1, 3) AS INTEGER) - {MARK} AS SMALLINT)"

    def code(self, key: str, names: Sequence[str]) -> str:
        """Return the expression of the place of the text `key` among `names`, NULL where it is none of them."""
        places = " ".join(f"WHEN {text(name)} THEN {at}" for at, name in enumerate(names))
        return f"CAST(CASE {key} {places} END AS SMALLINT)"

    def line(self, relation: str) -> str:
        """Return the expression of a row's place in the files of `relation`; it sorts as the rows stand there."""
        return LINE if relation.startswith("read_") else super().line(relation)

    def first_where(self, relation: str, wrong: str, shown: str) -> tuple[int, str | None]:
        """Return the number of the first row of `relation` for which `wrong` holds, and `shown` of it."""
        if not relation.startswith("read_"):
            return super().first_where(relation, wrong, shown)
        first = (
            f"SELECT {LINE} AS line, {shown} AS shown FROM {relation} WHERE {wrong} ORDER BY {LINE} LIMIT 1"
        )
        row = self.one(
            f"SELECT count(*), min(f.shown) FROM {relation} t JOIN ({first}) f ON t.{LINE} <= f.line"
        )
        return int(row[0]), row[1]

    def as_text(self, name: str, kind: str) -> str:
        """Return the expression of a column of DuckDB's type `kind` as text, as DuckDB would write it."""
        said = super().as_text(name, kind)
        if kind not in {"DOUBLE", "FLOAT"}:
            return said
        return (
            f"CASE WHEN abs({name}) <= 1e15 AND {name} = floor({name}) "
            f"THEN CAST(CAST({name} AS BIGINT) AS VARCHAR) || '.0' "
            f"WHEN isfinite({name}) THEN {said} ELSE lower(replace({said}, 'Infinity', 'inf')) END"
        )

    def repeated(self, name: str, keys: str, *, at_most: int) -> tuple[int, int]:  # noqa: ARG002 (any number)
        """Create the table `name(sign)` of the signs that stand more than once among `keys`.

        Returns:
            signs that stand more than once, rows with a sign.
        """
        self.table(
            name, f"SELECT sign FROM ({keys}) WHERE sign IS NOT NULL GROUP BY sign HAVING count(*) > 1"
        )
        rows = self.one(f"SELECT count(sign) FROM ({keys})")[0]
        return int(self.one(f"SELECT count(*) FROM {name}")[0]), int(rows)
