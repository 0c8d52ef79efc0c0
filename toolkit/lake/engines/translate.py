"""DuckDB's SQL, as the toolkit writes it, said in the dialect of another engine.

sqlglot rewrites what it knows; `rules` has what it does not, or understands otherwise. A function that neither
knows goes through as it stands, and the engine refuses it.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlglot
from sqlglot import exp

from toolkit.lake.engines.rules import RULES

__all__ = ["FILES", "LINE", "bucket_digits", "translate"]

FILES = (exp.ReadParquet, exp.ReadCSV)
LINE = "__line"
"""The column in which a relation made of files keeps the place of each row."""


def translate(
    sql: str,
    dialect: str,
    *,
    name_files: Callable[[exp.Expression], str] | None = None,
    pretty: bool = False,
) -> str:
    """Return a statement written for DuckDB as `dialect` says it, `pretty` over many lines.

    `name_files` gives a name to what `read_parquet` or `read_csv` would read.
    """
    rules = RULES[dialect]
    parsed = sqlglot.parse_one(sql, dialect="duckdb")
    root = exp.Tuple(expressions=[parsed])  # so that every node has a parent
    for node in reversed(list(root.bfs())):  # what is inside comes first
        if name_files and isinstance(node, exp.Table) and isinstance(node.this, FILES):
            named = exp.Table(this=exp.to_identifier(name_files(node.this)), alias=node.args.get("alias"))
            node.replace(named)
            continue
        rule = rules.get(node.name.lower() if isinstance(node, exp.Anonymous) else type(node))
        if rule:
            node.replace(rule(node))
    tree = root.expressions[0]
    if dialect == "postgres":
        _name_queries(tree)
    if dialect == "bigquery":
        _from_something(tree)
    return str(tree.sql(dialect=dialect, identify=True, pretty=pretty))


def _name_queries(tree: exp.Expression) -> None:
    """Name every query that stands after FROM, as PostgreSQL asks before version 16."""
    for at, query in enumerate(tree.find_all(exp.Subquery)):
        if isinstance(query.parent, exp.From | exp.Join) and not query.alias:
            query.set("alias", exp.TableAlias(this=exp.to_identifier(f"q{at}")))


def _from_something(tree: exp.Expression) -> None:
    """Give every query that has a condition something to select from, as BigQuery asks."""
    for query in tree.find_all(exp.Select):
        if query.args.get("where") and not query.args.get("from_"):
            query.set("from_", exp.From(this=exp.select(exp.alias_("1", "one")).subquery("nothing")))


def bucket_digits(prefix: str, key: str, dialect: str) -> str:
    """Return the SQL of the 15 digits that place the customer `key` (an expression), as `dialect` says it.

    Arms are told apart by comparing them as texts with the bounds of `toolkit.design.assignment.bounds_of`.
    """
    said = prefix.replace("'", "''")
    return translate(f"SELECT substr(sha1('{said}.' || {key}), 1, 15)", dialect).removeprefix("SELECT ")
